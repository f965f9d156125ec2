//! The text of a policy, and places in it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::include::{self, Inclusions};
use crate::{AccessKind, CheckOptions, Diagnostic, ParseError, Policy, parse, print};

/// A range of byte offsets in a source; the end is excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

/// The text of a policy, and its name for messages.
///
/// The text of a policy that [includes](crate::IncludeLoader) others has theirs in it, and means the same alone. Its lines are then
/// not those of a file: [`locate`](Self::locate) and [`place`](Self::place) say where something is in which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
    /// The first sequence that was not UTF-8.
    not_utf8: Option<Span>,
    /// Offset of each line's first byte.
    lines: Vec<usize>,
    /// How many characters begin before each block.
    chars_before: Vec<usize>,
    /// Where its parts come from, if it includes others.
    inclusions: Option<Arc<Inclusions>>,
}

/// A place in a file, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place<'a> {
    /// The name of the file.
    pub name: &'a str,
    /// Its line, counted from 1.
    pub line: usize,
    /// Its column in characters, counted from 1.
    pub column: usize,
}

/// `name:line`
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.line)
    }
}

/// A checked policy together with the text that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    pub(crate) source: Source,
    pub(crate) policy: Policy,
    pub(crate) rule_spans: Vec<Span>,
    pub(crate) mode: Option<Span>,
    pub(crate) default_read: Option<Span>,
    pub(crate) default_write: Option<Span>,
    pub(crate) test_spans: Vec<TestSpans>,
    pub(crate) apply_if_spans: Vec<Span>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// The places of one `test` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TestSpans {
    /// From the word `test` to the name's end.
    pub(crate) header: Span,
    pub(crate) steps: Vec<Span>,
}

impl Span {
    /// From `start` up to `end`, excluded.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the start of this one to the end of `other`.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start, end: other.end.max(self.start) }
    }

    /// The same as a range of bytes.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// Its length in bytes.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether it covers nothing.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// The size of the blocks in which characters are counted, in bytes.
const BLOCK: usize = 4096;

/// How many characters begin in `bytes`, a part of a text.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

impl Source {
    /// `text`, called `name` in messages (usually its path).
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let line_starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(line_starts).collect();
        let blocks = text.as_bytes().chunks(BLOCK).scan(0, |before, block| {
            let chars_before = *before;
            *before += characters(block);
            Some(chars_before)
        });
        let chars_before = blocks.collect();
        Self { name: name.into(), text, not_utf8: None, lines, chars_before, inclusions: None }
    }

    /// The bytes of a file. What is not UTF-8 is replaced by `U+FFFD`, and is an error when the source is parsed.
    pub fn from_bytes(name: impl Into<String>, bytes: &[u8]) -> Self {
        let mut not_utf8 = None;
        if let Err(error) = str::from_utf8(bytes) {
            let start = error.valid_up_to();
            not_utf8 = Some(Span::new(start, start + char::REPLACEMENT_CHARACTER.len_utf8()));
        }
        Self { not_utf8, ..Self::new(name, String::from_utf8_lossy(bytes)) }
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text, as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text of `span`; empty where it lies outside.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }

    /// Line and column of a byte offset; both count from 1, the column in characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        (line, self.characters_before(offset) - self.characters_before(self.lines[line - 1]) + 1)
    }

    /// How many characters begin before `offset`. Looks at one block only.
    fn characters_before(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        let block = (offset / BLOCK).min(self.chars_before.len().saturating_sub(1));
        let before = self.chars_before.get(block).copied().unwrap_or_default();
        before + characters(&self.text.as_bytes()[block * BLOCK..offset])
    }

    /// Line of a byte offset, counted from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|&start| start <= offset).max(1)
    }

    /// The text of a line, counted from 1, without its end; empty if there is no such line.
    pub fn line_text(&self, line: usize) -> &str {
        let Some(&start) = line.checked_sub(1).and_then(|line| self.lines.get(line)) else { return "" };
        self.text[start..].lines().next().unwrap_or_default()
    }

    /// The file that has `span`, and the place there. It is this text itself if that includes no others.
    pub fn locate(&self, span: Span) -> (&Source, Span) {
        match &self.inclusions {
            Some(inclusions) => inclusions.locate(span),
            None => (self, span),
        }
    }

    /// The place of a byte offset in its file.
    pub fn place(&self, offset: usize) -> Place<'_> {
        let (source, span) = self.locate(Span::new(offset, offset));
        let (line, column) = source.line_column(span.start);
        Place { name: source.name(), line, column }
    }

    /// The place in the policy's own file for a byte offset: that of the statement that includes what is there, if one does.
    pub fn own_place(&self, offset: usize) -> Place<'_> {
        self.place(self.included_by(offset).last().map_or(offset, |statement| statement.start))
    }

    /// The same text with the places of what it includes, if it has the [text](Self::text) of a policy that included others: that of
    /// a program, whose files are not known.
    #[must_use]
    pub fn with_restored_includes(self) -> Self {
        match include::restore(&self.name, &self.text) {
            Some(inclusions) => self.with_inclusions(inclusions),
            None => self,
        }
    }

    /// The place of a line of this text, counted from 1, in its file.
    pub fn line_place(&self, line: usize) -> Place<'_> {
        let start = line.checked_sub(1).and_then(|line| self.lines.get(line));
        self.place(start.copied().unwrap_or(self.text.len()))
    }

    /// Whether the text has others in it, which it includes.
    pub fn includes_others(&self) -> bool {
        self.inclusions.is_some()
    }

    /// The places of the statements through which what is at `offset` is included, the innermost one first.
    pub(crate) fn included_by(&self, offset: usize) -> impl Iterator<Item = Span> {
        let by = |offset| self.inclusions.as_ref().and_then(|inclusions| inclusions.included_by(offset));
        std::iter::successors(by(offset), move |statement| by(statement.start))
    }

    /// Whether what is at `offset` belongs to a preset.
    pub(crate) fn is_preset(&self, offset: usize) -> bool {
        self.inclusions.as_ref().is_some_and(|inclusions| inclusions.is_preset(offset))
    }

    /// The same text, which consists of other ones.
    pub(crate) fn with_inclusions(self, inclusions: Inclusions) -> Self {
        Self { inclusions: Some(Arc::new(inclusions)), ..self }
    }

    /// The first sequence that was not UTF-8.
    pub(crate) fn not_utf8(&self) -> Option<Span> {
        self.not_utf8
    }
}

