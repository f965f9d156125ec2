//! Text in HTML.

use knobgate_events::terminal;

/// `text` as the content of an element, or between the double quotes of an attribute. What would reorder or hide text is escaped
/// visibly, as for a terminal.
pub(super) fn escape(text: &str) -> String {
    let text = terminal::escape(text);
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_markup() {
        assert_eq!(
            escape("</script><!--'\"&\u{202e}\n"),
            "&lt;/script&gt;&lt;!--&#39;&quot;&amp;\\u{202e}\\n"
        );
    }
}
