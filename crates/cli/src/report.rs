//! Diagnostics as text: the message, the line, carets under the place, and help.

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Patch, Renderer, Snippet};
use knobgate_policy::{Diagnostic, JsonDiagnostic, Label, Severity, Source, Span};

use crate::printable::{printable, printable_lines};

/// Renders `diagnostic`, which is about `source`, with colours; [`Output`](crate::output::Output) drops them if there
/// are none.
pub(crate) fn render(diagnostic: &Diagnostic, source: &Source) -> String {
    render_with_notes(diagnostic, source, &[])
}

/// The same with `notes` below.
pub(crate) fn render_with_notes(diagnostic: &Diagnostic, source: &Source, notes: &[String]) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let primary = Located::of(&diagnostic.primary, source);
    let path = printable(primary.source.name());
    let secondary = diagnostic.secondary.iter().map(|label| Located::of(label, source));
    let (near, far): (Vec<_>, Vec<_>) = secondary.partition(|label| label.is_near(&primary));
    let places = std::iter::once(&primary).chain(&near).map(|label| label.span);
    let excerpt = Excerpt::around(primary.source, places);
    let far: Vec<_> =
        far.into_iter().map(|label| (Excerpt::around(label.source, [label.span]), label)).collect();
    let main = annotated(&excerpt, AnnotationKind::Primary, &primary);
    let near = near.iter().map(|near| annotated(&excerpt, AnnotationKind::Context, near));
    let title = level.primary_title(printable(&diagnostic.message)).id(diagnostic.code);
    let mut first = title.element(excerpt.snippet().path(&*path).annotation(main).annotations(near));
    for (excerpt, label) in &far {
        let path = printable(label.source.name());
        let label = annotated(excerpt, AnnotationKind::Context, label);
        first = first.element(excerpt.snippet().path(path).annotation(label));
    }
    for note in notes {
        first = first.element(Level::NOTE.message(printable(note)));
    }

    let Some(suggestion) = &diagnostic.suggestion else {
        if let Some(help) = &diagnostic.help {
            first = first.element(Level::HELP.message(printable(help)));
        }
        return excerpt.with_column(render_groups(&[first]), &primary);
    };
    let help = printable(diagnostic.help.as_deref().unwrap_or("write this instead"));
    let (fixed_source, fixed_span) = source.locate(suggestion.span);
    let fixed_path = printable(fixed_source.name());
    let fixed = Excerpt::around(fixed_source, [fixed_span]);
    let patch = Patch::new(fixed.place(fixed_span), printable_lines(&suggestion.replacement));
    let rendered = render_groups(&[
        first,
        Group::with_title(Level::HELP.secondary_title(help))
            .element(fixed.snippet().path(&*fixed_path).patch(patch)),
    ]);
    excerpt.with_column(rendered, &primary)
}

/// Renders an error in a JSON policy, without source lines.
pub(crate) fn render_json_error(error: &JsonDiagnostic, source: &Source) -> String {
    let path = printable(source.name());
    let title = Level::ERROR.primary_title(printable(&error.message));
    let mut group = title.element(Origin::path(&*path));
    if !error.path.is_empty() {
        group = group.element(Level::NOTE.message(format!("at `{}`", printable(&error.path))));
    }
    if let Some(help) = &error.help {
        group = group.element(Level::HELP.message(printable(help)));
    }
    render_groups(&[group])
}

fn render_groups(groups: &[Group<'_>]) -> String {
    Renderer::styled().decor_style(DecorStyle::Ascii).render(groups)
}

/// A place in its file, which is the text of the diagnostic or what that includes, with a remark.
struct Located<'a> {
    source: &'a Source,
    span: Span,
    text: &'a str,
}

impl<'a> Located<'a> {
    fn of(label: &'a Label, source: &'a Source) -> Self {
        let (source, span) = source.locate(label.span);
        Self { source, span, text: &label.text }
    }

    /// Whether it is rendered together with `main`.
    fn is_near(&self, main: &Self) -> bool {
        std::ptr::eq(self.source, main.source) && self.span.start.abs_diff(main.span.start) <= NEAR
    }
}

fn annotated<'a>(excerpt: &Excerpt<'_>, kind: AnnotationKind, place: &Located<'a>) -> Annotation<'a> {
    kind.span(excerpt.place(place.span)).label(label(place.text))
}

