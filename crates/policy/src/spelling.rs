//! How names and globs are written: from their spelling to pieces and back.
//!
//! Names have two spellings, `net.ipv4.tcp_mem` and `net/ipv4/tcp_mem`. The first separator met says which one is
//! used; the other character is then an ordinary `.` of the name, so that `net.ipv4.conf.eno2/100.rp_filter` is the
//! knob `net/ipv4/conf/eno2.100/rp_filter`. `\` takes the meaning from the character behind it; an escaped separator is
//! an ordinary `.`, and says nothing about the spelling. `\xHH` is one byte.

use std::fmt::{self, Write};

use crate::glob::Piece;
use crate::{Span, limits};

/// What is being spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelled {
    /// The name of one knob.
    Name,
    /// A pattern for names.
    Pattern,
    /// A glob for texts.
    Text,
}

/// A spelling that is no name, pattern or glob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct SpellingError {
    /// What is wrong.
    pub kind: SpellingErrorKind,
    /// Where, in bytes of the spelling.
    pub span: Span,
}

/// What is wrong with a spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpellingErrorKind {
    /// Nothing is there.
    #[error("the name is empty")]
    Empty,
    /// `/proc/sys/…`
    #[error("names begin below `/proc/sys`")]
    Prefix,
    /// `.kernel` or `/kernel`
    #[error("the name begins with a separator")]
    LeadingSeparator,
    /// `kernel.`
    #[error("the name ends with a separator")]
    TrailingSeparator,
    /// `net..core`
    #[error("two separators have nothing between them")]
    EmptyComponent,
    /// `*` and its like where one knob is named.
    #[error("this is a pattern where the name of one knob is needed")]
    GlobInName,
    /// `[a-z` without its end.
    #[error("this `[` is never closed")]
    UnclosedClass,
    /// `{a,b` without its end.
    #[error("this `{{` is never closed")]
    UnclosedAlternatives,
    /// `]` without a beginning.
    #[error("this `]` closes nothing")]
    StrayBracket,
    /// `}` without a beginning.
    #[error("this `}}` closes nothing")]
    StrayBrace,
    /// `[]`
    #[error("this class is empty")]
    EmptyClass,
    /// `{}`
    #[error("there are no alternatives between these braces")]
    EmptyAlternatives,
    /// `[z-a]`
    #[error("this range of characters is reversed")]
    ReversedRange,
    /// `[^a]`
    #[error("a class is negated with `!`")]
    Caret,
    /// `[./]`
    #[error("a class stays inside one component, so that it holds no separator")]
    SeparatorInClass,
    /// `[é]`
    #[error("a class holds single bytes, and this character has more than one")]
    WideCharacter,
    /// `\` at the end.
    #[error("there is nothing behind this `\\`")]
    EndsInEscape,
    /// `\n`
    #[error("there is no such escape")]
    UnknownEscape,
    /// `\x2f`, `\x00`
    #[error("no component of a name holds this byte")]
    ImpossibleByte,
    /// A blank, a quote, `#` and so on inside a name.
    #[error("this character has to be escaped in a name")]
    Reserved,
    /// More than [`NESTING_MAX`](limits::NESTING_MAX) braces inside each other.
    #[error("alternatives are nested more than {} deep", limits::NESTING_MAX)]
    TooDeep,
    /// More than [`PATTERN_MAX`](limits::PATTERN_MAX) bytes.
    #[error("the pattern has more than {} bytes", limits::PATTERN_MAX)]
    TooLong,
}

impl SpellingErrorKind {
    /// What to do about it, where that is not obvious.
    pub fn help(self) -> Option<&'static str> {
        Some(match self {
            Self::Prefix => "drop `/proc/sys/`: names are given below it",
            Self::LeadingSeparator | Self::TrailingSeparator => "drop the separator",
            Self::GlobInName => "escape the character with `\\` if it belongs to the name",
            Self::StrayBracket | Self::StrayBrace | Self::UnclosedClass | Self::UnclosedAlternatives => {
                "escape it with `\\` if it belongs to the text"
            }
            Self::Caret => "write `[!…]`, or `\\^` for the character itself",
            Self::SeparatorInClass => "write `\\.` for a dot that belongs to the name",
            Self::WideCharacter => "write alternatives: `{é,è}`",
            Self::UnknownEscape => {
                "`\\` stands before the punctuation that it escapes, or in `\\xHH`, which is one byte"
            }
            Self::Reserved => "put a `\\` before it",
            Self::ImpossibleByte => "components are separated by `.` or `/`, and hold neither `/` nor NUL",
            _ => return None,
        })
    }
}

