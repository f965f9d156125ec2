//! Errors and warnings about a policy. The caller renders them.

use crate::{PolicyError, Span};

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Whether the policy can still be used.
    pub severity: Severity,
    /// A short, stable code such as `unknown-action`.
    pub code: &'static str,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where, with a label.
    pub primary: Label,
    /// Related places.
    pub secondary: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
    /// A replacement of text that fixes it.
    pub suggestion: Option<Suggestion>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy is valid, but it may not mean what was intended.
    Warning,
    /// The policy is invalid.
    Error,
}

/// A place with a remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// The remark; may be empty.
    pub text: String,
}

/// A replacement of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// What is replaced; empty where something is inserted.
    pub span: Span,
    /// The new text.
    pub replacement: String,
}

impl Diagnostic {
    /// An error: a slug, where it is, and what is wrong there.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        let primary = Label { span, text: String::new() };
        let (secondary, help, suggestion) = (Vec::new(), None, None);
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            primary,
            secondary,
            help,
            suggestion,
        }
    }

    /// The error of a constructor, at `span`.
    pub(crate) fn invalid(error: &PolicyError, span: Span) -> Self {
        let code = match error {
            PolicyError::BadName | PolicyError::NameTooLong => "bad-policy-name",
            PolicyError::NoPatterns | PolicyError::Pattern(_) => "bad-name",
            PolicyError::NotASysctl(_) => "not-a-sysctl",
            PolicyError::RewrittenRead | PolicyError::ReadExpectedToChange => "rewritten-read",
            PolicyError::NewOfRead => "new-of-read",
            PolicyError::NetnsOutsideNet => "netns-outside-net",
            PolicyError::ConditionTooDeep => "nesting-too-deep",
            PolicyError::TooFewConditions | PolicyError::NoLinks => "missing-operand",
            PolicyError::OnlyLiterals => "constant-comparison",
            PolicyError::EmptyRange => "empty-range",
            PolicyError::EndlessRange => "endless-range",
            PolicyError::EmptySet => "empty-set",
            PolicyError::ListLength { .. } => "bad-list",
            PolicyError::EachTwice => "each-twice",
            PolicyError::BadMask { .. } => "bad-mask",
            PolicyError::NoElement { .. } => "bad-index",
            PolicyError::NoRanges => "empty-clamp",
            PolicyError::TooManyRanges => "too-many-elements",
            PolicyError::TextTooLong { .. } | PolicyError::ReplacementTooLong { .. } => "text-too-long",
            PolicyError::NotOneLine => "never-true",
            PolicyError::ReplacementNotOneLine { .. } => "bad-replacement",
            PolicyError::EventRate { .. } => "bad-event-limit",
            PolicyError::BadComm => "bad-comm",
            PolicyError::BadImage(_) | PolicyError::NoRegistry => "bad-image",
            PolicyError::RelativePath | PolicyError::PathEndsInSlash => "bad-path",
            PolicyError::UnitWithoutType => "bad-unit",
            PolicyError::NoSuchEngine { .. } => "unknown-word",
            PolicyError::NoSuchTest { .. } => "bad-test",
        };
        let diagnostic = Diagnostic::error(code, span, error.to_string());
        match error.help() {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }

    /// A warning.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// With a remark at the primary place.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.primary.text = text.into();
        self
    }

    /// With another place.
    #[must_use]
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label { span, text: text.into() });
        self
    }

    /// With what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn suggest(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.suggestion = Some(Suggestion { span, replacement: replacement.into() });
        self
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}
