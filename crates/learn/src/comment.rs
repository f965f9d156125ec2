//! Text that somebody else chose, in comments.

/// `bytes` on one line: control characters, and what is not UTF-8, as `\xHH`.
pub(crate) fn one_line(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| line.push_str(&format!("\\x{byte:02x}")));
            } else {
                line.push(c);
            }
        }
        chunk.invalid().iter().for_each(|byte| line.push_str(&format!("\\x{byte:02x}")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_comment() {
        assert_eq!(one_line(b"a\nb\r\xff\xc2\x85 # c"), "a\\x0ab\\x0d\\xff\\xc2\\x85 # c");
    }
}
