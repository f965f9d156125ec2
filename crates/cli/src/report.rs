//! Diagnostics as people read them: the message, the line, carets under the place, what to do about it.

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Patch, Renderer, Snippet};
use knobgate_policy::{Diagnostic, JsonError, Severity, Source, Span};

use crate::printable::{printable, printable_lines};

/// Draws `diagnostic`, which is about `source`, with colours; [`Output`](crate::output::Output) drops them where they
/// do not belong.
pub(crate) fn render(diagnostic: &Diagnostic, source: &Source) -> String {
    render_with_notes(diagnostic, source, &[])
}

/// The same with `notes` below.
pub(crate) fn render_with_notes(diagnostic: &Diagnostic, source: &Source, notes: &[String]) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let path = printable(source.name());
    let (primary, secondary) = (&diagnostic.primary, &diagnostic.secondary);
    let excerpt = Excerpt::around(source, std::iter::once(primary).chain(secondary).map(|label| label.span));
    let primary = AnnotationKind::Primary.span(excerpt.place(primary.span)).label(label(&primary.text));
    let secondary = secondary.iter().map(|secondary| {
        AnnotationKind::Context.span(excerpt.place(secondary.span)).label(label(&secondary.text))
    });
    let snippet = excerpt.snippet().path(&*path).annotation(primary).annotations(secondary);
    let title = level.primary_title(printable(&diagnostic.message)).id(diagnostic.code);
    let mut first = title.element(snippet);
    for note in notes {
        first = first.element(Level::NOTE.message(printable(note)));
    }

    let Some(suggestion) = &diagnostic.suggestion else {
        if let Some(help) = &diagnostic.help {
            first = first.element(Level::HELP.message(printable(help)));
        }
        return draw(&[first]);
    };
    let help = printable(diagnostic.help.as_deref().unwrap_or("write this instead"));
    let mended = Excerpt::around(source, std::iter::once(suggestion.span));
    let patch = Patch::new(mended.place(suggestion.span), printable_lines(&suggestion.replacement));
    draw(&[
        first,
        Group::with_title(Level::HELP.secondary_title(help))
            .element(mended.snippet().path(&*path).patch(patch)),
    ])
}

/// Draws what is wrong with a policy in JSON, which has no lines that would mean something.
pub(crate) fn render_json_error(error: &JsonError, source: &Source) -> String {
    let path = printable(source.name());
    let title = Level::ERROR.primary_title(printable(&error.message));
    let mut group = title.element(Origin::path(&*path));
    if !error.path.is_empty() {
        group = group.element(Level::NOTE.message(format!("at `{}`", printable(&error.path))));
    }
    if let Some(help) = &error.help {
        group = group.element(Level::HELP.message(printable(help)));
    }
    draw(&[group])
}

fn draw(groups: &[Group<'_>]) -> String {
    Renderer::styled().decor_style(DecorStyle::Ascii).render(groups)
}

fn label(text: &str) -> Option<Cow<'_, str>> {
    (!text.is_empty()).then(|| printable(text))
}

/// How many bytes of a line are shown behind the last place in it that matters. What is drawn is narrower by far,
/// but a file can be one line of megabytes.
const BEHIND: usize = 1024;

/// The lines of a source that a drawing needs. The renderer looks at all the lines that it is given, each time.
struct Excerpt<'a> {
    /// As they stand in the source.
    text: &'a str,
    /// As they are shown.
    shown: Cow<'a, str>,
    /// The offset of the first one in the source.
    start: usize,
    /// The number of the first one.
    line: usize,
}

impl<'a> Excerpt<'a> {
    /// The lines that `spans` touch, and all between them.
    fn around(source: &'a Source, spans: impl Iterator<Item = Span>) -> Self {
        let text = source.text();
        let (first, last) = spans.fold((text.len(), 0), |(first, last), span| {
            (first.min(span.start), last.max(span.end.max(span.start)))
        });
        let (first, last) = (floor(text, first), floor(text, last));
        let start = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
        let behind = &text[last..floor(text, last + BEHIND)];
        let end = last + behind.find('\n').unwrap_or(behind.len());
        let text = &text[start..end];
        // What is left of a line's end would be shown.
        let text = text.strip_suffix('\r').unwrap_or(text);
        Self { text, shown: printable_lines(text), start, line: source.line(start) }
    }

    fn snippet<T: Clone>(&self) -> Snippet<'_, T> {
        Snippet::source(&*self.shown).line_start(self.line)
    }

    /// Where `span` is in what is shown.
    fn place(&self, span: Span) -> Range<usize> {
        let place = |offset: usize| {
            let offset = floor(self.text, offset.saturating_sub(self.start));
            match self.shown {
                Cow::Borrowed(_) => offset,
                Cow::Owned(_) => printable_lines(&self.text[..offset]).len().min(self.shown.len()),
            }
        };
        let start = place(span.start);
        start..place(span.end).max(start)
    }
}

/// The start of the character at `offset`, or the end of `text`.
fn floor(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset)
}
