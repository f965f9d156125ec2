//! Escapes in arguments.

/// An invalid escape.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EscapeError {
    #[error("nothing follows the last `\\`; a backslash itself is `\\\\`")]
    Nothing,
    #[error("there is no escape `\\{}`; there are \\n, \\t, \\r, \\0, \\xHH and \\\\", .0.escape_ascii())]
    Unknown(u8),
    #[error("`\\x` must be followed by two hexadecimal digits")]
    NotHexadecimal,
}

/// `text` with its escapes resolved: `\n`, `\t`, `\r`, `\0`, `\xHH`, `\\`, and escaped quotes.
pub(super) fn unescape(text: &[u8]) -> Result<Vec<u8>, EscapeError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().ok_or(EscapeError::Nothing)? {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'0' => 0,
            b'x' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                match (digit(), digit()) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => return Err(EscapeError::NotHexadecimal),
                }
            }
            quoted @ (b'\\' | b'"' | b'\'') => quoted,
            other => return Err(EscapeError::Unknown(other)),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_c() {
        for (text, expected) in [
            (&b"10"[..], Ok(&b"10"[..])),
            (b"10\\n", Ok(b"10\n")),
            (b"a\\tb\\rc\\0", Ok(b"a\tb\rc\0")),
            (b"\\x7f\\xFF", Ok(b"\x7f\xff")),
            (b"\\\\n", Ok(b"\\n")),
            (b"\xff", Ok(b"\xff")),
            (b"", Ok(b"")),
            (b"a\\", Err(EscapeError::Nothing)),
            (b"\\q", Err(EscapeError::Unknown(b'q'))),
            (b"\\x1", Err(EscapeError::NotHexadecimal)),
            (b"\\xg0", Err(EscapeError::NotHexadecimal)),
        ] {
            assert_eq!(unescape(text).as_deref(), expected.as_ref().copied(), "{}", text.escape_ascii());
        }
    }
}
