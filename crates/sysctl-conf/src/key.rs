//! The keys of settings.

use std::fmt;

use knobgate_policy::{KnobName, KnobPattern, NotationError};

use crate::glob;

/// What the left side of a setting names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// One knob.
    Knob(KnobName),
    /// All knobs that match. Nothing in it matches a `/`.
    Glob(KnobPattern),
}

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A blank or a control character in it.
    #[error("it contains a blank or a control character")]
    Blank,
    /// `[[:alpha:]]`
    #[error("knobgate does not know named classes such as `[:alpha:]`")]
    NamedClass,
    /// `/proc/sys/vm/swappiness`
    #[error("names are relative to `/proc/sys`")]
    Prefix,
    /// Not a name or pattern of the policy language.
    #[error(transparent)]
    Notation(NotationError),
}

impl Key {
    /// Parses a key of sysctl.d(5). `*`, `?` and `[` make it a glob.
    ///
    /// The first separator decides: after a slash, dots belong to the names; after a dot, dots and slashes are
    /// swapped. Superfluous slashes are dropped (`sysctl_normalize`, systemd's sysctl-util.c).
    ///
    /// ```
    /// use knobgate_sysctl_conf::Key;
    ///
    /// assert_eq!(Key::parse("net.ipv4.conf.eno2/100.rp_filter"), Key::parse("net/ipv4/conf/eno2.100/rp_filter"));
    /// assert_eq!(Key::parse("net.ipv4.conf.{a}.*")?.to_string(), r"net.ipv4.conf.\{a\}.*");
    /// # Ok::<(), knobgate_sysctl_conf::KeyError>(())
    /// ```
    ///
    /// # Errors
    /// It names nothing below `/proc/sys`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        // `string_is_glob`, systemd's src/basic/glob-util.h
        if text.contains(['*', '?', '[']) {
            return glob::parse(&path(text)?).map(Self::Glob);
        }
        Self::knob(text)
    }

    /// The same for files that have no globs.
    ///
    /// # Errors
    /// It names nothing below `/proc/sys`.
    pub(crate) fn knob(text: &str) -> Result<Self, KeyError> {
        KnobName::from_path(path(text)?).map(Self::Knob).map_err(KeyError::Notation)
    }

    /// The pattern that matches the same knobs.
    ///
    /// # Errors
    /// It is longer than [`PATTERN_MAX`](knobgate_policy::limits::PATTERN_MAX).
    pub fn pattern(&self) -> Result<KnobPattern, KeyError> {
        match self {
            Self::Knob(name) => KnobPattern::parse(name.to_string()).map_err(KeyError::Notation),
            Self::Glob(pattern) => Ok(pattern.clone()),
        }
    }

    /// Whether it names `name`.
    pub fn names(&self, name: &KnobName) -> bool {
        match self {
            Self::Knob(own) => own == name,
            Self::Glob(pattern) => pattern.matches(name.as_bytes()),
        }
    }
}

/// As the policy language writes it.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Knob(name) => name.fmt(f),
            Self::Glob(pattern) => pattern.fmt(f),
        }
    }
}

impl KeyError {
    /// What to do about it, where that is not obvious.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Blank => Some("a setting is `key = value`"),
            Self::NamedClass => Some("list the characters: `[a-z]`"),
            Self::Prefix => Some("drop `/proc/sys/`"),
            Self::Notation(error) => error.kind.help(),
        }
    }
}

/// The path below `/proc/sys`: components separated by single slashes.
fn path(text: &str) -> Result<Vec<u8>, KeyError> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(KeyError::Blank);
    }
    let dotted = text.find(['.', '/']).is_some_and(|at| text.as_bytes()[at] == b'.');
    let swapped = text.bytes().map(|byte| match byte {
        b'.' if dotted => b'/',
        b'/' if dotted => b'.',
        byte => byte,
    });
    let swapped: Vec<u8> = swapped.collect();
    let components = swapped.split(|&byte| byte == b'/').filter(|component| !component.is_empty());
    let path = components.collect::<Vec<_>>().join(&b'/');
    if path == b"proc/sys" || path.starts_with(b"proc/sys/") {
        return Err(KeyError::Prefix);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_decides() {
        for (text, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
            ("net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
            ("/net//ipv4/ip_forward/", "net/ipv4/ip_forward"),
            ("net..ipv4.ip_forward", "net/ipv4/ip_forward"),
            (r"a.b\x2e{c},d", r"a/b\x2e{c},d"),
        ] {
            let Ok(Key::Knob(name)) = Key::parse(text) else { panic!("{text} is one knob") };
            assert_eq!(name.as_bytes(), path.as_bytes(), "{text}");
        }
    }

    #[test]
    fn what_names_no_knob_is_an_error() {
        for (text, error) in [
            ("", "the name is empty"),
            ("/", "the name is empty"),
            ("vm.swappiness 10", "it contains a blank or a control character"),
            ("vm.\u{1b}[2J", "it contains a blank or a control character"),
            ("/proc/sys/vm/swappiness", "names are relative to `/proc/sys`"),
            ("net.[[:alpha:]]*.x", "knobgate does not know named classes such as `[:alpha:]`"),
            ("net.[z-a].x", "this range of characters is reversed"),
        ] {
            assert_eq!(Key::parse(text).unwrap_err().to_string(), error, "{text}");
        }
    }
}
