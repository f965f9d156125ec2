//! Globs of sysctl.d(5), as patterns of the policy language.
//!
//! Both systemd and procps call glob(3) without flags, on the path: no wildcard matches a `/`, braces are ordinary, and a
//! `[` that no `]` of the same component closes is ordinary too. One thing is not carried over: a `*` at the start of a
//! component matches no name that begins with a dot there.

use knobgate_policy::{KnobName, KnobPattern, Piece, Scope};

use crate::KeyError;

/// The pattern for `path`, a glob whose separator is `/`.
pub(crate) fn parse(path: &[u8]) -> Result<KnobPattern, KeyError> {
    let components = path.split(|&byte| byte == b'/').map(component);
    let notation = components.collect::<Result<Vec<_>, _>>()?.join("/").into_bytes();
    KnobPattern::parse(notation).map_err(KeyError::Notation)
}

/// One component in the notation of the policy language with slashes.
fn component(glob: &[u8]) -> Result<String, KeyError> {
    let mut notation = String::new();
    let mut rest = glob;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            // Two stars in a row would match slashes.
            b'*' if notation.ends_with('*') => {}
            b'*' | b'?' => notation.push(byte.into()),
            b'[' => match class_end(after) {
                Some(end) => {
                    class(&after[..end], &mut notation)?;
                    rest = &after[end + 1..];
                }
                None => literal(byte, &mut notation),
            },
            b'\\' => {
                let (&escaped, after) = after.split_first().unwrap_or((&byte, after));
                literal(escaped, &mut notation);
                rest = after;
            }
            byte => literal(byte, &mut notation),
        }
    }
    Ok(notation)
}

/// Where the `]` is that closes the class that begins here. A `]` that comes first is part of the class.
fn class_end(class: &[u8]) -> Option<usize> {
    let first = usize::from(matches!(class.first(), Some(b'!' | b'^')));
    let from = first + usize::from(class.get(first) == Some(&b']'));
    class[from.min(class.len())..].iter().position(|&byte| byte == b']').map(|at| from + at)
}

fn class(class: &[u8], notation: &mut String) -> Result<(), KeyError> {
    if class.windows(2).any(|pair| matches!(pair, b"[:" | b"[." | b"[=")) {
        return Err(KeyError::NamedClass);
    }
    let (negated, mut members) = match class {
        [b'!' | b'^', members @ ..] => (true, members),
        members => (false, members),
    };
    notation.push_str(if negated { "[!" } else { "[" });
    while let [byte, after @ ..] = members {
        members = match after {
            [b'-', high, after @ ..] => {
                literal(*byte, notation);
                notation.push('-');
                literal(*high, notation);
                after
            }
            after => {
                literal(*byte, notation);
                after
            }
        };
    }
    notation.push(']');
    Ok(())
}

/// Writes an ordinary byte.
fn literal(byte: u8, notation: &mut String) {
    match byte {
        b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => notation.push(byte.into()),
        byte => notation.push_str(&format!("\\x{byte:02x}")),
    }
}

/// What stands for a wildcard in an example.
const FILLINGS: [&str; 4] = ["eth0", "x", "a1", "test"];

/// Some names that a glob matches.
pub(crate) fn examples(glob: &KnobPattern) -> impl Iterator<Item = KnobName> {
    let names = FILLINGS.iter().filter_map(|filling| {
        let mut path = Vec::new();
        for piece in glob.pieces() {
            match piece {
                Piece::Literal(bytes) => path.extend(bytes),
                Piece::Star => path.extend(filling.as_bytes()),
                Piece::Any => path.push(filling.as_bytes()[0]),
                Piece::Class { .. } => path.push(member(piece)?),
                // `parse` makes none of these.
                Piece::DoubleStar | Piece::Alternatives(_) => return None,
            }
        }
        KnobName::from_path(path).ok()
    });
    names.filter(|name| glob.matches(name.as_bytes()))
}

/// A byte of a class, a letter or digit if there is one.
fn member(class: &Piece) -> Option<u8> {
    let plain = (b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9');
    plain.chain(b'!'..=b'~').find(|byte| class.takes(*byte, Scope::Component))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_become_patterns_that_match_the_same() {
        for (glob, pattern) in [
            ("net/ipv4/conf/*/rp_filter", "net.ipv4.conf.*.rp_filter"),
            ("net/ipv?/conf/e[a-z0]*/x", "net.ipv?.conf.e[0a-z]*.x"),
            ("net/**/x", "net.*.x"),
            ("net/[!a]/[^b]/x", "net.[!a].[!b].x"),
            ("net/[]a]/x*", r"net.[\]a].x*"),
            ("net/[a-]/x", r"net.[\-a].x"),
            ("net/[.]/x", r"net.[\.].x"),
            ("net/e*.100/x", "net.e*/100.x"),
            ("net/{a,b}*/x", r"net.\{a\,b\}*.x"),
            (r"net/\*\[/?", r"net.\*\[.?"),
            ("net/[a/b]*", r"net.\[a.b\]*"),
            ("net/*[", r"net.*\["),
            ("*\\", r"*\\"),
        ] {
            assert_eq!(parse(glob.as_bytes()).unwrap().to_string(), pattern, "{glob}");
        }
    }
}
