//! Why an `include` statement includes nothing.

use std::error::Error;

use super::IncludeError;
use crate::presets::{self, NoPreset};
use crate::syntax::{IncludeSyntax, Included};
use crate::{Diagnostic, Span, limits};

pub(super) enum NotIncluded {
    TooMany,
    TooDeep,
    /// With this file, the policy would be too large.
    TooLarge(String),
    NoPreset(NoPreset),
    /// There is no loader.
    NoFiles,
    Unreadable {
        /// Its name for messages.
        name: String,
        error: Box<dyn Error + Send + Sync>,
    },
    /// This file is being included already.
    Cycle(String),
    Json,
}

impl NotIncluded {
    /// The error of `statement`, with its place in its file.
    pub(super) fn diagnostic(self, statement: &IncludeSyntax) -> Diagnostic {
        let error = |code, message: String| Diagnostic::error(code, statement.name, message);
        match self {
            Self::TooMany => error(
                "too-many-includes",
                format!("a policy includes at most {} files", limits::INCLUDES_MAX),
            )
            .label("the rest is not included"),
            Self::TooDeep => {
                let message = format!("files include others at most {} deep", limits::INCLUDE_DEPTH_MAX);
                error("include-too-deep", message).label("this one is not included")
            }
            Self::TooLarge(name) => {
                let most = limits::FILE_MAX >> 20;
                let message = format!("with {name}, the policy would have more than {most} MiB");
                error("include-too-large", message)
            }
            Self::NoPreset(unknown) => unknown.diagnostic(statement.name),
            Self::NoFiles => error("no-files", "no file can be included here".to_owned()).help(
                "a policy in a file can include others, by paths relative to it; presets can be included everywhere",
            ),
            Self::Unreadable { name, error: reason } => {
                let error = error("include-unreadable", format!("cannot read {name}: {reason}"));
                match &statement.what {
                    Included::File(written) if let Ok(preset) = presets::named(written) => {
                        let start = Span::new(statement.name.start, statement.name.start);
                        error.help(format!("`{preset}` is a preset")).suggest(start, "preset ")
                    }
                    _ => error,
                }
            }
            Self::Cycle(name) => error("include-cycle", format!("{name} would include itself"))
                .help("put what both need into a third file"),
            Self::Json => error("include-json", "a policy in JSON cannot be included".to_owned())
                .help("include its rules as text"),
        }
    }
}

impl From<NoPreset> for NotIncluded {
    fn from(unknown: NoPreset) -> Self {
        Self::NoPreset(unknown)
    }
}

impl From<IncludeError> for NotIncluded {
    fn from(error: IncludeError) -> Self {
        match error {
            IncludeError::TooLarge { name } => Self::TooLarge(name),
            IncludeError::Unreadable { name, error } => Self::Unreadable { name, error },
        }
    }
}
