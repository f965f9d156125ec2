//! URIs of files, and their paths.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use gen_lsp_types::Uri;

/// The absolute path in a `file:` URI of this machine; `None` for any other URI, such as that of a document that was never saved.
pub(crate) fn path_of(uri: &Uri) -> Option<PathBuf> {
    let (scheme, rest) = uri.0.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("file") {
        return None;
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find('/')?);
            (host.is_empty() || host.eq_ignore_ascii_case("localhost")).then_some(path)?
        }
        None => rest,
    };
    let bytes = decoded(path)?;
    (bytes.starts_with(b"/") && !bytes.contains(&0)).then(|| PathBuf::from(OsString::from_vec(bytes)))
}

/// The URI of the file at an absolute path.
pub(crate) fn uri_of(path: &Path) -> Uri {
    let mut uri = "file://".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                uri.push(char::from(byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    Uri(uri)
}

/// `text` with the bytes that `%HH` stands for.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_uris_have_paths() {
        for (uri, path) in [
            ("file:///etc/a.knob", Some("/etc/a.knob")),
            ("FILE:///etc/a%20b%C3%A9%25.knob", Some("/etc/a b\u{e9}%.knob")),
            ("file:/etc/a.knob", Some("/etc/a.knob")),
            ("file://localhost/a", Some("/a")),
            ("file:///a#b", Some("/a")),
            ("file://host/a", None),
            ("file:///a%2", None),
            ("file:///a%zz", None),
            ("file:///a%+1", None),
            ("file:///a%00", None),
            ("file:relative", None),
            ("untitled:Untitled-1", None),
            ("nonsense", None),
        ] {
            assert_eq!(path_of(&Uri(uri.to_owned())), path.map(PathBuf::from), "{uri}");
        }
    }

    #[test]
    fn every_path_has_a_uri() {
        for path in [&b"/a b/\xe9\xff%#?.knob"[..], b"/", b"/a:b+c"] {
            let path = PathBuf::from(OsString::from_vec(path.to_vec()));
            assert_eq!(path_of(&uri_of(&path)), Some(path));
        }
    }
}
