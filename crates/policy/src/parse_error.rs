//! Why a text is not a valid policy.

use std::fmt;

use crate::{Diagnostic, Place, Severity, Source};

/// Everything that is wrong with the text of a policy: at least one error, and the warnings.
///
/// ```
/// use knobgate_policy::{CheckOptions, Source, parse};
///
/// let text = "policy x\nalow write kernel.panic\nallow read kernel.";
/// let error = parse(Source::new("x.knob", text), &CheckOptions::default()).unwrap_err();
/// assert_eq!(error.diagnostics().len(), 2);
/// assert_eq!(
///     error.to_string(),
///     "x.knob:2:1: there is no action `alow`; did you mean `allow`? (and 1 more error)"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    text: Box<Source>,
    diagnostics: Vec<Diagnostic>,
}

impl ParseError {
    pub(crate) fn new(text: Source, diagnostics: Vec<Diagnostic>) -> Self {
        Self { text: Box::new(text), diagnostics }
    }

    /// The text that is wrong.
    pub fn text(&self) -> &Source {
        &self.text
    }

    /// Errors and warnings, in the order of the text.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

/// The first error with its place, and how many more there are.
impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut errors = self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
        let Some(first) = errors.next() else { return Ok(()) };
        let Place { name, line, column } = self.text.place(first.primary.span.start);
        write!(f, "{name}:{line}:{column}: {}", first.message)?;
        write_help_and_more(f, first.help.as_deref(), errors.count())
    }
}

/// Ends the message of the first error, after which there are `more`.
pub(crate) fn write_help_and_more(
    f: &mut fmt::Formatter<'_>,
    help: Option<&str>,
    more: usize,
) -> fmt::Result {
    if let Some(help) = help {
        write!(f, "; {help}")?;
    }
    match more {
        0 => Ok(()),
        1 => f.write_str(" (and 1 more error)"),
        more => write!(f, " (and {more} more errors)"),
    }
}

impl std::error::Error for ParseError {}

/// The diagnostics, in the order of the text.
impl IntoIterator for ParseError {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.diagnostics.into_iter()
    }
}
