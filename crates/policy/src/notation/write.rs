//! From pieces to their canonical notation.

use std::fmt::{self, Write};

use super::{Notation, RESERVED, is_keyword};
use knobgate_glob::Piece;

/// Writes the canonical notation of `pieces`, which is dotted for names.
pub(crate) fn write(pieces: &[Piece], notation: Notation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let names = notation.is_dotted();
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
    /// Whether a separator was written. The first one makes the notation dotted.
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
