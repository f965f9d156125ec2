//! Errors and warnings as findings for code scanning.

use std::collections::BTreeMap;
use std::path::Path;

use knobgate_policy::{Diagnostic, JsonDiagnostic, Severity, Source, Span};

use crate::policy_file::{self, Checked};
use crate::sarif::{self, Finding, Fix, Level, Location, Rule};

/// What is wrong with all files.
#[derive(Default)]
pub(super) struct Findings {
    all: Vec<Finding>,
    /// For each code, what to do about it, as the first finding says.
    helps: BTreeMap<&'static str, Option<String>>,
    /// Why files could not be read.
    pub(super) unreadable: Vec<String>,
}

impl Findings {
    /// Adds what is wrong with the policy at `path`.
    pub(super) fn add(&mut self, path: &Path, checked: Checked) {
        // The diagnostics of a policy in JSON are about a text that is in no file.
        let original = policy_file::is_json(path).then(|| Source::new(policy_file::name(path), ""));
        let Checked { source, diagnostics, json_errors, .. } = checked;
        let place = |span: Span| match &original {
            Some(original) => Location::of(original, None),
            None => Location::of(&source, Some(span)),
        };
        for diagnostic in diagnostics {
            self.push(finding(&diagnostic, place, original.is_none()), diagnostic.help);
        }
        for error in json_errors {
            self.push(json_finding(&error, place(Span::default())), error.help);
        }
    }

    fn push(&mut self, finding: Finding, help: Option<String>) {
        self.helps.entry(finding.rule).or_insert(help);
        self.all.push(finding);
    }

    /// The SARIF document.
    pub(super) fn log(&self) -> String {
        let rules: Vec<Rule<'_>> =
            self.helps.iter().map(|(id, help)| Rule { id, help: help.as_deref() }).collect();
        sarif::log(&rules, &self.all, &self.unreadable)
    }
}

fn finding(diagnostic: &Diagnostic, place: impl Fn(Span) -> Location, has_places: bool) -> Finding {
    let label = Some(diagnostic.primary.text.as_str()).filter(|label| !label.is_empty());
    let message = match (label, &diagnostic.help) {
        (None, None) => diagnostic.message.clone(),
        (Some(label), None) => format!("{}: {label}", diagnostic.message),
        (None, Some(help)) => format!("{} (help: {help})", diagnostic.message),
        (Some(label), Some(help)) => format!("{}: {label} (help: {help})", diagnostic.message),
    };
    let related = diagnostic.secondary.iter().map(|label| (place(label.span), label.text.clone()));
    let fix = diagnostic.suggestion.as_ref().filter(|_| has_places).map(|suggestion| Fix {
        description: diagnostic.help.clone().unwrap_or_else(|| "write this instead".to_owned()),
        place: place(suggestion.span),
        replacement: suggestion.replacement.clone(),
    });
    Finding {
        rule: diagnostic.code,
        level: match diagnostic.severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warning,
        },
        message,
        location: place(diagnostic.primary.span),
        related: related.collect(),
        fix,
    }
}

/// An error in a policy in JSON has a path instead of a place.
fn json_finding(error: &JsonDiagnostic, location: Location) -> Finding {
    let help = error.help.as_ref().map(|help| format!(" (help: {help})")).unwrap_or_default();
    let at = if error.path.is_empty() { String::new() } else { format!("{}: ", error.path) };
    let message = format!("{at}{}{help}", error.message);
    Finding { rule: "json", level: Level::Error, message, location, related: Vec::new(), fix: None }
}
