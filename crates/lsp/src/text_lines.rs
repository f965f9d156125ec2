//! The lines of a text, and positions in them as the protocol has them.

use gen_lsp_types::{Position, PositionEncodingKind, Range};
use knobgate_policy::Span;

/// What the column of a position counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    /// What every client knows.
    Utf16,
}

impl Encoding {
    /// The best one of those that a client offers: bytes need no conversion.
    pub(crate) fn negotiate(offered: &[PositionEncodingKind]) -> Self {
        if offered.contains(&PositionEncodingKind::UTF8) { Self::Utf8 } else { Self::Utf16 }
    }

    pub(crate) fn kind(self) -> PositionEncodingKind {
        match self {
            Self::Utf8 => PositionEncodingKind::UTF8,
            Self::Utf16 => PositionEncodingKind::UTF16,
        }
    }

    fn length(self, text: &str) -> usize {
        match self {
            Self::Utf8 => text.len(),
            Self::Utf16 if text.is_ascii() => text.len(),
            Self::Utf16 => text.chars().map(char::len_utf16).sum(),
        }
    }
}

/// Where the lines of a text begin. They end in LF, CRLF, or, unlike those of the language, in CR alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextLines {
    starts: Vec<usize>,
}

impl TextLines {
    pub(crate) fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let ends = bytes.iter().enumerate().filter(|&(at, byte)| match byte {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        });
        Self { starts: std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect() }
    }

    /// The text of a line without its end; `None` after the last line.
    fn line<'a>(&self, text: &'a str, line: usize) -> Option<&'a str> {
        let start = *self.starts.get(line)?;
        let end = self.starts.get(line + 1).copied().unwrap_or(text.len());
        Some(text[start..end].trim_end_matches(['\r', '\n']))
    }

    /// The position of a byte offset of `text`, which these lines are of.
    pub(crate) fn position(&self, text: &str, offset: usize, encoding: Encoding) -> Position {
        let offset = text.floor_char_boundary(offset);
        let line = self.starts.partition_point(|&start| start <= offset) - 1;
        let before = &self.line(text, line).unwrap_or_default();
        let before = &before[..(offset - self.starts[line]).min(before.len())];
        Position { line: saturated(line), character: saturated(encoding.length(before)) }
    }

    /// The byte offset of a position. One after the end of its line means this end, as the protocol has it, and a line after the
    /// last one means the end of the text.
    pub(crate) fn offset(&self, text: &str, position: Position, encoding: Encoding) -> usize {
        let index = position.line as usize;
        let (Some(start), Some(line)) = (self.starts.get(index), self.line(text, index)) else {
            return text.len();
        };
        let column = position.character as usize;
        if encoding == Encoding::Utf8 || line.is_ascii() {
            return start + line.floor_char_boundary(column);
        }
        let mut left = column;
        for (at, c) in line.char_indices() {
            if left < c.len_utf16() {
                return start + at;
            }
            left -= c.len_utf16();
        }
        start + line.len()
    }

    pub(crate) fn range(&self, text: &str, span: Span, encoding: Encoding) -> Range {
        let start = self.position(text, span.start, encoding);
        Range { start, end: self.position(text, span.end.max(span.start), encoding) }
    }

    pub(crate) fn span(&self, text: &str, range: Range, encoding: Encoding) -> Span {
        let start = self.offset(text, range.start, encoding);
        Span::new(start, self.offset(text, range.end, encoding).max(start))
    }
}

/// More than the protocol can count is more than a policy may have.
fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENCODINGS: [Encoding; 2] = [Encoding::Utf8, Encoding::Utf16];

    fn at(line: u32, character: u32) -> Position {
        Position { line, character }
    }

    #[test]
    fn columns_count_what_was_negotiated() {
        let text = "a\u{e9}\u{20ac}\u{1f600}b\r\nc\rd\n";
        let lines = TextLines::of(text);
        for (offset, utf8, utf16) in [
            (0, at(0, 0), at(0, 0)),
            (1, at(0, 1), at(0, 1)),
            (3, at(0, 3), at(0, 2)),
            (6, at(0, 6), at(0, 3)),
            (10, at(0, 10), at(0, 5)),
            (11, at(0, 11), at(0, 6)),
            (13, at(1, 0), at(1, 0)),
            (15, at(2, 0), at(2, 0)),
            (16, at(2, 1), at(2, 1)),
            (17, at(3, 0), at(3, 0)),
        ] {
            assert_eq!(lines.position(text, offset, Encoding::Utf8), utf8, "offset {offset}");
            assert_eq!(lines.position(text, offset, Encoding::Utf16), utf16, "offset {offset}");
            assert_eq!(lines.offset(text, utf8, Encoding::Utf8), offset);
            assert_eq!(lines.offset(text, utf16, Encoding::Utf16), offset);
        }
        // Between the two bytes of CRLF is the end of the line.
        assert_eq!(lines.position(text, 12, Encoding::Utf8), at(0, 11));
    }

    #[test]
    fn impossible_positions_are_moved_to_possible_ones() {
        let text = "\u{1f600}b\r\nc";
        let lines = TextLines::of(text);
        for (position, encoding, offset) in [
            (at(0, 1), Encoding::Utf16, 0),
            (at(0, 2), Encoding::Utf8, 0),
            (at(0, 99), Encoding::Utf16, 5),
            (at(0, 99), Encoding::Utf8, 5),
            (at(1, 99), Encoding::Utf16, 8),
            (at(9, 0), Encoding::Utf16, 8),
            (at(u32::MAX, u32::MAX), Encoding::Utf8, 8),
        ] {
            assert_eq!(lines.offset(text, position, encoding), offset, "{position:?} {encoding:?}");
        }
    }

    #[test]
    fn bytes_are_preferred() {
        let kinds = [PositionEncodingKind::UTF16, PositionEncodingKind::UTF8];
        assert_eq!(Encoding::negotiate(&kinds), Encoding::Utf8);
        assert_eq!(Encoding::negotiate(&kinds[..1]), Encoding::Utf16);
        assert_eq!(Encoding::negotiate(&[]), Encoding::Utf16);
    }

    proptest! {
        #[test]
        fn every_offset_of_a_character_has_its_own_position(text in "[a\u{e9}\u{20ac}\u{1f600}\r\n\t]{0,40}") {
            let lines = TextLines::of(&text);
            for encoding in ENCODINGS {
                let mut before = None;
                for (offset, _) in text.char_indices().chain([(text.len(), ' ')]) {
                    let position = lines.position(&text, offset, encoding);
                    let in_line_end = text[..offset].ends_with('\r') && text[offset..].starts_with('\n');
                    if !in_line_end {
                        prop_assert_eq!(lines.offset(&text, position, encoding), offset);
                        prop_assert!(before < Some(position));
                        before = Some(position);
                    }
                }
            }
        }

        #[test]
        fn every_position_has_an_offset(text in "[a\u{1f600}\r\n]{0,20}", line in 0..9u32, character in 0..20u32) {
            let lines = TextLines::of(&text);
            for encoding in ENCODINGS {
                let offset = lines.offset(&text, at(line, character), encoding);
                prop_assert!(text.is_char_boundary(offset));
                let back = lines.position(&text, offset, encoding);
                prop_assert!(back <= at(line, character));
            }
        }
    }
}
