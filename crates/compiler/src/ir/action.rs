//! What a rule does.

use knobgate_policy::limits::{NUMBER_CHARS_MAX, SHORT_VALUE_MAX};
use knobgate_policy::{Errno, Relation};

use super::{Bytes, Integer, Slot};

/// An action without its constants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Allow,
    Deny(Errno),
    /// Deny with EINVAL: the rule cannot be evaluated.
    CannotEvaluate,
    /// Replace the value with the text, which fills a whole buffer.
    Set(Bytes),
    /// Replace the value with the text at this offset in the tables, which does not fit in a buffer.
    SetLong(Slot),
    /// Replace the value with the current one.
    Ignore,
    /// Move the one number between bounds.
    ClampOne(Vec<Bound>),
    /// Move each number between its bounds.
    ClampEach(Vec<Vec<Bound>>),
}

/// An end of a range to clamp to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bound {
    /// How a number in the range compares with the end.
    pub(crate) inside: Relation,
    pub(crate) end: Integer,
    /// The end in decimal, in [`DECIMAL_BYTES`](Self::DECIMAL_BYTES) bytes, followed by zeros.
    pub(crate) decimal: Bytes,
    /// How many bytes the decimal takes.
    pub(crate) len: Slot,
    /// Whether the knob can store it unchanged.
    pub(crate) is_stored: bool,
}

impl Bound {
    /// Bytes of constants that a number in decimal fills.
    pub(crate) const DECIMAL_BYTES: usize = (NUMBER_CHARS_MAX + 1).next_multiple_of(8);
}

impl Action {
    /// The bytes that a text to set fills, with the NUL that ends it.
    pub(crate) const SET_BYTES: usize = SHORT_VALUE_MAX + 1;

    /// Whether it may replace what is written.
    pub(crate) fn rewrites(&self) -> bool {
        match self {
            Action::Allow | Action::Deny(_) | Action::CannotEvaluate => false,
            Action::Set(_) | Action::SetLong(_) | Action::Ignore => true,
            Action::ClampOne(bounds) => !bounds.is_empty(),
            Action::ClampEach(bounds) => bounds.iter().any(|bounds| !bounds.is_empty()),
        }
    }
}
