//! Errors and warnings as the protocol has them, and which of them the client has been told.

use std::collections::{BTreeMap, BTreeSet};

use gen_lsp_types::{
    Diagnostic as LspDiagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, DiagnosticTag,
    PublishDiagnosticsParams, Uri,
};
use knobgate_policy::terminal::escape_lines;
use knobgate_policy::{Diagnostic, Severity};

use crate::analysis::Analysis;
use crate::text_lines::Encoding;

/// The code of a missing header.
const MISSING_HEADER: &str = "missing-header";

/// What the errors and warnings come from, as editors show it.
const SOURCE: &str = "knobgate";

/// `diagnostic` of `analysis`, and the file that it is about.
pub(crate) fn report(
    diagnostic: &Diagnostic,
    analysis: &Analysis,
    encoding: Encoding,
) -> (Uri, LspDiagnostic) {
    let location = analysis.location(diagnostic.primary.span, encoding);
    let is_fragment = is_of_fragment(diagnostic, analysis);
    let severity = match diagnostic.severity {
        Severity::Error if is_fragment => DiagnosticSeverity::Information,
        Severity::Error => DiagnosticSeverity::Error,
        Severity::Warning => DiagnosticSeverity::Warning,
    };
    let related = diagnostic.secondary.iter().map(|label| DiagnosticRelatedInformation {
        location: analysis.location(label.span, encoding),
        message: escape_lines(&label.text),
    });
    let report = LspDiagnostic {
        range: location.range,
        severity: Some(severity),
        code: Some(diagnostic.code.to_owned().into()),
        code_description: None,
        source: Some(SOURCE.to_owned()),
        message: if is_fragment { FRAGMENT.to_owned() } else { message(diagnostic) }.into(),
        // Editors show such places in a fainter colour.
        tags: (diagnostic.code == "unreachable-rule").then(|| vec![DiagnosticTag::Unnecessary]),
        related_information: Some(related.collect()).filter(|related: &Vec<_>| !related.is_empty()),
        data: None,
    };
    (location.uri, report)
}

/// Whether `diagnostic` only says that a text is for policies to include.
pub(crate) fn is_of_fragment(diagnostic: &Diagnostic, analysis: &Analysis) -> bool {
    analysis.is_for_inclusion() && diagnostic.code == MISSING_HEADER
}

/// About a file that seems to be for policies to include.
const FRAGMENT: &str = "this file is for policies to include: a policy begins with `policy NAME`";

/// The message, the label and the help of a diagnostic.
fn message(diagnostic: &Diagnostic) -> String {
    let mut message = diagnostic.message.clone();
    if !diagnostic.primary.text.is_empty() {
        message.push_str(": ");
        message.push_str(&diagnostic.primary.text);
    }
    if let Some(help) = &diagnostic.help {
        message.push_str("\nhelp: ");
        message.push_str(help);
    }
    escape_lines(&message)
}

/// What the client has been told, and what is true of each open text.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    /// By the open text that they were found in, which may include others.
    found: BTreeMap<String, Vec<(Uri, LspDiagnostic)>>,
    told: BTreeMap<String, Vec<LspDiagnostic>>,
}

impl Reports {
    /// Notes what was found in the open text at `uri`, and returns what the client has to be told.
    pub(crate) fn found(
        &mut self,
        uri: &Uri,
        version: Option<i32>,
        found: Vec<(Uri, LspDiagnostic)>,
    ) -> Vec<PublishDiagnosticsParams> {
        let before = self.found.insert(uri.0.clone(), found);
        let mut files = self.files(uri, before.unwrap_or_default());
        files.insert(uri.0.clone());
        let changed = |file: &String| (file == &uri.0).then_some(version).flatten();
        files.iter().filter_map(|file| self.news(file, changed(file))).collect()
    }

    /// The same for a text that was closed.
    pub(crate) fn closed(&mut self, uri: &Uri) -> Vec<PublishDiagnosticsParams> {
        let before = self.found.remove(&uri.0).unwrap_or_default();
        let files = self.files(uri, before);
        files.iter().filter_map(|file| self.news(file, None)).collect()
    }

    /// The files that `before` or what was found since in the text at `uri` is about.
    fn files(&self, uri: &Uri, before: Vec<(Uri, LspDiagnostic)>) -> BTreeSet<String> {
        let now = self.found.get(&uri.0).into_iter().flatten();
        let files = now.map(|(file, _)| file.0.clone());
        files.chain(before.into_iter().map(|(file, _)| file.0)).collect()
    }

    /// What to tell the client about a file; nothing, if it knows that. About a `version` it knows nothing.
    fn news(&mut self, file: &str, version: Option<i32>) -> Option<PublishDiagnosticsParams> {
        let mut diagnostics: Vec<LspDiagnostic> = Vec::new();
        for found in self.found.values() {
            // Several policies may include the file.
            let of_others = diagnostics.len();
            for (about, diagnostic) in found {
                if about.0 == file && !diagnostics[..of_others].contains(diagnostic) {
                    diagnostics.push(diagnostic.clone());
                }
            }
        }
        let told = self.told.get(file).map(Vec::as_slice).unwrap_or_default();
        if version.is_none() && told == diagnostics {
            return None;
        }
        if diagnostics.is_empty() {
            self.told.remove(file);
        } else {
            self.told.insert(file.to_owned(), diagnostics.clone());
        }
        Some(PublishDiagnosticsParams { uri: Uri(file.to_owned()), version, diagnostics })
    }
}
