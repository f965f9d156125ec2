//! From text to pieces.

use super::{Notation, NotationError, NotationErrorKind, is_reserved, merged, push, size};
use crate::model::ends_text;
use crate::{Span, limits};
use knobgate_glob::Piece;

/// The pieces of `text`. Adjacent literals are merged, as are adjacent stars, and no literal is empty.
pub(crate) fn parse(text: &[u8], notation: Notation) -> Result<Vec<Piece>, NotationError> {
    let mut reader = NotationReader { text, at: 0, notation, separator: None, after_separator: false };
    if notation.is_dotted() {
        reader.check_start()?;
    }
    let pieces = reader.sequence(0)?;
    if reader.after_separator {
        return Err(reader.error(NotationErrorKind::TrailingSeparator, text.len() - 1));
    }
    let misplaced = match notation {
        Notation::Name | Notation::Pattern => misplaced_separator(&pieces),
        Notation::Path => misplaced_in_path(&pieces),
        Notation::Text => None,
    };
    if let Some(kind) = misplaced {
        return Err(NotationError { kind, span: Span::new(0, text.len()) });
    }
    if !notation.is_dotted() && has_line_end(&pieces) {
        return Err(NotationError { kind: NotationErrorKind::NotOneLine, span: Span::new(0, text.len()) });
    }
    if notation != Notation::Name && size(&pieces) > limits::PATTERN_MAX {
        return Err(NotationError { kind: NotationErrorKind::TooLong, span: Span::new(0, text.len()) });
    }
    Ok(pieces)
}

/// Whether a value would need a newline or a NUL in its text to match.
fn has_line_end(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| match piece {
        Piece::Literal(bytes) => bytes.iter().copied().any(ends_text),
        Piece::Alternatives(branches) => branches.iter().any(|branch| has_line_end(branch)),
        _ => false,
    })
}

/// The error in separators next to braces.
fn misplaced_separator(pieces: &[Piece]) -> Option<NotationErrorKind> {
    let literal = |piece: Option<&Piece>, is: fn(&[u8]) -> bool| matches!(piece, Some(Piece::Literal(bytes)) if is(bytes));
    if literal(pieces.first(), |bytes| bytes.starts_with(b"/")) {
        Some(NotationErrorKind::LeadingSeparator)
    } else if literal(pieces.last(), |bytes| bytes.ends_with(b"/")) {
        Some(NotationErrorKind::TrailingSeparator)
    } else if pieces
        .iter()
        .any(|piece| literal(Some(piece), |bytes| bytes.windows(2).any(|pair| pair == b"//")))
    {
        Some(NotationErrorKind::EmptyComponent)
    } else {
        None
    }
}

/// The error in the separators of an absolute path.
fn misplaced_in_path(pieces: &[Piece]) -> Option<NotationErrorKind> {
    let is_absolute = matches!(pieces.first(), Some(Piece::Literal(bytes)) if bytes.starts_with(b"/"));
    match misplaced_separator(pieces) {
        _ if !is_absolute => Some(NotationErrorKind::Relative),
        Some(NotationErrorKind::LeadingSeparator) => {
            // The other mistakes come after the first component.
            let Some((Piece::Literal(first), rest)) = pieces.split_first() else { return None };
            let mut below = Vec::new();
            push(&mut below, Piece::Literal(first[1..].to_vec()));
            rest.iter().for_each(|piece| push(&mut below, piece.clone()));
            misplaced_separator(&below).map(|kind| match kind {
                NotationErrorKind::LeadingSeparator => NotationErrorKind::EmptyComponent,
                kind => kind,
            })
        }
        other => other,
    }
}

struct NotationReader<'a> {
    text: &'a [u8],
    at: usize,
    notation: Notation,
    /// The first separator.
    separator: Option<u8>,
    /// Whether the last character was a separator.
    after_separator: bool,
}

