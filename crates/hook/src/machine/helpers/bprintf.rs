//! Format strings and their arguments: `bpf_bprintf_prepare()` in kernel/bpf/helpers.c.
//!
//! As in the kernel, the arguments are first put into a buffer, which [`bstr_printf`](super::bstr_printf) then reads: what
//! does not fit into it, and what is read twice because a text was cut off, is the same.

use super::{HelperEnv, HelperResult, probe_read};
use crate::machine::fault::Reason;
use crate::machine::value::{Region, Value};
use crate::{Errno, Profile};

/// `MAX_BPRINTF_BIN_ARGS`
const BIN_ARGS: usize = 512;
/// `FIELD_WIDTH_MAX` in lib/vsprintf.c.
const WIDTH_MAX: usize = (1 << 23) - 1;

/// The format is invalid: a helper returns `EINVAL`, or the verifier rejects the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// A part of a format.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece {
    Byte(u8),
    Argument(Directive),
}

/// A conversion with its flags and its width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Directive {
    pub(super) left: bool,
    pub(super) plus: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    pub(super) width: Option<usize>,
    pub(super) conversion: Conversion,
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conversion {
    /// `d`, `i`, `u`, `x`, `X`; `l` and `ll` before them are for 64 bits.
    Number { long: bool, letter: u8 },
    /// `c`
    Char,
    /// `s`
    Str,
    /// `p`, `pK`
    Pointer,
    /// `px`
    PointerHex,
    /// `ps`, `pS`
    Symbol,
    /// Turned into text while arguments are prepared.
    Text(TextKind),
}

/// What is text before anything is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextKind {
    /// `pB`
    Backtrace,
    /// `pks`
    KernelStr,
    /// `pus`
    UserStr,
    /// `pI4`, `pi4` with leading zeros
    Ip4 { zeros: bool },
    /// `pI6`, `pi6` without colons
    Ip6 { colons: bool },
}

/// The arguments of a format, as the kernel stores them.
#[derive(Debug, Default)]
pub(super) struct BinArgs {
    pub(super) bytes: Vec<u8>,
    /// Where there is a pointer that has no address here.
    pub(super) without_address: Vec<usize>,
}

/// Whether a format is valid for this many arguments.
pub(crate) fn is_valid_format(format: &[u8], arguments: usize, profile: &Profile) -> bool {
    pieces(format, arguments, profile).is_ok()
}

/// Parses a format, which may have at most this many conversions.
pub(super) fn pieces(format: &[u8], arguments: usize, profile: &Profile) -> Result<Vec<Piece>, Malformed> {
    let mut pieces = Vec::new();
    let mut asked = 0;
    let mut rest = format;
    // Whether letters and digits still belong to the pointer before them: bstr_printf() does not print them.
    let mut of_pointer = false;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let is_text = if byte.is_ascii() {
            byte.is_ascii_graphic() || is_space(byte)
        } else {
            profile.non_ascii_formats
        };
        if !is_text {
            return Err(Malformed);
        }
        of_pointer &= is_alnum(byte);
        if of_pointer {
            continue;
        }
        if byte != b'%' {
            pieces.push(Piece::Byte(byte));
        } else if let Some(after) = rest.strip_prefix(b"%") {
            rest = after;
            pieces.push(Piece::Byte(b'%'));
        } else if asked == arguments {
            return Err(Malformed);
        } else {
            asked += 1;
            let directive = Directive::take(&mut rest).ok_or(Malformed)?;
            of_pointer = directive.conversion.is_pointer();
            pieces.push(Piece::Argument(directive));
        }
    }
    Ok(pieces)
}

/// Stores the arguments of these pieces. Surplus ones are ignored.
pub(super) fn prepare(
    env: &mut HelperEnv<'_, '_>,
    pieces: &[Piece],
    arguments: &[Value],
) -> HelperResult<Result<BinArgs, Errno>> {
    let mut stored = BinArgs::default();
    let directives = pieces.iter().filter_map(|piece| match piece {
        Piece::Argument(directive) => Some(directive.conversion),
        Piece::Byte(_) => None,
    });
    for (conversion, &argument) in directives.zip(arguments) {
        let room = BIN_ARGS - stored.bytes.len();
        let fits = match conversion {
            Conversion::Char => {
                let byte = address(argument)? as u8;
                stored.push(&[byte])
            }
            Conversion::Str => {
                let text = text(env, argument, room)?;
                stored.push(&text)
            }
            Conversion::Text(kind) => {
                let text = kind.text(env, argument, room)?;
                stored.push(&text)
            }
            Conversion::Number { long: false, .. } => {
                let number = address(argument)? as u32;
                stored.push_aligned(&number.to_le_bytes())
            }
            Conversion::Number { long: true, .. } => stored.push_aligned(&address(argument)?.to_le_bytes()),
            Conversion::Pointer | Conversion::PointerHex | Conversion::Symbol => {
                let fits = stored.push_aligned(&argument.as_number().unwrap_or(0).to_le_bytes());
                if argument.as_number().is_none() {
                    stored.without_address.push(stored.bytes.len() - 8);
                }
                fits
            }
        };
        if !fits {
            return Ok(Err(Errno::ENOSPC));
        }
    }
    Ok(Ok(stored))
}

/// The number that is printed.
fn address(argument: Value) -> HelperResult<u64> {
    argument.as_number().ok_or(Reason::DependsOnAddress { left: argument.region, right: Region::Number })
}