/// Characters that mean something where names stand, so that a name has to escape them.
const RESERVED: &[u8] = b",#\"';()=<>&|";

/// Whether `byte` cannot stand in a name without a `\`, whatever surrounds it.
pub(crate) fn is_reserved(byte: u8) -> bool {
    RESERVED.contains(&byte) || byte.is_ascii_whitespace() || byte.is_ascii_control()
}

/// Words that stand where a name could, so that a knob of that name cannot be spelled plainly.
const KEYWORDS: &[&[u8]] = &[
    b"policy", b"mode", b"default", b"test", b"allow", b"deny", b"set", b"clamp", b"ignore", b"read",
    b"write", b"to", b"if", b"log", b"nolog",
];

/// Whether `name` is a word of the language.
pub(crate) fn is_keyword(name: &[u8]) -> bool {
    KEYWORDS.contains(&name)
}

/// The pieces that `text` spells: adjacent literals are one, as are adjacent stars, and no literal is empty.
pub(crate) fn parse(text: &[u8], spelled: Spelled) -> Result<Vec<Piece>, SpellingError> {
    let mut reader = Reader { text, at: 0, spelled, separator: None, behind_separator: false };
    if spelled != Spelled::Text {
        reader.check_start()?;
    }
    let pieces = reader.sequence(0)?;
    if reader.behind_separator {
        return Err(reader.error(SpellingErrorKind::TrailingSeparator, text.len() - 1));
    }
    if spelled != Spelled::Name && size(&pieces) > limits::PATTERN_MAX {
        return Err(SpellingError { kind: SpellingErrorKind::TooLong, span: Span::new(0, text.len()) });
    }
    Ok(pieces)
}

/// Adds `piece`, keeping the normal form.
pub(crate) fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    match (pieces.last_mut(), piece) {
        (Some(Piece::Literal(before)), Piece::Literal(bytes)) => before.extend(bytes),
        (_, Piece::Literal(bytes)) if bytes.is_empty() => {}
        (Some(Piece::Star | Piece::DoubleStar), Piece::Star)
        | (Some(Piece::DoubleStar), Piece::DoubleStar) => {}
        (Some(last @ Piece::Star), Piece::DoubleStar) => *last = Piece::DoubleStar,
        (_, Piece::Alternatives(branches)) if branches.len() == 1 => {
            for piece in branches.into_iter().flatten() {
                push(pieces, piece);
            }
        }
        (_, piece) => pieces.push(piece),
    }
}

/// The length of the shortest spelling, every escaped character counted as one byte.
pub(crate) fn size(pieces: &[Piece]) -> usize {
    let piece_size = |piece: &Piece| match piece {
        Piece::Literal(bytes) => bytes.len(),
        Piece::Any | Piece::Star => 1,
        Piece::DoubleStar => 2,
        Piece::Class { negated, ranges } => {
            let range_size = |&(low, high): &(u8, u8)| usize::from((high - low).min(2)) + 1;
            2 + usize::from(*negated) + ranges.iter().map(range_size).sum::<usize>()
        }
        Piece::Alternatives(branches) => 1 + branches.iter().map(|branch| 1 + size(branch)).sum::<usize>(),
    };
    pieces.iter().map(piece_size).sum()
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    spelled: Spelled,
    /// The first separator met.
    separator: Option<u8>,
    /// Whether the last thing read was a separator.
    behind_separator: bool,
}

