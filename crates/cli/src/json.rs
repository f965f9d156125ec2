//! JSON on standard output: one object a line.

use serde::Serialize;

use crate::printable::is_obeyed;

/// `object` as one line of JSON, in which everything that a terminal would obey is escaped.
pub(crate) fn line(object: &impl Serialize) -> String {
    // What commands print is made of texts, numbers and lists, so that there is nothing that JSON cannot hold.
    let json = serde_json::to_string(object).unwrap_or_default();
    if !json.chars().any(is_obeyed) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_obeyed(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Bytes, as policies in JSON have them: a string, or what is not UTF-8 in hexadecimal.
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
    fn what_a_terminal_would_obey_is_escaped_and_means_the_same() {
        let text = "\u{1b}[31m \u{9b}2J \u{202e} \u{e0041} \u{7f} é";
        let line = super::line(&text);
        assert_eq!(line, r#""\u001b[31m \u009b2J \u202e \udb40\udc41 \u007f é""#);
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }
}
