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
    let (file, place) = Place::of(diagnostic.primary.span, source);
    let other_file = |other: &'a str| Some(other).filter(|other| *other != file);
    Problem::Text(SpanProblem {
        file,
        place,
        severity: diagnostic.severity.to_string(),
        code: diagnostic.code,
        message: &diagnostic.message,
        label: Some(diagnostic.primary.text.as_str()).filter(|text| !text.is_empty()),
        related: diagnostic
            .secondary
            .iter()
            .map(|label| {
                let (file, place) = Place::of(label.span, source);
                Related { file: other_file(file), place, label: &label.text }
            })
            .collect(),
        help: diagnostic.help.as_deref(),
        suggestion: diagnostic.suggestion.as_ref().map(|suggestion| {
            let (file, place) = Place::of(suggestion.span, source);
            Suggestion { file: other_file(file), place, replacement: &suggestion.replacement }
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
    /// Absent if it is that of the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(flatten)]
    place: Place,
    label: &'a str,
}

#[derive(Serialize)]
struct Suggestion<'a> {
    /// Absent if it is that of the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(flatten)]
    place: Place,
    replacement: &'a str,
}

impl Place {
    /// The file that has `span`, and the place there.
    fn of(span: Span, source: &Source) -> (&str, Self) {
        let (source, span) = source.locate(span);
        let (line, column) = source.line_column(span.start);
        let (end_line, end_column) = source.line_column(span.end.max(span.start));
        (source.name(), Self { line, column, end: End { line: end_line, column: end_column } })
    }
}
