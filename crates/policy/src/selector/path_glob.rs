//! Globs for the paths of cgroups.

use std::fmt;
use std::str::FromStr;

use crate::NotationError;
use crate::notation::{self, Notation};
use knobgate_glob::{self as glob, Piece, Scope};

/// A glob for the paths of cgroups. It begins at the root of the hierarchy. `*`, `?` and classes stay in one component,
/// and `**` matches any number of them.
///
/// ```
/// use knobgate_policy::selector::PathGlob;
///
/// let glob = PathGlob::parse("/system.slice/docker-*.scope")?;
/// assert!(glob.matches(b"/system.slice/docker-4f6b1e3a9c0d.scope"));
/// assert!(!glob.matches(b"/system.slice/docker-4f6b1e3a9c0d.scope/init"));
/// assert!(PathGlob::parse("system.slice/*").is_err());
/// # Ok::<(), knobgate_policy::NotationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathGlob {
    pieces: Vec<Piece>,
}

impl PathGlob {
    /// Parses a glob.
    ///
    /// # Errors
    /// The text is not a valid glob, or does not begin with `/`; the error has the place.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, NotationError> {
        notation::parse(text.as_ref(), Notation::Path).map(|pieces| Self { pieces })
    }

    /// Whether it matches all of `path`.
    pub fn matches(&self, path: &[u8]) -> bool {
        glob::matches(&self.pieces, path, Scope::Component)
    }

    /// Its pieces; neither two literals nor two stars are adjacent. Globs are equal if their pieces are.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether it begins with `**`, so that it says nothing about the topmost cgroups.
    pub(crate) fn is_at_any_depth(&self) -> bool {
        matches!(self.pieces(), [Piece::Literal(root), Piece::DoubleStar, _, ..] if root == b"/")
    }
}

/// The canonical notation, without quotes.
impl fmt::Display for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        notation::write(&self.pieces, Notation::Path, f)
    }
}

impl FromStr for PathGlob {
    type Err = NotationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}
