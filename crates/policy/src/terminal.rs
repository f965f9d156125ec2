//! What a terminal interprets instead of showing it, and its escapes in the text of policies.

/// Whether a terminal would interpret `c` instead of showing it.
pub fn is_interpreted(c: char) -> bool {
    match c {
        // Soft hyphens, zero-width characters, marks, overrides and isolates of direction, line and paragraph separators, the
        // byte order mark, marks of annotations, tags.
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

/// `text` on one line, with all such characters, and what is not UTF-8, as `\xHH`. In names, patterns and texts of the language
/// that means the same.
///
/// ```
/// use knobgate_policy::terminal::escape;
///
/// assert_eq!(escape("a\nb \u{202e}é".as_bytes()), r"a\x0ab \xe2\x80\xaeé");
/// ```
pub fn escape(text: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_interpreted(c) {
                c.encode_utf8(&mut [0; 4])
                    .bytes()
                    .for_each(|byte| escaped.push_str(&format!("\\x{byte:02x}")));
            } else {
                escaped.push(c);
            }
        }
        chunk.invalid().iter().for_each(|byte| escaped.push_str(&format!("\\x{byte:02x}")));
    }
    escaped
}

/// The same for a text with lines, which it keeps.
pub fn escape_lines(text: &str) -> String {
    text.split('\n').map(|line| escape(line.as_bytes())).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CheckOptions, Source, parse};

    #[test]
    fn an_escaped_policy_is_the_same_policy() {
        let policy =
            |text: &str| parse(Source::new("x", text), &CheckOptions::default()).unwrap().into_policy();
        let text = "policy x\n# \u{202e}\nallow write a.\u{202e}b if new == \"\u{200b}c\"\n";
        let escaped = escape_lines(text);
        assert!(!escaped.chars().any(|c| c != '\n' && is_interpreted(c)), "{escaped}");
        assert_eq!(policy(&escaped), policy(text));
        // It is laid out, and so is the other one.
        for text in [text, &escaped] {
            assert_eq!(crate::format(&Source::new("x", text)).unwrap(), *text);
        }
    }

    #[test]
    fn nothing_ends_a_line() {
        assert_eq!(escape(b"a\nb\r\xff\xc2\x85 # c"), "a\\x0ab\\x0d\\xff\\xc2\\x85 # c");
    }
}
