//! Escaping untrusted text for a terminal.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use knobgate_events::terminal::{self, is_interpreted};

/// `text` with everything escaped that a terminal would interpret instead of show: see [`terminal::escape`].
///
/// All untrusted text goes through this before it is printed: names of cgroups, tasks, programs, policies, knobs and
/// files, values, and errors about them. It is idempotent.
pub(crate) fn printable<T: AsRef<[u8]> + ?Sized>(text: &T) -> Cow<'_, str> {
    terminal::escape(text)
}

/// The same for a path.
pub(crate) fn printable_path(path: &Path) -> Cow<'_, str> {
    printable(path.as_os_str().as_bytes())
}

/// The same for a text with lines. Keeps line breaks, and replaces tabs by blanks.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    const TAB: &str = "    ";
    if !text.chars().any(|c| c != '\n' && is_interpreted(c)) {
        return Cow::Borrowed(text);
    }
    let line = |line: &str| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split('\t').map(printable).collect::<Vec<_>>().join(TAB)
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_controls_are_escaped() {
        for (text, expected) in [
            (&b"plain \xc3\xa9 text"[..], "plain é text"),
            (b"\x1b[31mred", "\\x1b[31mred"),
            (b"a\rb\r\n\tc\x07\x7f\0", "a\\rb\\r\\n\\tc\\x07\\x7f\\x00"),
            ("\u{9b}2J".as_bytes(), "\\u{9b}2J"),
            ("\u{202e}gnitset".as_bytes(), "\\u{202e}gnitset"),
            (b"a\xffb\x9b\xc3", "a\\xffb\\x9b\\xc3"),
        ] {
            assert_eq!(printable(text), expected, "{text:?}");
            assert_eq!(printable(expected), expected);
        }
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(printable_lines("one\n\ttwo\r\n\r\u{7}\n"), "one\n    two\n\\r\\x07\n");
    }
}
