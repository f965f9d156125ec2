//! Texts that values are compared with or replaced by.

use std::fmt;

use super::PolicyError;
use crate::{Text, limits};

/// A text that can be a whole value: at most [`VALUE_MAX`](limits::VALUE_MAX) bytes, and without NUL and newline,
/// where the text of a value ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ValueText(Text);

impl ValueText {
    /// These bytes.
    ///
    /// # Errors
    /// Too many bytes, a NUL, or a newline.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PolicyError> {
        let bytes = bytes.into();
        if bytes.len() > limits::VALUE_MAX {
            return Err(PolicyError::TextTooLong { length: bytes.len() });
        }
        if bytes.iter().copied().any(ends_text) {
            return Err(PolicyError::NotOneLine);
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Whether the text of a value ends before this byte.
pub(crate) fn ends_text(byte: u8) -> bool {
    matches!(byte, b'\n' | 0)
}

/// Quoted, as the language writes it.
impl fmt::Display for ValueText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