/// The string at an address with its NUL, in so much room; empty if there is none.
fn text(env: &mut HelperEnv<'_, '_>, address: Value, room: usize) -> HelperResult<Vec<u8>> {
    if room == 0 {
        return Ok(Vec::new());
    }
    Ok(probe_read::copy_str(env, address, room)?.unwrap_or_else(|_| vec![0]))
}

// The kernel's characters are those of Latin-1: lib/ctype.c.

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 9..=13 | 0xa0)
}

fn is_punct(byte: u8) -> bool {
    byte.is_ascii_punctuation() || matches!(byte, 0xa1..=0xbf | 0xd7 | 0xf7)
}

fn is_alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0xc0 && !is_punct(byte)
}

impl BinArgs {
    fn push(&mut self, bytes: &[u8]) -> bool {
        let fits = !bytes.is_empty() && bytes.len() <= BIN_ARGS - self.bytes.len();
        if fits {
            self.bytes.extend(bytes);
        }
        fits
    }

    fn push_aligned(&mut self, bytes: &[u8]) -> bool {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.push(bytes)
    }
}

impl Directive {
    fn take(rest: &mut &[u8]) -> Option<Self> {
        let mut next_while = |fits: fn(u8) -> bool| {
            let len = rest.iter().take_while(|byte| fits(**byte)).count();
            let (taken, after) = rest.split_at(len);
            *rest = after;
            taken
        };
        let flags = next_while(|byte| matches!(byte, b'0' | b' ' | b'+' | b'-'));
        let digits = next_while(|byte| byte.is_ascii_digit());
        let width = digits.iter().fold(0, |width: usize, digit| {
            width.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
        });
        let has = |flag: u8| flags.contains(&flag);
        Some(Self {
            left: has(b'-'),
            plus: has(b'+'),
            space: has(b' '),
            zero: has(b'0'),
            width: (!digits.is_empty()).then_some(width.min(WIDTH_MAX)),
            conversion: Conversion::take(rest)?,
        })
    }
}

impl Conversion {
    fn is_pointer(self) -> bool {
        matches!(self, Self::Pointer | Self::PointerHex | Self::Symbol | Self::Text(_))
    }

    fn take(rest: &mut &[u8]) -> Option<Self> {
        /// Whether what follows a string or a pointer ends it.
        fn ends(rest: &[u8]) -> bool {
            rest.first().is_none_or(|byte| is_space(*byte) || is_punct(*byte))
        }
        let (conversion, len) = match **rest {
            [b'p', ref after @ ..] if ends(after) => (Self::Pointer, 1),
            [b'p', b'k', b's', ref after @ ..] if ends(after) => (Self::Text(TextKind::KernelStr), 3),
            [b'p', b'u', b's', ref after @ ..] if ends(after) => (Self::Text(TextKind::UserStr), 3),
            [b'p', b'K', ..] => (Self::Pointer, 2),
            [b'p', b'x', ..] => (Self::PointerHex, 2),
            [b'p', b's' | b'S', ..] => (Self::Symbol, 2),
            [b'p', b'B', ..] => (Self::Text(TextKind::Backtrace), 2),
            [b'p', letter @ (b'i' | b'I'), b'4', ..] => {
                (Self::Text(TextKind::Ip4 { zeros: letter == b'i' }), 3)
            }
            [b'p', letter @ (b'i' | b'I'), b'6', ..] => {
                (Self::Text(TextKind::Ip6 { colons: letter == b'I' }), 3)
            }
            [b's', ref after @ ..] if ends(after) => (Self::Str, 1),
            [b'c', ..] => (Self::Char, 1),
            [b'l', b'l', letter, ..] => (Self::number(letter, true)?, 3),
            [b'l', letter, ..] => (Self::number(letter, true)?, 2),
            [letter, ..] => (Self::number(letter, false)?, 1),
            [] => return None,
        };
        *rest = &rest[len..];
        Some(conversion)
    }

    fn number(letter: u8, long: bool) -> Option<Self> {
        matches!(letter, b'd' | b'i' | b'u' | b'x' | b'X').then_some(Self::Number { long, letter })
    }
}

impl TextKind {
    /// The text with its NUL.
    fn text(self, env: &mut HelperEnv<'_, '_>, argument: Value, room: usize) -> HelperResult<Vec<u8>> {
        let mut bytes_at = |len| -> HelperResult<Vec<u8>> {
            Ok(probe_read::copy(env, argument, len)?.unwrap_or_else(|_| vec![0; len]))
        };
        let mut shown = match self {
            Self::KernelStr => return text(env, argument, room),
            Self::UserStr => {
                probe_read::check_no_user_memory(argument, 1)?;
                String::new()
            }
            // There are no symbols here, and the kernel shows other addresses like this.
            Self::Backtrace => format!("{:#x}", address(argument)?),
            Self::Ip4 { zeros } => {
                let parts = bytes_at(4)?;
                let part = |part: &u8| if zeros { format!("{part:03}") } else { part.to_string() };
                parts.iter().map(part).collect::<Vec<_>>().join(".")
            }
            Self::Ip6 { colons } => {
                let bytes = bytes_at(16)?;
                let parts = bytes.as_chunks().0.iter().map(|[high, low]| format!("{high:02x}{low:02x}"));
                parts.collect::<Vec<_>>().join(if colons { ":" } else { "" })
            }
        };
        shown.push('\0');
        Ok(shown.into_bytes())
    }
}
