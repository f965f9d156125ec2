//! What decided, and where it is, in words. Everything that a policy chose is escaped.

use knobgate_policy::{DecidedBy, PolicyFile, Span};

use crate::printable::printable;

/// What decided, and where it is.
pub(crate) struct Decider {
    /// `file:line`, or only the file if it does not state the default.
    pub(crate) place: String,
    /// The text of the rule, or what the default is.
    pub(crate) text: String,
    /// Where it is in the file.
    pub(crate) span: Option<Span>,
    /// Why the rule could not be evaluated, for the example.
    pub(crate) eval_error: Option<String>,
}

pub(crate) fn decider(by: DecidedBy, file: &PolicyFile) -> Decider {
    let (rule, eval_error) = match by {
        DecidedBy::Rule(rule) => (Some(rule), None),
        DecidedBy::EvalError { rule, error } => (Some(rule), Some(error.to_string())),
        DecidedBy::Default(_) => (None, None),
    };
    let (span, text) = match (rule, by) {
        (Some(rule), _) => {
            (file.rule_span(rule), printable(file.rule_text(rule).unwrap_or_default()).into_owned())
        }
        (None, DecidedBy::Default(kind)) => match file.default_span(kind) {
            Some(span) => (Some(span), printable(file.source().slice(span)).into_owned()),
            None => (None, format!("the default for a {kind}, which is not stated")),
        },
        (None, _) => (None, String::new()),
    };
    let place = match span {
        Some(span) => printable(&file.source().place(span.start).to_string()).into_owned(),
        None => printable(file.source().name()).into_owned(),
    };
    Decider { place, text, span, eval_error }
}
