//! Why a policy cannot be compiled, at the rule.

use knobgate_compiler::CompileError;
use knobgate_policy::{Diagnostic, Label, PolicyFile, Severity, Span};

/// `error` as something to draw.
pub(crate) fn diagnostic(error: &CompileError, file: &PolicyFile) -> Diagnostic {
    let span = error.rule().and_then(|rule| file.rule_span(rule));
    let whole_first_line = || Span::new(0, file.source().line_text(1).len());
    let (code, help) = match error {
        CompileError::NotOnThisKernel { .. } => ("not-on-this-kernel", None),
        _ => ("too-large", Some("a smaller policy, or one with simpler patterns, is needed".to_owned())),
    };
    Diagnostic {
        severity: Severity::Error,
        code,
        message: error.to_string(),
        primary: Label { span: span.unwrap_or_else(whole_first_line), text: String::new() },
        secondary: Vec::new(),
        help,
        suggestion: None,
    }
}
