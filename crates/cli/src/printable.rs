//! Text that others wrote, made harmless for a terminal.

use std::borrow::Cow;

/// `text` with everything that a terminal would obey rather than show (control characters, and those that
/// reorder or hide text) spelled out as `\x1b` or `\u{202e}`. Line ends and tabs stay.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    // A carriage return is harmless as part of a line's end only.
    let obeyed = |(at, c): (usize, char)| is_obeyed(c) && !text[at..].starts_with("\r\n");
    if !text.char_indices().any(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut printable = String::with_capacity(text.len() + 16);
    for (at, c) in text.char_indices() {
        match c {
            c if !obeyed((at, c)) => printable.push(c),
            c if c.is_ascii() => printable.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => printable.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        }
    }
    Cow::Owned(printable)
}

/// Whether a terminal would obey `c` rather than show it.
pub(crate) fn is_obeyed(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Zero-width characters, marks, overrides and isolates of direction, line and paragraph separators, the
        // byte order mark, tags.
        '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        for (text, expected) in [
            ("plain é\ttext\n", "plain é\ttext\n"),
            ("\u{1b}[31mred", "\\x1b[31mred"),
            ("a\rb\r\n\u{7}\u{7f}", "a\\x0db\r\n\\x07\\x7f"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("\u{202e}gnitset", "\\u{202e}gnitset"),
        ] {
            assert_eq!(printable(text), expected, "{text:?}");
        }
    }
}