fn label(text: &str) -> Option<Cow<'_, str>> {
    (!text.is_empty()).then(|| printable(text))
}

/// How far other places may be from the main one to be rendered together with it, and how much of a place is shown, in
/// bytes. The renderer looks at everything in between, each time.
const NEAR: usize = 16 << 10;

/// How many bytes of a line the renderer gets before the first place and after the last one. The output is much
/// narrower, but a file can be one line of megabytes.
const AROUND: usize = 1024;

/// The part of a source that the renderer gets.
struct Excerpt<'a> {
    /// The source text.
    text: &'a str,
    /// The escaped text.
    shown: Cow<'a, str>,
    /// The offset of the first one in the source.
    start: usize,
    /// The number of the first one.
    line: usize,
}

impl<'a> Excerpt<'a> {
    /// The lines that `spans` touch, and all between them.
    fn around(source: &'a Source, spans: impl IntoIterator<Item = Span>) -> Self {
        let text = source.text();
        let (first, last) = spans.into_iter().fold((text.len(), 0), |(first, last), span| {
            (first.min(span.start), last.max(span.end.clamp(span.start, span.start + NEAR)))
        });
        let (first, last) = (floor(text, first), floor(text, last));
        let before = floor(text, first.saturating_sub(AROUND));
        let start = text[before..first].rfind('\n').map_or(before, |newline| before + newline + 1);
        let after = &text[last..floor(text, last + AROUND)];
        let end = last + after.find('\n').unwrap_or(after.len());
        let text = &text[start..end];
        // The rest of a line's end would be shown.
        let text = text.strip_suffix('\r').unwrap_or(text);
        Self { text, shown: printable_lines(text), start, line: source.line(start) }
    }

    fn snippet<T: Clone>(&self) -> Snippet<'_, T> {
        Snippet::source(&*self.shown).line_start(self.line)
    }

    /// `rendered` with the column of `main` in the source. The renderer counts from the start of the excerpt.
    fn with_column(&self, rendered: String, main: &Located<'_>) -> String {
        let (line, first) = main.source.line_column(self.start);
        if first == 1 {
            return rendered;
        }
        let (_, column) = main.source.line_column(main.span.start);
        let counted = self.shown[..self.place(main.span).start].chars().count() + 1;
        rendered.replacen(&format!(":{line}:{counted}"), &format!(":{line}:{column}"), 1)
    }

    /// The place of `span` in the escaped text.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of `text` the renderer is given for places at `spans`.
    fn given(text: &str, spans: &[(usize, usize)]) -> usize {
        let spans = spans.iter().map(|&(start, end)| Span::new(start, end));
        Excerpt::around(&Source::new("x", text), spans).text.len()
    }

    #[test]
    fn long_lines_and_long_places_are_cut() {
        let line = "x".repeat(1 << 20);
        let most = NEAR + 2 * AROUND;
        for (text, spans) in [
            (&line, vec![(600_000, 600_005)]),
            (&line, vec![(0, 1 << 20)]),
            (&line, vec![(500_000, 1 << 20), (500_001, 500_002)]),
            (&format!("a\n{line}\nb\n"), vec![(1_000_000, 1_000_001)]),
            (&"x\n".repeat(1 << 20), vec![(1000, 1_900_000)]),
        ] {
            assert!(given(text, &spans) <= most, "{spans:?}");
        }
        assert_eq!(given("ab\ncd\nef\n", &[(4, 5)]), 2);
    }

    #[test]
    fn a_distant_place_is_rendered_separately_with_the_columns_of_its_line() {
        let text = format!("deny a\n{}\n{}here there\n", "\n".repeat(100_000), "\u{e9}".repeat(5000));
        let main = text.find("here").unwrap_or_default();
        let diagnostic = Diagnostic::warning("test", Span::new(main, main + 4), "something")
            .label("this")
            .also(Span::new(5, 6), "that");
        let rendered = render(&diagnostic, &Source::new("x.knob", text));
        for part in ["x.knob:100003:5001", "x.knob:1:6", "this", "that"] {
            assert!(rendered.contains(part), "{part}: {rendered}");
        }
        assert!(rendered.len() < 4 * AROUND, "{}", rendered.len());
    }
}
