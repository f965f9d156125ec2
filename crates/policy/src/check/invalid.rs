//! What the constructors of policies say, as diagnostics.

use crate::{Diagnostic, PolicyError, Span};

/// The diagnostic for `error` at `span`.
pub(super) fn diagnostic(error: &PolicyError, span: Span) -> Diagnostic {
    let code = match error {
        PolicyError::BadName | PolicyError::NameTooLong => "bad-policy-name",
        PolicyError::NoPatterns | PolicyError::Pattern(_) => "bad-name",
        PolicyError::NotASysctl(_) => "not-a-sysctl",
        PolicyError::RewrittenRead | PolicyError::ReadExpectedToChange => "rewritten-read",
        PolicyError::NewOfRead => "new-of-read",
        PolicyError::ConditionTooDeep => "nesting-too-deep",
        PolicyError::TooFewConditions | PolicyError::NoLinks => "missing-operand",
        PolicyError::OnlyLiterals => "constant-comparison",
        PolicyError::EmptyRange => "empty-range",
        PolicyError::EndlessRange => "endless-range",
        PolicyError::EmptySet => "empty-set",
        PolicyError::NoElement { .. } => "bad-index",
        PolicyError::NoRanges => "empty-clamp",
        PolicyError::TooManyRanges => "too-many-elements",
        PolicyError::TextTooLong { .. } => "text-too-long",
        PolicyError::NotOneLine => "never-true",
        PolicyError::ReplacementNotOneLine { .. } => "bad-replacement",
        PolicyError::BadComm => "bad-comm",
    };
    let diagnostic = Diagnostic::error(code, span, error.to_string());
    match error.help() {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}
