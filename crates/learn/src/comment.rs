//! Text that somebody else chose, in comments.

/// `bytes` on one line, with everything as `\xHH` that nobody would see.
pub(crate) fn one_line(bytes: &[u8]) -> String {
    knobgate_policy::terminal::escape(bytes)
}
