//! Diagnostics as people read them: the message, the line, carets under the place, what to do about it.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};
use knobgate_policy::{Diagnostic, Severity, Source, Span};

use crate::printable::printable;

/// Draws `diagnostic`, which is about `source`, with colours; [`Output`](crate::output::Output) drops them where they
/// do not belong.
pub(crate) fn render(diagnostic: &Diagnostic, source: &Source) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let text = source.text();
    let path = printable(source.name());
    let primary = AnnotationKind::Primary.span(inside(text, diagnostic.primary.span));
    let secondary = diagnostic
        .secondary
        .iter()
        .map(|label| AnnotationKind::Context.span(inside(text, label.span)).label(label.text.as_str()));
    let snippet = Snippet::source(text)
        .path(&*path)
        .annotation(primary.label(Some(diagnostic.primary.text.as_str()).filter(|label| !label.is_empty())))
        .annotations(secondary);
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code);
    let mut groups = vec![title.element(snippet)];
    match (&diagnostic.help, &diagnostic.suggestion) {
        (help, Some(suggestion)) => {
            let help = printable(help.as_deref().unwrap_or("write this instead"));
            let patch = Patch::new(inside(text, suggestion.span), suggestion.replacement.as_str());
            let snippet = Snippet::source(text).path(&*path).patch(patch);
            groups.push(Group::with_title(Level::HELP.secondary_title(help)).element(snippet));
        }
        (Some(help), None) => {
            let group = groups.remove(0).element(Level::HELP.message(printable(help)));
            groups.push(group);
        }
        (None, None) => {}
    }
    Renderer::styled().decor_style(DecorStyle::Ascii).render(&groups)
}

/// `span` where it lies inside `text`, on the boundaries of characters; else the text's end.
fn inside(text: &str, span: Span) -> std::ops::Range<usize> {
    if text.get(span.range()).is_some() { span.range() } else { text.len()..text.len() }
}
