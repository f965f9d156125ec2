//! Including texts: files, which the caller reads, and presets.

mod expand;
mod map;
mod not_included;
mod restore;

use std::fmt::Debug;
use std::path::{Path, PathBuf};

pub(crate) use expand::expand;
pub(crate) use map::Inclusions;
pub(crate) use restore::restore;

/// Reads the files that a policy includes. This crate reads none itself.
///
/// ```
/// use std::path::{Path, PathBuf};
///
/// use knobgate_policy::{CheckOptions, IncludeError, IncludeLoader, IncludedText, Source, parse};
///
/// /// Has one file, which is not read from anywhere.
/// #[derive(Debug)]
/// struct OneFile;
///
/// impl IncludeLoader for OneFile {
///     fn policy_id(&self) -> Option<PathBuf> {
///         None
///     }
///
///     fn load(&self, name: &str, _: Option<&Path>, _: usize) -> Result<IncludedText, IncludeError> {
///         match name {
///             "swap.knob" => Ok(IncludedText::new(name, name, "allow write vm.swappiness\n")),
///             _ => Err(IncludeError::Unreadable { name: name.to_owned(), error: "there is no such file".into() }),
///         }
///     }
/// }
///
/// let text = "policy web\ninclude \"swap.knob\"\nallow write vm.dirty_ratio\n";
/// let file = parse(Source::new("web.knob", text), &CheckOptions::default().includes(&OneFile))?;
/// assert_eq!(file.policy().rules().len(), 2);
/// assert_eq!(file.rule_place(0).unwrap().to_string(), "swap.knob:1");
/// assert_eq!(file.rule_place(1).unwrap().to_string(), "web.knob:3");
/// # Ok::<(), knobgate_policy::ParseError>(())
/// ```
pub trait IncludeLoader: Debug {
    /// What identifies the file that has the policy itself, as [`IncludedText::id`] does; `None` if it is in no file.
    fn policy_id(&self) -> Option<PathBuf>;

    /// The file that `include "NAME"` names. `from` is the [`path`](IncludedText::path) of the file with this statement; `None`
    /// for the policy's own. More than `most` bytes are too many.
    ///
    /// # Errors
    /// A file that cannot be read, or that is too large.
    fn load(&self, name: &str, from: Option<&Path>, most: usize) -> Result<IncludedText, IncludeError>;
}

/// A text that is included.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncludedText {
    /// Its name for messages.
    pub name: String,
    /// Its path, for what it includes itself.
    pub path: PathBuf,
    /// What identifies it, however it was named. A file that includes itself has the same one again.
    pub id: PathBuf,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl IncludedText {
    /// What the file at `path` holds, called `name` in messages. Its path identifies it.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Self {
        let path = path.into();
        Self { name: name.into(), id: path.clone(), path, bytes: bytes.into() }
    }

    /// The same, identified by `id`.
    #[must_use]
    pub fn with_id(self, id: impl Into<PathBuf>) -> Self {
        Self { id: id.into(), ..self }
    }
}

/// Why a file cannot be included.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IncludeError {
    /// It has more bytes than a policy may have in all.
    #[error("{name} is too large")]
    TooLarge {
        /// Its name for messages.
        name: String,
    },
    /// It cannot be read.
    #[error("cannot read {name}")]
    Unreadable {
        /// Its name for messages.
        name: String,
        /// Why.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
}
