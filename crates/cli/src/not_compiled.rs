//! Why a policy cannot be compiled, at the rule.

use std::fmt::Display;

use knobgate_compiler::CompileError;
use knobgate_policy::{Diagnostic, PolicyFile, Span};

/// `error`, for this kernel, as something to draw.
pub(crate) fn diagnostic(error: &CompileError, file: &PolicyFile, kernel: impl Display) -> Diagnostic {
    let span = error.rule().and_then(|rule| file.rule_span(rule));
    let whole_first_line = || Span::new(0, file.source().line_text(1).len());
    let (code, help) = match error {
        CompileError::NotOnThisKernel { .. } => {
            ("not-on-this-kernel", format!("{kernel} cannot have this policy"))
        }
        CompileError::TooMuchToVerify { .. } => (
            "too-large",
            "fewer rules for the same names, or rules that differ in their constants alone, are less work"
                .to_owned(),
        ),
        _ => ("too-large", "a smaller policy, or one with simpler patterns, is needed".to_owned()),
    };
    Diagnostic::error(code, span.unwrap_or_else(whole_first_line), error.to_string()).help(help)
}
