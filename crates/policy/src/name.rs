//! The names of knobs.

use std::fmt;
use std::str::FromStr;

use crate::notation::{self, Notation, NotationError, NotationErrorKind};
use knobgate_glob::Piece;

/// The name of one knob: its path below `/proc/sys`.
///
/// ```
/// use knobgate_policy::KnobName;
///
/// let name = KnobName::parse("net.ipv4.conf.eno2/100.rp_filter")?;
/// assert_eq!(name.as_bytes(), b"net/ipv4/conf/eno2.100/rp_filter");
/// assert_eq!(name, KnobName::parse("net/ipv4/conf/eno2.100/rp_filter")?);
/// assert_eq!(name.to_string(), "net.ipv4.conf.eno2/100.rp_filter");
/// # Ok::<(), knobgate_policy::NotationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KnobName(Vec<u8>);

impl KnobName {
    /// Parses a name in either notation, and resolves escapes.
    ///
    /// # Errors
    /// The text is not a valid name; the error has the place.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, NotationError> {
        let pieces = notation::parse(text.as_ref(), Notation::Name)?;
        match <[Piece; 1]>::try_from(pieces) {
            Ok([Piece::Literal(name)]) => Ok(Self(name)),
            _ => Err(NotationError { kind: NotationErrorKind::Empty, span: crate::Span::default() }),
        }
    }

    /// Whether the knob is one of the network's, of which every network namespace has its own.
    pub fn is_below_net(&self) -> bool {
        self.0.starts_with(b"net/")
    }

    /// The name of the file at `path` below `/proc/sys`, byte for byte: components separated by `/`, nothing escaped.
    /// The hook reports names in this form.
    ///
    /// # Errors
    /// A component is empty, or contains a NUL.
    pub fn from_path(path: impl Into<Vec<u8>>) -> Result<Self, NotationError> {
        let path = path.into();
        let error = |kind, start, end| Err(NotationError { kind, span: crate::Span::new(start, end) });
        if path.is_empty() {
            return error(NotationErrorKind::Empty, 0, 0);
        }
        if let Some(at) = path.iter().position(|&byte| byte == 0) {
            return error(NotationErrorKind::ImpossibleByte, at, at + 1);
        }
        if path.starts_with(b"/") {
            return error(NotationErrorKind::LeadingSeparator, 0, 1);
        }
        if path.ends_with(b"/") {
            return error(NotationErrorKind::TrailingSeparator, path.len() - 1, path.len());
        }
        if let Some(at) = path.windows(2).position(|pair| pair == b"//") {
            return error(NotationErrorKind::EmptyComponent, at, at + 2);
        }
        Ok(Self(path))
    }

    /// Its canonical form: the path below `/proc/sys`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The canonical notation, which is dotted. As a pattern, it matches only this knob.
impl fmt::Display for KnobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        notation::write(&[Piece::Literal(self.0.clone())], Notation::Name, f)
    }
}

impl FromStr for KnobName {
    type Err = NotationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}
