//! Names of attachments.

use std::fmt;
use std::str::FromStr;

/// The name of an attachment: 1 to 63 letters, digits, `_`, `-`, `:` and `@`, the first a letter or a digit.
///
/// The name is that of a directory on a bpffs, which allows no dots (`bpf_lookup()` in kernel/bpf/inode.c).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachmentName(String);

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It is empty, or longer than 63 bytes.
    #[error("the name of an attachment has 1 to 63 characters, not {length}")]
    Length {
        /// How many bytes it has.
        length: usize,
    },
    /// It contains an invalid character.
    #[error(
        "`{name}` cannot be the name of an attachment: {character:?} is not a letter, a digit, `_`, `-`, `:` or `@`"
    )]
    Character {
        /// The text.
        name: String,
        /// The first invalid character.
        character: char,
    },
    /// Its first character is invalid there.
    #[error("`{name}` cannot be the name of an attachment: it must begin with a letter or a digit")]
    Start {
        /// The text.
        name: String,
    },
}

impl AttachmentName {
    /// The length limit in bytes.
    pub const MAX: usize = 63;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AttachmentName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        if name.is_empty() || name.len() > Self::MAX {
            return Err(NameError::Length { length: name.len() });
        }
        let wrong = name.chars().find(|&c| !(c.is_ascii_alphanumeric() || "_-:@".contains(c)));
        if let Some(character) = wrong {
            return Err(NameError::Character { name: name.to_owned(), character });
        }
        if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err(NameError::Start { name: name.to_owned() });
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for AttachmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_directory_on_a_bpffs() {
        let longest = "x".repeat(63);
        for name in ["a", "web-tier", "nginx@1:2_3", "7", &longest] {
            assert_eq!(name.parse::<AttachmentName>().map(|name| name.to_string()), Ok(name.to_owned()));
        }
        let wrong = |name: &str, character| NameError::Character { name: name.to_owned(), character };
        let start = |name: &str| NameError::Start { name: name.to_owned() };
        let cases = [
            ("", NameError::Length { length: 0 }),
            (&"x".repeat(64), NameError::Length { length: 64 }),
            ("a/b", wrong("a/b", '/')),
            (".hidden", wrong(".hidden", '.')),
            ("web.tier", wrong("web.tier", '.')),
            ("a b", wrong("a b", ' ')),
            ("+1-0", wrong("+1-0", '+')),
            ("-a", start("-a")),
            ("_a", start("_a")),
        ];
        for (name, expected) in cases {
            assert_eq!(name.parse::<AttachmentName>(), Err(expected), "{name}");
        }
    }
}