impl NotationReader<'_> {
    fn check_start(&self) -> Result<(), NotationError> {
        let text = self.text;
        if text.is_empty() {
            return Err(NotationError { kind: NotationErrorKind::Empty, span: Span::default() });
        }
        // There is no directory of this name below `/proc/sys`.
        let path = text.strip_prefix(b"/").unwrap_or(text);
        if [&b"proc/sys"[..], b"proc.sys"].iter().any(|prefix| path.starts_with(prefix))
            && matches!(path.get(8), None | Some(b'.' | b'/'))
        {
            let end = (text.len() - path.len() + 9).min(text.len());
            return Err(NotationError { kind: NotationErrorKind::Prefix, span: Span::new(0, end) });
        }
        if matches!(text[0], b'.' | b'/') {
            return Err(self.error(NotationErrorKind::LeadingSeparator, 0));
        }
        Ok(())
    }

    /// Pieces up to the end of the text, or inside braces up to the next `,` or `}`.
    fn sequence(&mut self, nesting: usize) -> Result<Vec<Piece>, NotationError> {
        let mut pieces = Vec::new();
        while let Some(&byte) = self.text.get(self.at) {
            let start = self.at;
            if nesting > 0 && matches!(byte, b',' | b'}') {
                break;
            }
            if self.notation == Notation::Name && matches!(byte, b'*' | b'?' | b'[' | b'{') {
                return Err(self.error(NotationErrorKind::GlobInName, start));
            }
            let was_after_separator = std::mem::take(&mut self.after_separator);
            self.at += 1;
            let piece = match byte {
                b'*' if matches!(self.notation, Notation::Pattern | Notation::Path)
                    && self.text.get(self.at) == Some(&b'*') =>
                {
                    self.at += 1;
                    Piece::DoubleStar
                }
                b'*' => Piece::Star,
                b'?' => Piece::Any,
                b'[' => self.class(start)?,
                b'{' => self.alternatives(start, nesting + 1)?,
                b']' => return Err(self.error(NotationErrorKind::StrayBracket, start)),
                b'}' => return Err(self.error(NotationErrorKind::StrayBrace, start)),
                b'\\' => Piece::Literal(vec![self.escaped(start)?]),
                b'.' | b'/' if self.notation.is_dotted() => {
                    if *self.separator.get_or_insert(byte) == byte {
                        if was_after_separator {
                            let span = Span::new(start - 1, start + 1);
                            return Err(NotationError { kind: NotationErrorKind::EmptyComponent, span });
                        }
                        self.after_separator = true;
                        Piece::Literal(vec![b'/'])
                    } else {
                        Piece::Literal(vec![b'.'])
                    }
                }
                byte if self.notation.is_dotted() && is_reserved(byte) => {
                    return Err(self.error(NotationErrorKind::Reserved, start));
                }
                byte => Piece::Literal(vec![byte]),
            };
            push(&mut pieces, piece);
        }
        Ok(pieces)
    }

    /// `{a,b}`, with its `{` at `start`.
    fn alternatives(&mut self, start: usize, nesting: usize) -> Result<Piece, NotationError> {
        if nesting > limits::NESTING_MAX {
            return Err(self.error(NotationErrorKind::TooDeep, start));
        }
        let mut branches = Vec::new();
        loop {
            branches.push(self.sequence(nesting)?);
            self.after_separator = false;
            self.at += 1;
            match self.text.get(self.at - 1) {
                Some(b',') => {}
                Some(_) if branches == [vec![]] => {
                    let span = Span::new(start, self.at);
                    return Err(NotationError { kind: NotationErrorKind::EmptyAlternatives, span });
                }
                Some(_) => return Ok(Piece::Alternatives(branches)),
                None => return Err(self.error(NotationErrorKind::UnclosedAlternatives, start)),
            }
        }
    }

    /// `[a-z]`, with its `[` at `start`.
    fn class(&mut self, start: usize) -> Result<Piece, NotationError> {
        let negated = self.text.get(self.at) == Some(&b'!');
        self.at += usize::from(negated);
        if !negated && self.text.get(self.at) == Some(&b'^') {
            return Err(self.error(NotationErrorKind::Caret, self.at));
        }
        let mut ranges = Vec::new();
        loop {
            let item = self.at;
            match self.text.get(self.at) {
                None => return Err(self.error(NotationErrorKind::UnclosedClass, start)),
                Some(b']') => break,
                Some(_) => {}
            }
            let low = self.class_byte(start)?;
            let mut high = low;
            if self.text.get(self.at) == Some(&b'-')
                && self.text.get(self.at + 1).is_some_and(|&next| next != b']')
            {
                self.at += 1;
                high = self.class_byte(start)?;
            }
            if high < low {
                let span = Span::new(item, self.at);
                return Err(NotationError { kind: NotationErrorKind::ReversedRange, span });
            }
            ranges.push((low, high));
        }
        self.at += 1;
        if ranges.is_empty() {
            let span = Span::new(start, self.at);
            return Err(NotationError { kind: NotationErrorKind::EmptyClass, span });
        }
        Ok(Piece::Class { negated, ranges: merged(ranges) })
    }

    fn class_byte(&mut self, class: usize) -> Result<u8, NotationError> {
        let at = self.at;
        let Some(&byte) = self.text.get(at) else {
            return Err(self.error(NotationErrorKind::UnclosedClass, class));
        };
        self.at += 1;
        match byte {
            b'\\' => self.escaped(at),
            b'/' if self.notation == Notation::Path => {
                Err(self.error(NotationErrorKind::SeparatorInClass, at))
            }
            b'.' | b'/' if self.notation.is_dotted() => {
                Err(self.error(NotationErrorKind::SeparatorInClass, at))
            }
            0x80.. => Err(self.error(NotationErrorKind::WideCharacter, at)),
            byte if self.notation.is_dotted() && is_reserved(byte) => {
                Err(self.error(NotationErrorKind::Reserved, at))
            }
            byte => Ok(byte),
        }
    }

    /// The byte that is escaped by the `\` at `start`.
    fn escaped(&mut self, start: usize) -> Result<u8, NotationError> {
        let names = self.notation.is_dotted();
        let Some(&byte) = self.text.get(self.at) else {
            return Err(self.error(NotationErrorKind::EndsInEscape, start));
        };
        self.at += 1;
        let escaped = match byte {
            b'x' => {
                let digit = |at: usize| self.text.get(at).and_then(|&digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(self.at), digit(self.at + 1)) else {
                    return Err(self.error(NotationErrorKind::UnknownEscape, start));
                };
                self.at += 2;
                let byte = (high * 16 + low) as u8;
                if names && matches!(byte, b'/' | 0) {
                    let span = Span::new(start, self.at);
                    return Err(NotationError { kind: NotationErrorKind::ImpossibleByte, span });
                }
                byte
            }
            b'/' if names => b'.',
            byte if byte.is_ascii_alphanumeric() || byte.is_ascii_control() => {
                return Err(self.error(NotationErrorKind::UnknownEscape, start));
            }
            byte => byte,
        };
        Ok(escaped)
    }

    /// An error about the character at `at`, and about the next one if it is a `\`.
    fn error(&self, kind: NotationErrorKind, at: usize) -> NotationError {
        let escape = self.text.get(at) == Some(&b'\\');
        let mut end = (at + 1 + usize::from(escape)).min(self.text.len());
        while self.text.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end += 1;
        }
        NotationError { kind, span: Span::new(at, end) }
    }
}
