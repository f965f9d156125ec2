//! The texts that the client has open.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gen_lsp_types::{Position, TextDocumentContentChangeEvent, Uri};
use knobgate_policy::Source;

use crate::analysis::Analysis;
use crate::environment::Environment;
use crate::text_lines::{Encoding, TextLines};
use crate::uri;

/// A text that the client has open, which may differ from its file.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) uri: Uri,
    /// Where its file is; `None` for a text that is in none.
    pub(crate) path: Option<PathBuf>,
    /// The same without links, if the file exists.
    canonical: Option<PathBuf>,
    pub(crate) version: i32,
    source: Source,
    lines: TextLines,
    /// What is known about this version of it.
    pub(crate) analysis: Option<Rc<Analysis>>,
    /// Whether the client has not been told about the errors of this version.
    pub(crate) is_dirty: bool,
}

impl Document {
    pub(crate) fn new(uri: Uri, version: i32, text: String, environment: &dyn Environment) -> Self {
        let path = uri::path_of(&uri);
        let canonical = path.as_deref().and_then(|path| environment.canonical(path));
        let source = Source::new(name(&uri, path.as_deref()), text);
        let lines = TextLines::of(source.text());
        Self { uri, path, canonical, version, source, lines, analysis: None, is_dirty: true }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn text(&self) -> &str {
        self.source.text()
    }

    pub(crate) fn lines(&self) -> &TextLines {
        &self.lines
    }

    pub(crate) fn offset(&self, position: Position, encoding: Encoding) -> usize {
        self.lines.offset(self.text(), position, encoding)
    }

    /// Changes the text, one change after the other.
    pub(crate) fn change(
        &mut self,
        version: i32,
        changes: Vec<TextDocumentContentChangeEvent>,
        encoding: Encoding,
    ) {
        let mut text = self.source.text().to_owned();
        for change in changes {
            match change {
                TextDocumentContentChangeEvent::TextDocumentContentChangeWholeDocument(whole) => {
                    text = whole.text;
                }
                TextDocumentContentChangeEvent::TextDocumentContentChangePartial(part) => {
                    let span = self.lines.span(&text, part.range, encoding);
                    text.replace_range(span.range(), &part.text);
                }
            }
            self.lines = TextLines::of(&text);
        }
        self.source = Source::new(self.source.name(), text);
        self.version = version;
        self.invalidate();
    }

    /// Forgets what is known about the text.
    pub(crate) fn invalidate(&mut self) {
        self.analysis = None;
        self.is_dirty = true;
    }

    /// Whether it is the file at `path`.
    fn is_at(&self, path: &Path, canonical: Option<&Path>) -> bool {
        self.path.as_deref() == Some(path) || (canonical.is_some() && self.canonical.as_deref() == canonical)
    }
}

/// What the text at `uri` is called in messages.
fn name(uri: &Uri, path: Option<&Path>) -> String {
    path.map_or_else(|| uri.0.clone(), |path| path.display().to_string())
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Documents(BTreeMap<String, Document>);

impl Documents {
    pub(crate) fn insert(&mut self, document: Document) {
        self.0.insert(document.uri.0.clone(), document);
    }

    pub(crate) fn remove(&mut self, uri: &Uri) -> Option<Document> {
        self.0.remove(&uri.0)
    }

    pub(crate) fn get(&self, uri: &Uri) -> Option<&Document> {
        self.0.get(&uri.0)
    }

    pub(crate) fn get_mut(&mut self, uri: &Uri) -> Option<&mut Document> {
        self.0.get_mut(&uri.0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Document> {
        self.0.values()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Document> {
        self.0.values_mut()
    }

    /// The one that is the file at `path`, however that is named.
    pub(crate) fn at_path(&self, path: &Path, environment: &dyn Environment) -> Option<&Document> {
        let canonical = environment.canonical(path);
        self.iter().find(|document| document.is_at(path, canonical.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use gen_lsp_types::{Range, TextDocumentContentChangePartial, TextDocumentContentChangeWholeDocument};

    use super::*;
    use crate::tests::NoMachine;

    #[expect(deprecated, reason = "the type has a deprecated field")]
    fn part(start: (u32, u32), end: (u32, u32), text: &str) -> TextDocumentContentChangeEvent {
        let position = |(line, character)| Position { line, character };
        let range = Range { start: position(start), end: position(end) };
        let text = text.to_owned();
        TextDocumentContentChangePartial { range, range_length: None, text }.into()
    }

    #[test]
    fn changes_build_on_each_other() {
        let uri = Uri("file:///x.knob".to_owned());
        let mut document =
            Document::new(uri, 1, "policy \u{1f600}x\r\nmode audit\r\n".to_owned(), &NoMachine);
        let whole = TextDocumentContentChangeWholeDocument { text: "policy y\n".to_owned() };
        for (changes, text) in [
            (
                vec![part((0, 7), (0, 9), "web-"), part((0, 12), (0, 12), "1")],
                "policy web-x1\r\nmode audit\r\n",
            ),
            (vec![part((1, 5), (9, 9), "enforce")], "policy web-x1\r\nmode enforce"),
            // The end is before the start.
            (vec![part((1, 0), (0, 0), "# ")], "policy web-x1\r\n# mode enforce"),
            (vec![whole.into(), part((1, 0), (1, 0), "mode audit\n")], "policy y\nmode audit\n"),
            (Vec::new(), "policy y\nmode audit\n"),
        ] {
            document.change(2, changes, Encoding::Utf16);
            assert_eq!(document.text(), text);
            assert_eq!(*document.lines(), TextLines::of(text));
        }
    }
}