impl PolicyFile {
    /// `policy` with its [canonical text](print()), called `name` in messages, and with the warnings about it.
    ///
    /// # Errors
    /// A policy whose text is longer than [`FILE_MAX`](crate::limits::FILE_MAX).
    pub fn of(
        policy: Policy,
        name: impl Into<String>,
        options: &CheckOptions<'_>,
    ) -> Result<Self, ParseError> {
        let file = parse(Source::new(name, print(&policy)), options)?;
        debug_assert_eq!(file.policy, policy, "its text means the same");
        Ok(Self { policy, ..file })
    }

    /// The text.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The policy alone.
    pub fn into_policy(self) -> Policy {
        self.policy
    }

    /// The warnings, by position.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The text without its `apply if` statements: what is stored with the program, which they are no part of. Their lines
    /// are empty, so that the other lines keep their numbers.
    pub fn program_text(&self) -> Cow<'_, str> {
        let text = self.source.text();
        if self.apply_if_spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut program = String::with_capacity(text.len());
        let mut at = 0;
        for span in &self.apply_if_spans {
            let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
            let end = text[span.end..].find('\n').map_or(text.len(), |newline| span.end + newline);
            program.push_str(&text[at..start]);
            // What is left of a line may end in CR.
            for line in text[start..end].split_inclusive('\n') {
                program.push_str(&line[line.trim_end_matches(['\r', '\n']).len()..]);
            }
            at = end;
        }
        program.push_str(&text[at..]);
        Cow::Owned(program)
    }

    /// The place of the rule with this index.
    pub fn rule_span(&self, rule: usize) -> Option<Span> {
        self.rule_spans.get(rule).copied()
    }

    /// Where the rule with this index begins, in its file.
    pub fn rule_place(&self, rule: usize) -> Option<Place<'_>> {
        self.rule_span(rule).map(|span| self.source.place(span.start))
    }

    /// The text of the rule with this index, without its comment.
    pub fn rule_text(&self, rule: usize) -> Option<&str> {
        self.rule_span(rule).map(|span| self.source.slice(span))
    }

    /// The place of the `apply if` statement with this index.
    pub fn apply_if_span(&self, selector: usize) -> Option<Span> {
        self.apply_if_spans.get(selector).copied()
    }

    /// Where the `apply if` statement with this index begins, in its file.
    pub fn apply_if_place(&self, selector: usize) -> Option<Place<'_>> {
        self.apply_if_span(selector).map(|span| self.source.place(span.start))
    }

    /// The place of the default for accesses of `kind`, if it is stated.
    pub fn default_span(&self, kind: AccessKind) -> Option<Span> {
        match kind {
            AccessKind::Read => self.default_read,
            AccessKind::Write => self.default_write,
        }
    }

    /// Where the default for accesses of `kind` is stated, in its file.
    pub fn default_place(&self, kind: AccessKind) -> Option<Place<'_>> {
        self.default_span(kind).map(|span| self.source.place(span.start))
    }

    /// The place of the `mode` statement, if there is one.
    pub fn mode_span(&self) -> Option<Span> {
        self.mode
    }

    /// The place of the header of the `test` block with this index.
    pub fn test_span(&self, test: usize) -> Option<Span> {
        self.test_spans.get(test).map(|spans| spans.header)
    }

    /// The place of a step of a `test` block.
    pub fn step_span(&self, test: usize, step: usize) -> Option<Span> {
        self.test_spans.get(test).and_then(|spans| spans.steps.get(step)).copied()
    }

    /// Where a step of a `test` block is, in its file.
    pub fn step_place(&self, test: usize, step: usize) -> Option<Place<'_>> {
        self.step_span(test, step).map(|span| self.source.place(span.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one() {
        let source = Source::new("x", "ab\r\ncé d\n");
        for (offset, expected) in
            [(0, (1, 1)), (1, (1, 2)), (3, (1, 4)), (4, (2, 1)), (7, (2, 3)), (10, (3, 1))]
        {
            assert_eq!(source.line_column(offset), expected, "offset {offset}");
        }
        assert_eq!(source.line_text(1), "ab");
        assert_eq!(source.line_text(2), "cé d");
        assert_eq!(source.line_text(9), "");
    }

    #[test]
    fn columns_of_long_lines_count_characters() {
        let text = "ab\n".to_owned() + &"aé".repeat(2 * BLOCK) + "\nx";
        let source = Source::new("x", text.as_str());
        for (offset, _) in text.char_indices().step_by(101) {
            let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
            assert_eq!(
                source.line_column(offset).1,
                text[start..offset].chars().count() + 1,
                "offset {offset}"
            );
        }
        assert_eq!(source.line_column(text.len()), (3, 2));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        let source = Source::from_bytes("x", b"ab\xffc");
        assert_eq!(source.text(), "ab\u{fffd}c");
        assert_eq!(source.slice(source.not_utf8().unwrap()), "\u{fffd}");
    }
}
