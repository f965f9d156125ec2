//! What is known about one version of a text.

use std::cell::RefCell;
use std::collections::HashMap;

use gen_lsp_types::{Location, Uri};
use knobgate_policy::editor::{self, Outline, OutlineKind};
use knobgate_policy::{CheckOptions, Diagnostic, KnobName, PolicyFile, Source, Span, parse};

use crate::documents::{Document, Documents};
use crate::environment::Environment;
use crate::open_files::OpenFiles;
use crate::text_lines::{Encoding, TextLines};

/// What is known about one version of a text, and about what it includes.
#[derive(Debug)]
pub(crate) struct Analysis {
    /// The text with what it includes. The places of diagnostics are in it.
    source: Source,
    /// The policy, if it has no errors.
    pub(crate) file: Option<PolicyFile>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Its own statements.
    pub(crate) outline: Outline,
    uri: Uri,
    /// The files that it includes, by their names in messages.
    included: HashMap<String, Uri>,
    /// The lines of these, as far as they were asked for.
    lines: RefCell<HashMap<String, TextLines>>,
}

impl Analysis {
    pub(crate) fn of(
        document: &Document,
        documents: &Documents,
        environment: &dyn Environment,
        knobs: &[KnobName],
    ) -> Self {
        let mut options = CheckOptions::default().knobs(knobs);
        let files = document.path.as_deref().map(|path| OpenFiles::new(path, documents, environment));
        if let Some(files) = &files {
            options = options.includes(files);
        }
        let (source, mut file, mut diagnostics) = match parse(document.source().clone(), &options) {
            Ok(file) => {
                let (source, warnings) = (file.source().clone(), file.warnings().to_vec());
                (source, Some(file), warnings)
            }
            Err(error) => (error.text().clone(), None, error.into_iter().collect()),
        };
        if let Some(error) = file.as_ref().and_then(|file| environment.check(file)) {
            diagnostics.push(error);
            file = None;
        }
        Self {
            source,
            file,
            diagnostics,
            outline: editor::outline(document.source()),
            uri: document.uri.clone(),
            included: files.map(OpenFiles::into_loaded).unwrap_or_default(),
            lines: RefCell::default(),
        }
    }

    /// Whether it is for policies to include.
    pub(crate) fn is_for_inclusion(&self) -> bool {
        self.outline.is_for_inclusion
    }

    /// Whether it includes any file, or states that it does.
    pub(crate) fn includes_files(&self) -> bool {
        self.outline.items.iter().any(|item| item.kind == OutlineKind::IncludedFile)
    }

    /// Whether it includes the file with this URI.
    pub(crate) fn includes(&self, uri: &Uri) -> bool {
        self.included.values().any(|included| included == uri)
    }

    /// The text that has `span`, with its URI, and the place there; `None` in a preset, which is in no file.
    pub(crate) fn locate(&self, span: Span) -> Option<(&Uri, &Source, Span)> {
        let (source, place) = self.source.locate(span);
        if let Some(uri) = self.included.get(source.name()) {
            return Some((uri, source, place));
        }
        let is_own = !self.source.includes_others() || source.name() == self.source.name();
        is_own.then_some((&self.uri, source, place))
    }

    /// The location of `span`; of what is in a preset, that of the statement that includes it.
    pub(crate) fn location(&self, span: Span, encoding: Encoding) -> Location {
        if let Some((uri, source, place)) = self.locate(span) {
            return Location { uri: uri.clone(), range: self.range(source, place, encoding) };
        }
        let statement = self.source.own_place(span.start);
        let (own, _) = self.source.locate(Span::new(0, 0));
        let start = line_start(own.text(), statement.line);
        let place = Span::new(start, start + own.line_text(statement.line).len());
        Location { uri: self.uri.clone(), range: self.range(own, place, encoding) }
    }

    fn range(&self, source: &Source, span: Span, encoding: Encoding) -> gen_lsp_types::Range {
        let mut all = self.lines.borrow_mut();
        if !all.contains_key(source.name()) {
            all.insert(source.name().to_owned(), TextLines::of(source.text()));
        }
        all[source.name()].range(source.text(), span, encoding)
    }
}

/// Where a line begins, counted from 1.
fn line_start(text: &str, line: usize) -> usize {
    text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum()
}
