//! How names and globs are written: from text to pieces and back.
//!
//! Names have two notations, `net.ipv4.tcp_mem` and `net/ipv4/tcp_mem`. The first separator determines which one is
//! used. The other character is then an ordinary `.` in the name: `net.ipv4.conf.eno2/100.rp_filter` is the knob
//! `net/ipv4/conf/eno2.100/rp_filter`. `\` escapes the next character; an escaped separator is an ordinary `.`, and
//! does not determine the notation. `\xHH` is one byte.

mod read;
mod write;

pub(crate) use read::parse;
pub(crate) use write::write;

use crate::{Span, limits};
use knobgate_glob::Piece;

/// What is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    /// The name of one knob.
    Name,
    /// A pattern for names.
    Pattern,
    /// A glob for texts.
    Text,
    /// A glob for absolute paths, whose components are separated by `/` alone.
    Path,
}

impl Notation {
    /// Whether it is one for names of knobs, with dots.
    fn is_dotted(self) -> bool {
        matches!(self, Self::Name | Self::Pattern)
    }
}

/// A text that is not a valid name, pattern or glob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
#[non_exhaustive]
pub struct NotationError {
    /// What is wrong.
    pub kind: NotationErrorKind,
    /// Where, in bytes of the text.
    pub span: Span,
}

/// What is wrong with a name, pattern or glob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotationErrorKind {
    /// An empty name.
    #[error("the name is empty")]
    Empty,
    /// `/proc/sys/…`
    #[error("names are relative to `/proc/sys`")]
    Prefix,
    /// `.kernel` or `/kernel`
    #[error("the name begins with a separator")]
    LeadingSeparator,
    /// `kernel.`
    #[error("the name ends with a separator")]
    TrailingSeparator,
    /// `net..core`
    #[error("there is nothing between two separators")]
    EmptyComponent,
    /// `*` or another wildcard in the name of a single knob.
    #[error("expected the name of one knob, found a pattern")]
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
    #[error("a class stays inside one component, so it cannot contain a separator")]
    SeparatorInClass,
    /// `[é]`
    #[error("a class consists of single bytes, and this character has more than one")]
    WideCharacter,
    /// `\` at the end.
    #[error("nothing follows this `\\`")]
    EndsInEscape,
    /// `\n`
    #[error("there is no such escape")]
    UnknownEscape,
    /// `\x2f`, `\x00`
    #[error("no component of a name can contain this byte")]
    ImpossibleByte,
    /// A blank, a quote, `#` and so on inside a name.
    #[error("this character has to be escaped in a name")]
    Reserved,
    /// Braces that are nested more than [`NESTING_MAX`](limits::NESTING_MAX) deep.
    #[error("alternatives are nested more than {} deep", limits::NESTING_MAX)]
    TooDeep,
    /// `a/b` where an absolute path is expected.
    #[error("the path does not begin with `/`")]
    Relative,
    /// A newline or a NUL in a glob for texts.
    #[error("no value has this text")]
    NotOneLine,
    /// More than [`PATTERN_MAX`](limits::PATTERN_MAX) bytes.
    #[error("the pattern has more than {} bytes", limits::PATTERN_MAX)]
    TooLong,
}

impl NotationErrorKind {
    /// What to do about it, where that is not obvious.
    pub fn help(self) -> Option<&'static str> {
        Some(match self {
            Self::Prefix => "drop `/proc/sys/`",
            Self::Relative => "paths of cgroups begin at the root of the hierarchy, as in `/proc/PID/cgroup`",
            Self::LeadingSeparator | Self::TrailingSeparator => "drop the separator",
            Self::GlobInName => "escape the character with `\\` if it is part of the name",
            Self::StrayBracket | Self::StrayBrace | Self::UnclosedClass | Self::UnclosedAlternatives => {
                "escape it with `\\` if it is part of the text"
            }
            Self::Caret => "write `[!…]`, or `\\^` for the character itself",
            Self::SeparatorInClass => "write `\\.` for a dot that is part of the name",
            Self::WideCharacter => "write alternatives: `{é,è}`",
            Self::UnknownEscape => {
                "`\\` goes before the punctuation that it escapes, or in `\\xHH`, which is one byte"
            }
            Self::Reserved => "put a `\\` before it",
            Self::ImpossibleByte => "components are separated by `.` or `/`, and contain neither `/` nor NUL",
            Self::NotOneLine => "the text of a value ends before its first newline or NUL: drop what follows",
            _ => return None,
        })
    }
}

/// Characters that have a meaning next to names, so that names have to escape them.
const RESERVED: &[u8] = b",#\"';()=<>&|";

/// Whether `byte` always needs a `\` in a name.
pub(crate) fn is_reserved(byte: u8) -> bool {
    RESERVED.contains(&byte) || byte.is_ascii_whitespace() || byte.is_ascii_control()
}

/// Words that can appear where a name can, so that names have to escape them.
const KEYWORDS: &[&[u8]] = &[
    b"policy", b"mode", b"width", b"default", b"apply", b"test", b"include", b"allow", b"deny", b"set",
    b"clamp", b"ignore", b"read", b"write", b"to", b"if", b"log", b"nolog",
];

/// Whether `name` is a word of the language.
pub(crate) fn is_keyword(name: &[u8]) -> bool {
    KEYWORDS.contains(&name)
}

/// Adds `piece`, and keeps the normal form.
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

/// The length of the shortest notation. An escaped character counts as one byte.
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
