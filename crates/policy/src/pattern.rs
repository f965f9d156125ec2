//! Patterns for the names of knobs, and globs for texts. Their meaning is in [`glob`](crate::Piece), their notation in
//! [`NotationError`]'s module.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::limits::{LAST_COMPONENT_MAX, LAST_COMPONENTS_MAX};
use crate::notation::{self, Notation, NotationError};
use knobgate_glob::{self as glob, Piece, Scope};

/// A pattern for the names of knobs.
///
/// ```
/// use knobgate_policy::KnobPattern;
///
/// let pattern = KnobPattern::parse("net.ipv4.tcp_{rmem,wmem}")?;
/// assert!(pattern.matches(b"net/ipv4/tcp_rmem"));
/// assert!(!pattern.matches(b"net/ipv4/tcp_mem"));
/// assert_eq!(pattern, KnobPattern::parse("net/ipv4/tcp_{rmem,wmem}")?);
/// # Ok::<(), knobgate_policy::NotationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnobPattern {
    pieces: Vec<Piece>,
}

/// A glob for texts. Unlike in patterns for names, `*`, `?` and classes match any byte, and `**` is the same as `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextGlob {
    pieces: Vec<Piece>,
}

impl KnobPattern {
    /// Parses a pattern in either notation.
    ///
    /// # Errors
    /// The text is not a valid pattern; the error has the place.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, NotationError> {
        notation::parse(text.as_ref(), Notation::Pattern).map(|pieces| Self { pieces })
    }

    /// Whether it matches all of `name`, which is in canonical form.
    pub fn matches(&self, name: &[u8]) -> bool {
        glob::matches(&self.pieces, name, Scope::Component)
    }

    /// Whether it is `**`, which matches every name, even one that is too long to look at.
    pub fn matches_every_name(&self) -> bool {
        !self.pieces.is_empty() && self.pieces.iter().all(|piece| *piece == Piece::DoubleStar)
    }

    /// Whether all names that it matches are [below `net/`](crate::KnobName::is_below_net), because it starts with that.
    pub fn is_below_net(&self) -> bool {
        matches!(self.pieces.first(), Some(Piece::Literal(start)) if start.starts_with(b"net/"))
    }

    /// Its pieces in canonical form: the separator is `/`, and neither two literals nor two stars are adjacent.
    /// Patterns are equal if their pieces are.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The name, if it is a literal and so matches only one.
    pub fn literal(&self) -> Option<&[u8]> {
        match self.pieces.as_slice() {
            [Piece::Literal(name)] => Some(name),
            _ => None,
        }
    }

    /// The same with dots inside a name in place of these separators, which are counted from 0 outside of alternatives.
    pub(crate) fn with_dots(&self, separators: &Range<usize>) -> Self {
        let mut pieces = self.pieces.clone();
        let literals = pieces.iter_mut().filter_map(|piece| match piece {
            Piece::Literal(bytes) => Some(bytes),
            _ => None,
        });
        for (index, byte) in literals.flatten().filter(|byte| **byte == b'/').enumerate() {
            if separators.contains(&index) {
                *byte = b'.';
            }
        }
        Self { pieces }
    }

    /// The last components of the names that it matches, if they are literals within [`LAST_COMPONENTS_MAX`] and
    /// [`LAST_COMPONENT_MAX`]. It matches no name with another last component.
    ///
    /// ```
    /// use knobgate_policy::KnobPattern;
    ///
    /// let last = |pattern| KnobPattern::parse(pattern).unwrap().last_components();
    /// assert_eq!(last("**.tcp_{r,w}mem"), Some([b"tcp_rmem".to_vec(), b"tcp_wmem".to_vec()].into()));
    /// assert_eq!(last("net.ipv4.tcp_*"), None);
    /// ```
    pub fn last_components(&self) -> Option<BTreeSet<Vec<u8>>> {
        let mut tails = BTreeSet::from([Vec::new()]);
        for piece in self.pieces.iter().rev() {
            let (literals, is_whole) = match piece {
                Piece::Literal(bytes) => {
                    let start = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
                    (BTreeSet::from([bytes[start..].to_vec()]), start > 0)
                }
                Piece::Alternatives(branches) => {
                    (branches.iter().map(|branch| within_component(branch)).collect::<Option<_>>()?, false)
                }
                Piece::Any | Piece::Star | Piece::DoubleStar | Piece::Class { .. } => return None,
            };
            if literals.len() * tails.len() > LAST_COMPONENTS_MAX {
                return None;
            }
            tails = literals
                .iter()
                .flat_map(|front| tails.iter().map(move |tail| [front.as_slice(), tail].concat()))
                .collect();
            if is_whole {
                break;
            }
        }
        tails.iter().all(|tail| (1..=LAST_COMPONENT_MAX).contains(&tail.len())).then_some(tails)
    }
}

/// The bytes of one alternative, if it is a literal without a separator.
fn within_component(branch: &[Piece]) -> Option<Vec<u8>> {
    match branch {
        [] => Some(Vec::new()),
        [Piece::Literal(bytes)] if !bytes.contains(&b'/') => Some(bytes.clone()),
        _ => None,
    }
}

impl TextGlob {
    /// Parses a glob. An empty one matches the empty text.
    ///
    /// # Errors
    /// The text is not a valid glob; the error has the place.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, NotationError> {
        notation::parse(text.as_ref(), Notation::Text).map(|pieces| Self { pieces })
    }

    /// Whether it matches all of `text`.
    pub fn matches(&self, text: &[u8]) -> bool {
        glob::matches(&self.pieces, text, Scope::Text)
    }

    /// Its pieces; neither two literals nor two stars are adjacent. Globs are equal if their pieces are.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

/// The canonical notation, which is dotted.
impl fmt::Display for KnobPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        notation::write(&self.pieces, Notation::Pattern, f)
    }
}

/// The canonical notation, without quotes.
impl fmt::Display for TextGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        notation::write(&self.pieces, Notation::Text, f)
    }
}

impl FromStr for KnobPattern {
    type Err = NotationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl FromStr for TextGlob {
    type Err = NotationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}
