//! What a terminal interprets instead of showing it, and text without that.

use std::borrow::Cow;

pub use knobgate_policy::terminal::is_interpreted;

/// `text` with everything escaped that a terminal would interpret instead of show, as `\n`, `\x1b` or `\u{202e}`:
/// control characters including line breaks and tabs, characters that reorder or hide text, and bytes that are not
/// UTF-8. It is idempotent.
///
/// ```
/// use knobgate_events::terminal::escape;
///
/// assert_eq!(escape(b"a\x1b[31m\xff"), r"a\x1b[31m\xff");
/// ```
pub fn escape<T: AsRef<[u8]> + ?Sized>(text: &T) -> Cow<'_, str> {
    let bytes = text.as_ref();
    if let Ok(text) = str::from_utf8(bytes)
        && !text.chars().any(is_interpreted)
    {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                c if !is_interpreted(c) => escaped.push(c),
                '\n' => escaped.push_str("\\n"),
                '\r' => escaped.push_str("\\r"),
                '\t' => escaped.push_str("\\t"),
                c if c.is_ascii() => escaped.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => escaped.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            }
        }
        chunk.invalid().iter().for_each(|byte| escaped.push_str(&format!("\\x{byte:02x}")));
    }
    Cow::Owned(escaped)
}

/// `json` with all such characters escaped. They can only be in its strings, and so it means the same.
///
/// ```
/// use knobgate_events::terminal::escape_json;
///
/// assert_eq!(escape_json("\"\u{9b}2J\"".to_owned()), r#""\u009b2J""#);
/// ```
pub fn escape_json(json: String) -> String {
    // The control characters of ASCII are escaped in any JSON, except for DEL.
    if json.bytes().all(|byte| byte < 0x7f) || !json.chars().any(is_interpreted) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_interpreted(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}
