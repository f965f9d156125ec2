//! Diagnostics as JSON.

use knobgate_policy::{Diagnostic, JsonDiagnostic, Source, Span};
use serde::Serialize;

use crate::policy_file::Checked;

/// The errors and warnings of a policy, one object each.
pub(crate) fn objects(checked: &Checked) -> Vec<Problem<'_>> {
    let diagnostics = checked.diagnostics.iter().map(|diagnostic| object(diagnostic, &checked.source));
    diagnostics.chain(checked.json_errors.iter().map(|error| json_object(error, &checked.source))).collect()
}

fn object<'a>(diagnostic: &'a Diagnostic, source: &'a Source) -> Problem<'a> {
    Problem::Text(SpanProblem {
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

/// An error in a JSON policy has a path such as `rules[3].condition` instead of a place in the text.
fn json_object<'a>(error: &'a JsonDiagnostic, source: &'a Source) -> Problem<'a> {
    Problem::Json(PathProblem {
        file: source.name(),
        path: &error.path,
        severity: "error",
        code: "json",
        message: &error.message,
        help: error.help.as_deref(),
    })
}

/// One error or warning.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Problem<'a> {
    Text(SpanProblem<'a>),
    Json(PathProblem<'a>),
}

#[derive(Serialize)]
pub(crate) struct PathProblem<'a> {
    file: &'a str,
    path: &'a str,
    severity: &'static str,
    code: &'static str,
    message: &'a str,
    help: Option<&'a str>,
}

#[derive(Serialize)]
pub(crate) struct SpanProblem<'a> {
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

/// Lines and columns count from 1, columns in characters; the end is after the last character.
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