impl Reader<'_> {
    fn check_start(&self) -> Result<(), SpellingError> {
        let text = self.text;
        if text.is_empty() {
            return Err(SpellingError { kind: SpellingErrorKind::Empty, span: Span::default() });
        }
        if let Some(rest) = text.strip_prefix(b"/proc/sys") {
            let end = text.len() - rest.len() + usize::from(rest.starts_with(b"/"));
            return Err(SpellingError { kind: SpellingErrorKind::Prefix, span: Span::new(0, end) });
        }
        if matches!(text[0], b'.' | b'/') {
            return Err(self.error(SpellingErrorKind::LeadingSeparator, 0));
        }
        Ok(())
    }

    /// Pieces up to the end of the text, or inside braces up to the next `,` or `}`.
    fn sequence(&mut self, nesting: usize) -> Result<Vec<Piece>, SpellingError> {
        let mut pieces = Vec::new();
        while let Some(&byte) = self.text.get(self.at) {
            let start = self.at;
            if nesting > 0 && matches!(byte, b',' | b'}') {
                break;
            }
            if self.spelled == Spelled::Name && matches!(byte, b'*' | b'?' | b'[' | b'{') {
                return Err(self.error(SpellingErrorKind::GlobInName, start));
            }
            let was_behind_separator = std::mem::take(&mut self.behind_separator);
            self.at += 1;
            let piece = match byte {
                b'*' if self.spelled == Spelled::Pattern && self.text.get(self.at) == Some(&b'*') => {
                    self.at += 1;
                    Piece::DoubleStar
                }
                b'*' => Piece::Star,
                b'?' => Piece::Any,
                b'[' => self.class(start)?,
                b'{' => self.alternatives(start, nesting + 1)?,
                b']' => return Err(self.error(SpellingErrorKind::StrayBracket, start)),
                b'}' => return Err(self.error(SpellingErrorKind::StrayBrace, start)),
                b'\\' => Piece::Literal(vec![self.escaped(start)?]),
                b'.' | b'/' if self.spelled != Spelled::Text => {
                    if *self.separator.get_or_insert(byte) == byte {
                        if was_behind_separator {
                            let span = Span::new(start - 1, start + 1);
                            return Err(SpellingError { kind: SpellingErrorKind::EmptyComponent, span });
                        }
                        self.behind_separator = true;
                        Piece::Literal(vec![b'/'])
                    } else {
                        Piece::Literal(vec![b'.'])
                    }
                }
                byte if self.spelled != Spelled::Text && is_reserved(byte) => {
                    return Err(self.error(SpellingErrorKind::Reserved, start));
                }
                byte => Piece::Literal(vec![byte]),
            };
            push(&mut pieces, piece);
        }
        Ok(pieces)
    }

    /// `{a,b}`, whose `{` stands at `start`.
    fn alternatives(&mut self, start: usize, nesting: usize) -> Result<Piece, SpellingError> {
        if nesting > limits::NESTING_MAX {
            return Err(self.error(SpellingErrorKind::TooDeep, start));
        }
        let mut branches = Vec::new();
        loop {
            branches.push(self.sequence(nesting)?);
            self.behind_separator = false;
            self.at += 1;
            match self.text.get(self.at - 1) {
                Some(b',') => {}
                Some(_) if branches == [vec![]] => {
                    let span = Span::new(start, self.at);
                    return Err(SpellingError { kind: SpellingErrorKind::EmptyAlternatives, span });
                }
                Some(_) => return Ok(Piece::Alternatives(branches)),
                None => return Err(self.error(SpellingErrorKind::UnclosedAlternatives, start)),
            }
        }
    }

    /// `[a-z]`, whose `[` stands at `start`.
    fn class(&mut self, start: usize) -> Result<Piece, SpellingError> {
        let negated = self.text.get(self.at) == Some(&b'!');
        self.at += usize::from(negated);
        if !negated && self.text.get(self.at) == Some(&b'^') {
            return Err(self.error(SpellingErrorKind::Caret, self.at));
        }
        let mut ranges = Vec::new();
        loop {
            let item = self.at;
            match self.text.get(self.at) {
                None => return Err(self.error(SpellingErrorKind::UnclosedClass, start)),
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
                return Err(SpellingError { kind: SpellingErrorKind::ReversedRange, span });
            }
            ranges.push((low, high));
        }
        self.at += 1;
        if ranges.is_empty() {
            let span = Span::new(start, self.at);
            return Err(SpellingError { kind: SpellingErrorKind::EmptyClass, span });
        }
        Ok(Piece::Class { negated, ranges: merged(ranges) })
    }

    fn class_byte(&mut self, class: usize) -> Result<u8, SpellingError> {
        let at = self.at;
        let Some(&byte) = self.text.get(at) else {
            return Err(self.error(SpellingErrorKind::UnclosedClass, class));
        };
        self.at += 1;
        match byte {
            b'\\' => self.escaped(at),
            b'.' | b'/' if self.spelled != Spelled::Text => {
                Err(self.error(SpellingErrorKind::SeparatorInClass, at))
            }
            0x80.. => Err(self.error(SpellingErrorKind::WideCharacter, at)),
            byte if self.spelled != Spelled::Text && is_reserved(byte) => {
                Err(self.error(SpellingErrorKind::Reserved, at))
            }
            byte => Ok(byte),
        }
    }

    /// What is behind the `\` at `start`.
    fn escaped(&mut self, start: usize) -> Result<u8, SpellingError> {
        let names = self.spelled != Spelled::Text;
        let Some(&byte) = self.text.get(self.at) else {
            return Err(self.error(SpellingErrorKind::EndsInEscape, start));
        };
        self.at += 1;
        let spelled_out = match byte {
            b'x' => {
                let digit = |at: usize| self.text.get(at).and_then(|&digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(self.at), digit(self.at + 1)) else {
                    return Err(self.error(SpellingErrorKind::UnknownEscape, start));
                };
                self.at += 2;
                let byte = (high * 16 + low) as u8;
                if names && matches!(byte, b'/' | 0) {
                    let span = Span::new(start, self.at);
                    return Err(SpellingError { kind: SpellingErrorKind::ImpossibleByte, span });
                }
                byte
            }
            b'/' if names => b'.',
            byte if byte.is_ascii_alphanumeric() || byte.is_ascii_control() => {
                return Err(self.error(SpellingErrorKind::UnknownEscape, start));
            }
            byte => byte,
        };
        Ok(spelled_out)
    }

    /// An error about the character at `at`, and about the one behind it if it is a `\`.
    fn error(&self, kind: SpellingErrorKind, at: usize) -> SpellingError {
        let escape = self.text.get(at) == Some(&b'\\');
        let mut end = (at + 1 + usize::from(escape)).min(self.text.len());
        while self.text.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end += 1;
        }
        SpellingError { kind, span: Span::new(at, end) }
    }
}

