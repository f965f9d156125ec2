//! The fixes of errors and warnings.

use std::collections::HashMap;

use gen_lsp_types::{
    CodeAction, CodeActionKind, CodeActionParams, CodeActionResponse, TextEdit, Uri, WorkspaceEdit,
};
use knobgate_policy::terminal::escape;
use knobgate_policy::{Diagnostic, Severity, Span, Suggestion};

use crate::analysis::Analysis;
use crate::capabilities::FIX_ALL;
use crate::reports;
use crate::server::Server;
use crate::text_lines::Encoding;

pub(crate) fn actions(server: &mut Server<'_>, params: CodeActionParams) -> Option<Vec<CodeActionResponse>> {
    let uri = params.text_document.uri;
    let document = server.documents.get(&uri)?;
    let encoding = server.encoding;
    let range = document.lines().span(document.text(), params.range, encoding);
    let wanted = |kind: &CodeActionKind| {
        let within = |wanted: &CodeActionKind| {
            let rest = kind.as_str().strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| wanted.as_str().is_empty() || rest.is_empty() || rest.starts_with('.'))
        };
        params.context.only.as_ref().is_none_or(|only| only.iter().any(within))
    };
    let mut actions: Vec<CodeActionResponse> = Vec::new();
    for analysis in server.analyses_with(&uri) {
        let here = |diagnostic: &&Diagnostic| {
            let place = analysis.locate(diagnostic.primary.span);
            let touches = |span: Span| span.start <= range.end && range.start <= span.end;
            place.is_some_and(|(file, _, span)| *file == uri && touches(span))
        };
        if wanted(&CodeActionKind::QuickFix) {
            for diagnostic in analysis.diagnostics.iter().filter(here) {
                let fix = diagnostic.suggestion.as_ref().and_then(|fix| edit(fix, &analysis, encoding));
                let Some((file, edit)) = fix else { continue };
                let action = CodeAction {
                    title: title(diagnostic),
                    kind: Some(CodeActionKind::QuickFix),
                    diagnostics: Some(vec![reports::report(diagnostic, &analysis, encoding).1]),
                    // The fix of a warning may change what a policy decides.
                    is_preferred: Some(diagnostic.severity == Severity::Error),
                    edit: Some(edits(file, vec![edit])),
                    ..CodeAction::default()
                };
                let action = CodeActionResponse::from(action);
                // Several policies may include the file.
                if !actions.contains(&action) {
                    actions.push(action);
                }
            }
        }
    }
    let fix_all = CodeActionKind::new(FIX_ALL);
    if wanted(&fix_all) {
        let all = all_fixes(server, &uri);
        if !all.is_empty() {
            actions.push(
                CodeAction {
                    title: "fix all errors that have a fix".to_owned(),
                    kind: Some(fix_all),
                    edit: Some(edits(uri, all)),
                    ..CodeAction::default()
                }
                .into(),
            );
        }
    }
    Some(actions)
}

/// What the action that fixes `diagnostic` is called.
fn title(diagnostic: &Diagnostic) -> String {
    let replacement = diagnostic.suggestion.as_ref().map(|fix| fix.replacement.trim()).unwrap_or_default();
    let title = match &diagnostic.help {
        Some(help) => help.clone(),
        None if replacement.is_empty() => "remove this".to_owned(),
        None => format!("write `{replacement}`"),
    };
    escape(title.as_bytes())
}

/// `fix` in its file; `None` if that is a preset.
fn edit(fix: &Suggestion, analysis: &Analysis, encoding: Encoding) -> Option<(Uri, TextEdit)> {
    let (_, source, _) = analysis.locate(fix.span)?;
    let location = analysis.location(fix.span, encoding);
    let is_crlf = source.text().find('\n').is_some_and(|at| source.text()[..at].ends_with('\r'));
    let new_text = if is_crlf { fix.replacement.replace('\n', "\r\n") } else { fix.replacement.clone() };
    Some((location.uri, TextEdit { range: location.range, new_text }))
}

fn edits(uri: Uri, edits: Vec<TextEdit>) -> WorkspaceEdit {
    WorkspaceEdit { changes: Some(HashMap::from([(uri, edits)])), ..WorkspaceEdit::default() }
}

/// The fixes of all errors in the text at `uri`, as far as they do not touch each other. Those of warnings are not among them:
/// editors can be told to apply such an action whenever a file is saved, and these may change what a valid policy decides.
fn all_fixes(server: &mut Server<'_>, uri: &Uri) -> Vec<TextEdit> {
    let encoding = server.encoding;
    let mut fixes: Vec<(Span, TextEdit)> = Vec::new();
    for analysis in server.analyses_with(uri) {
        let is_error = |diagnostic: &&Diagnostic| {
            diagnostic.severity == Severity::Error && !reports::is_of_fragment(diagnostic, &analysis)
        };
        let errors = analysis.diagnostics.iter().filter(is_error);
        for fix in errors.filter_map(|diagnostic| diagnostic.suggestion.as_ref()) {
            let Some((file, _, span)) = analysis.locate(fix.span) else { continue };
            let Some((_, edit)) = edit(fix, &analysis, encoding).filter(|_| file == uri) else { continue };
            if fixes.iter().all(|(other, _)| other.end < span.start || span.end < other.start) {
                fixes.push((span, edit));
            }
        }
    }
    fixes.sort_by_key(|(span, _)| span.start);
    fixes.into_iter().map(|(_, edit)| edit).collect()
}
