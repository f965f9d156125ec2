//! JSON on standard output: one object per line.

use knobgate_events::terminal::escape_json;
use serde::Serialize;

/// `object` as one line of JSON. Everything that a terminal would interpret is escaped.
pub(crate) fn line(object: &impl Serialize) -> String {
    // Commands print strings, numbers and lists, which JSON can always represent.
    escape_json(serde_json::to_string(object).unwrap_or_default())
}

/// Bytes as in JSON policies: a string, or hexadecimal for what is not UTF-8.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Bytes<'a> {
    /// UTF-8.
    Utf8(&'a str),
    /// Any bytes.
    Hex {
        /// Two digits for each.
        hex: String,
    },
}

impl<'a> From<&'a [u8]> for Bytes<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        str::from_utf8(bytes).map_or_else(|_| Self::Hex { hex: hex() }, Self::Utf8)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn terminal_controls_are_escaped_without_changing_the_meaning() {
        let text = "\u{1b}[31m \u{9b}2J \u{202e} \u{e0041} \u{7f} é";
        let line = super::line(&text);
        assert_eq!(line, r#""\u001b[31m \u009b2J \u202e \udb40\udc41 \u007f é""#);
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }
}
