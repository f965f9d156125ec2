//! Compile errors, at the rule.

use std::fmt::Display;

use knobgate_compiler::CompileError;
use knobgate_policy::{Diagnostic, PolicyFile, Span};

/// The diagnostic for `error` on this kernel.
pub(crate) fn diagnostic(error: &CompileError, file: &PolicyFile, kernel: impl Display) -> Diagnostic {
    let span = error.rule().and_then(|rule| file.rule_span(rule));
    let whole_first_line = || Span::new(0, file.source().line_text(1).len());
    let (code, help) = match error {
        CompileError::NotOnThisKernel { operand: "netns", .. } => (
            "not-on-this-kernel",
            format!("{kernel} does not support it; `knobgate doctor` shows what this machine supports"),
        ),
        CompileError::NotOnThisKernel { .. } => {
            ("not-on-this-kernel", format!("remove the condition: {kernel} does not support it"))
        }
        CompileError::TooMuchToVerify { .. } => (
            "too-large",
            "use fewer rules for the same names, or rules that differ only in their constants".to_owned(),
        ),
        _ => ("too-large", "use a smaller policy, or simpler patterns".to_owned()),
    };
    Diagnostic::error(code, span.unwrap_or_else(whole_first_line), error.to_string()).help(help)
}
