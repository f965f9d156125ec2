//! Diagnostics as programs read them.

use knobgate_policy::{Diagnostic, Source, Span};
use serde::Serialize;

use crate::json;

/// A diagnostic as a line of JSON.
pub(crate) fn line(diagnostic: &Diagnostic, source: &Source) -> String {
    json::line(&Object {
        file: source.name(),
        place: Place::of(diagnostic.primary.span, source),
        severity: diagnostic.severity.to_string(),
        code: diagnostic.code,
        message: &diagnostic.message,
        label: Some(diagnostic.primary.text.as_str()).filter(|text| !text.is_empty()),
        related: diagnostic
            .secondary
            .iter()
            .map(|label| Related { place: Place::of(label.span, source), label: &label.text })
            .collect(),
        help: diagnostic.help.as_deref(),
        suggestion: diagnostic.suggestion.as_ref().map(|suggestion| Suggestion {
            place: Place::of(suggestion.span, source),
            replacement: &suggestion.replacement,
        }),
    })
}

#[derive(Serialize)]
struct Object<'a> {
    file: &'a str,
    #[serde(flatten)]
    place: Place,
    severity: String,
    code: &'static str,
    message: &'a str,
    label: Option<&'a str>,
    related: Vec<Related<'a>>,
    help: Option<&'a str>,
    suggestion: Option<Suggestion<'a>>,
}

/// Lines and columns count from 1, columns in characters; the end is the place behind the last character.
#[derive(Serialize)]
struct Place {
    line: usize,
    column: usize,
    end: End,
}

#[derive(Serialize)]
struct End {
    line: usize,
    column: usize,
}

#[derive(Serialize)]
struct Related<'a> {
    #[serde(flatten)]
    place: Place,
    label: &'a str,
}

#[derive(Serialize)]
struct Suggestion<'a> {
    #[serde(flatten)]
    place: Place,
    replacement: &'a str,
}

impl Place {
    fn of(span: Span, source: &Source) -> Self {
        let (line, column) = source.line_column(span.start);
        let (end_line, end_column) = source.line_column(span.end.max(span.start));
        Self { line, column, end: End { line: end_line, column: end_column } }
    }
}
