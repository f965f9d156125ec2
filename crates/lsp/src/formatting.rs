//! The layout of a text, as edits of the lines that change: editors keep the cursor and the folds of the other ones.

use std::time::Duration;

use gen_lsp_types::TextEdit;
use knobgate_policy::{Span, format};
use similar::{DiffOp, TextDiff};

use crate::documents::Document;
use crate::text_lines::Encoding;

/// After this time, the difference need not be the smallest one.
const DIFF_TIME_MAX: Duration = Duration::from_millis(500);

/// The edits that lay the text out. `None` if it has errors in its syntax, which have been reported: an error here would be shown
/// whenever an editor formats such a file before it saves it.
pub(crate) fn edits(document: &Document, encoding: Encoding) -> Option<Vec<TextEdit>> {
    let text = document.text();
    let formatted = format(document.source()).ok()?;
    let diff = TextDiff::configure().timeout(DIFF_TIME_MAX).diff_lines(text, &formatted);
    let (old, new) = (offsets(diff.iter_old_slices()), offsets(diff.iter_new_slices()));
    let edit = |op: &DiffOp| {
        let (before, after) = (op.old_range(), op.new_range());
        let span = Span::new(old[before.start], old[before.end]);
        let range = document.lines().range(text, span, encoding);
        TextEdit { range, new_text: formatted[new[after.start]..new[after.end]].to_owned() }
    };
    Some(diff.ops().iter().filter(|op| !matches!(op, DiffOp::Equal { .. })).map(edit).collect())
}

/// Where each of these parts of a text begins, and the end of the last one.
fn offsets<'a>(parts: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let ends = parts.scan(0, |end, part| {
        *end += part.len();
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}