/// Sorted, and with overlapping and adjacent ranges made one.
pub(crate) fn merged(mut ranges: Vec<(u8, u8)>) -> Vec<(u8, u8)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u8, u8)> = Vec::new();
    for (low, high) in ranges {
        match merged.last_mut() {
            Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    merged
}

/// Writes the canonical spelling of `pieces`, dotted if they are of names.
pub(crate) fn write(pieces: &[Piece], spelled: Spelled, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let names = spelled != Spelled::Text;
    if let ([Piece::Literal(name)], true) = (pieces, names)
        && is_keyword(name)
    {
        write!(f, "\\x{:02x}", name[0])?;
        return Writer { f, names, separated: false }.literal(&name[1..], 0);
    }
    Writer { f, names, separated: false }.sequence(pieces, 0)
}

struct Writer<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    names: bool,
    /// Whether a separator was written, which says that the spelling is the dotted one.
    separated: bool,
}

impl Writer<'_, '_> {
    fn sequence(&mut self, pieces: &[Piece], nesting: usize) -> fmt::Result {
        for piece in pieces {
            match piece {
                Piece::Literal(bytes) => self.literal(bytes, nesting)?,
                Piece::Any => self.f.write_str("?")?,
                Piece::Star => self.f.write_str("*")?,
                Piece::DoubleStar => self.f.write_str("**")?,
                Piece::Class { negated, ranges } => {
                    self.f.write_str(if *negated { "[!" } else { "[" })?;
                    for &(low, high) in ranges {
                        self.class_byte(low)?;
                        if high > low.saturating_add(1) {
                            self.f.write_str("-")?;
                        }
                        if high > low {
                            self.class_byte(high)?;
                        }
                    }
                    self.f.write_str("]")?;
                }
                Piece::Alternatives(branches) => {
                    for (i, branch) in branches.iter().enumerate() {
                        self.f.write_str(if i == 0 { "{" } else { "," })?;
                        self.sequence(branch, nesting + 1)?;
                    }
                    self.f.write_str("}")?;
                }
            }
        }
        Ok(())
    }

    fn literal(&mut self, bytes: &[u8], nesting: usize) -> fmt::Result {
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '/' if self.names => {
                        self.separated = true;
                        self.f.write_str(".")?;
                    }
                    '.' if self.names && self.separated => self.f.write_str("/")?,
                    '.' if self.names => self.f.write_str("\\.")?,
                    '*' | '?' | '[' | ']' | '{' | '}' | '\\' => write!(self.f, "\\{c}")?,
                    ',' if nesting > 0 => self.f.write_str("\\,")?,
                    c if c.is_control() || (self.names && c.is_whitespace()) => {
                        for &byte in c.encode_utf8(&mut [0; 4]).as_bytes() {
                            write!(self.f, "\\x{byte:02x}")?;
                        }
                    }
                    c if self.names && c.is_ascii() && RESERVED.contains(&(c as u8)) => {
                        write!(self.f, "\\{c}")?;
                    }
                    c => self.f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(self.f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }

    fn class_byte(&mut self, byte: u8) -> fmt::Result {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.f.write_char(byte.into()),
            byte if byte.is_ascii_graphic() && byte != b'/' => write!(self.f, "\\{}", char::from(byte)),
            byte => write!(self.f, "\\x{byte:02x}"),
        }
    }
}
