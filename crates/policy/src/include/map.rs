//! Which file each part of a text with included files comes from.

use std::sync::Arc;

use crate::{Source, Span};

/// The files of which a text consists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inclusions {
    /// The policy's own comes first.
    files: Vec<File>,
    /// By position. What is in none of them belongs to the end of the one before.
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    source: Arc<Source>,
    /// The place of the statement that includes it, in the text.
    included_by: Option<Span>,
    is_preset: bool,
}

/// A part of the text that is copied from a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// Where it begins in the text.
    start: usize,
    file: usize,
    /// What is copied. The place of a statement that stands for itself is empty.
    from: Span,
}

impl Inclusions {
    /// A text of which nothing is known yet but that it begins with `policy`.
    pub(super) fn new(policy: Arc<Source>) -> Self {
        let policy = File { source: policy, included_by: None, is_preset: false };
        Self { files: vec![policy], pieces: Vec::new() }
    }

    /// Adds a file that `statement` includes, and returns its index.
    pub(super) fn add_file(&mut self, source: Arc<Source>, statement: Span, is_preset: bool) -> usize {
        self.files.push(File { source, included_by: Some(statement), is_preset });
        self.files.len() - 1
    }

    /// Notes that the text from `start` on is `from` in a file.
    pub(super) fn add_piece(&mut self, start: usize, file: usize, from: Span) {
        if let Some(last) = self.pieces.last_mut()
            && last.file == file
            && last.start + last.from.len() == start
            && last.from.end == from.start
        {
            last.from.end = from.end;
            return;
        }
        self.pieces.push(Piece { start, file, from });
    }

    /// The file that has `span`, and the place there.
    pub(crate) fn locate(&self, span: Span) -> (&Source, Span) {
        let Some(piece) = self.piece(span.start) else { return (&self.files[0].source, Span::default()) };
        let place = |offset: usize| (piece.from.start + (offset - piece.start)).min(piece.from.end);
        let start = place(span.start);
        (&self.files[piece.file].source, Span::new(start, place(span.end.max(span.start))))
    }

    /// The place of the statement that includes the file with what is at `offset`.
    pub(crate) fn included_by(&self, offset: usize) -> Option<Span> {
        self.file(offset)?.included_by
    }

    /// Whether what is at `offset` belongs to a preset.
    pub(crate) fn is_preset(&self, offset: usize) -> bool {
        self.file(offset).is_some_and(|file| file.is_preset)
    }

    fn file(&self, offset: usize) -> Option<&File> {
        self.piece(offset).map(|piece| &self.files[piece.file])
    }

    fn piece(&self, offset: usize) -> Option<Piece> {
        let after = self.pieces.partition_point(|piece| piece.start <= offset);
        after.checked_sub(1).map(|index| self.pieces[index])
    }
}
