//! What a terminal interprets instead of showing it.

pub use knobgate_policy::terminal::is_interpreted;

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
