//! The names of knobs.

use std::fmt;
use std::str::FromStr;

use crate::glob::Piece;
use crate::spelling::{self, Spelled, SpellingError, SpellingErrorKind};

/// The name of one knob: its path below `/proc/sys`.
///
/// ```
/// use knobgate_policy::KnobName;
///
/// let name = KnobName::parse("net.ipv4.conf.eno2/100.rp_filter")?;
/// assert_eq!(name.as_bytes(), b"net/ipv4/conf/eno2.100/rp_filter");
/// assert_eq!(name, KnobName::parse("net/ipv4/conf/eno2.100/rp_filter")?);
/// assert_eq!(name.to_string(), "net.ipv4.conf.eno2/100.rp_filter");
/// # Ok::<(), knobgate_policy::SpellingError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KnobName(Vec<u8>);

impl KnobName {
    /// Reads a name in either spelling, escapes resolved.
    ///
    /// # Errors
    /// Where the text is no name, with the place.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, SpellingError> {
        let pieces = spelling::parse(text.as_ref(), Spelled::Name)?;
        match <[Piece; 1]>::try_from(pieces) {
            Ok([Piece::Literal(name)]) => Ok(Self(name)),
            _ => Err(SpellingError { kind: SpellingErrorKind::Empty, span: crate::Span::default() }),
        }
    }

    /// The name of the file at `path` below `/proc/sys`, byte for byte: components separated by `/`, nothing escaped.
    /// This is the form in which the hook gives names.
    ///
    /// # Errors
    /// Where a component is empty, or holds a NUL.
    pub fn from_path(path: impl Into<Vec<u8>>) -> Result<Self, SpellingError> {
        let path = path.into();
        let error = |kind, start, end| Err(SpellingError { kind, span: crate::Span::new(start, end) });
        if path.is_empty() {
            return error(SpellingErrorKind::Empty, 0, 0);
        }
        if let Some(at) = path.iter().position(|&byte| byte == 0) {
            return error(SpellingErrorKind::ImpossibleByte, at, at + 1);
        }
        if path.starts_with(b"/") {
            return error(SpellingErrorKind::LeadingSeparator, 0, 1);
        }
        if path.ends_with(b"/") {
            return error(SpellingErrorKind::TrailingSeparator, path.len() - 1, path.len());
        }
        if let Some(at) = path.windows(2).position(|pair| pair == b"//") {
            return error(SpellingErrorKind::EmptyComponent, at, at + 2);
        }
        Ok(Self(path))
    }

    /// Its canonical form: the path below `/proc/sys`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The canonical spelling, which is dotted; as a pattern, it matches this knob alone.
impl fmt::Display for KnobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        spelling::write(&[Piece::Literal(self.0.clone())], Spelled::Name, f)
    }
}

impl FromStr for KnobName {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}
