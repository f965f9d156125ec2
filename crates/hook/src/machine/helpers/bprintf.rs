//! Format strings: `bpf_bprintf_prepare()` in kernel/bpf/helpers.c, `bstr_printf()` in lib/vsprintf.c.

use super::{HelperEnv, HelperResult};
use crate::machine::fault::Reason;
use crate::machine::value::{Region, Value};

/// The longest printed string, and the widest field: `MAX_BPRINTF_BIN_ARGS`.
const TEXT_MAX: usize = 512;

/// The format is invalid: a helper returns `EINVAL`, or the verifier rejects the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// A conversion: `%[0 +-][width][l|ll](d|i|u|x|X)`, and `c`, `s`, `p` without the `l`.
#[derive(Debug, Clone)]
struct Directive {
    flags: Vec<u8>,
    width: usize,
    long: bool,
    letter: u8,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(u8),
    Argument(Directive),
}

/// The formatted text. Surplus arguments are ignored.
pub(super) fn bprintf(
    env: &mut HelperEnv<'_, '_>,
    format: &[u8],
    arguments: &[Value],
) -> HelperResult<Result<Vec<u8>, Malformed>> {
    let Ok(pieces) = pieces(format, arguments.len()) else { return Ok(Err(Malformed)) };
    let mut arguments = arguments.iter();
    let mut text = Vec::new();
    for piece in pieces {
        let directive = match piece {
            Piece::Text(byte) => {
                text.push(byte);
                continue;
            }
            Piece::Argument(directive) => directive,
        };
        let Some(&argument) = arguments.next() else { break };
        let shown = match directive.letter {
            b's' => string(env, argument)?,
            _ if argument.is_number() => directive.number(argument.bits),
            _ => return Err(Reason::DependsOnAddress { left: argument.region, right: Region::Number }),
        };
        directive.pad(&mut text, &shown);
    }
    Ok(Ok(text))
}

/// Parses a format, which may have at most this many conversions.
fn pieces(format: &[u8], arguments: usize) -> Result<Vec<Piece>, Malformed> {
    let mut pieces = Vec::new();
    let mut asked = 0;
    let mut rest = format;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if !byte.is_ascii_graphic() && !matches!(byte, b' ' | 9..=13) {
            return Err(Malformed);
        }
        if byte != b'%' {
            pieces.push(Piece::Text(byte));
        } else if let Some(after) = rest.strip_prefix(b"%") {
            rest = after;
            pieces.push(Piece::Text(b'%'));
        } else if asked == arguments {
            return Err(Malformed);
        } else {
            asked += 1;
            pieces.push(Piece::Argument(Directive::take(&mut rest).ok_or(Malformed)?));
        }
    }
    Ok(pieces)
}

/// The string at a pointer; empty if it is not a pointer.
fn string(env: &mut HelperEnv<'_, '_>, start: Value) -> HelperResult<Vec<u8>> {
    let mut text = Vec::new();
    if start.is_number() {
        return Ok(text);
    }
    for offset in 0..TEXT_MAX as u64 {
        let place = start.add(offset);
        match env.memory.read(place, 1, |byte| byte[0])? {
            0 => break,
            byte => text.push(byte),
        }
    }
    Ok(text)
}

impl Directive {
    fn take(rest: &mut &[u8]) -> Option<Self> {
        let mut next_while = |fits: fn(u8) -> bool| {
            let len = rest.iter().take_while(|byte| fits(**byte)).count();
            let (taken, after) = rest.split_at(len);
            *rest = after;
            taken
        };
        let flags = next_while(|byte| matches!(byte, b'0' | b' ' | b'+' | b'-')).to_vec();
        let width = next_while(|byte| byte.is_ascii_digit());
        let width = width.iter().fold(0, |width: usize, digit| {
            width.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
        });
        let long = next_while(|byte| byte == b'l').len();
        let (&letter, after) = rest.split_first()?;
        *rest = after;
        let ends = after.first().is_none_or(|byte| byte.is_ascii_whitespace() || byte.is_ascii_punctuation());
        let known = match letter {
            b'd' | b'i' | b'u' | b'x' | b'X' => long <= 2,
            b's' | b'p' => long == 0 && ends,
            b'c' => long == 0,
            _ => false,
        };
        (known && width <= TEXT_MAX).then_some(Self { flags, width, long: long > 0, letter })
    }

    fn number(&self, bits: u64) -> Vec<u8> {
        let unsigned = if self.long { bits } else { u64::from(bits as u32) };
        let signed = if self.long { bits as i64 } else { i64::from(bits as i32) };
        let plus = match signed >= 0 {
            true if self.flags.contains(&b'+') => "+",
            true if self.flags.contains(&b' ') => " ",
            _ => "",
        };
        match self.letter {
            b'd' | b'i' => format!("{plus}{signed}").into_bytes(),
            b'u' => unsigned.to_string().into_bytes(),
            b'x' => format!("{unsigned:x}").into_bytes(),
            b'X' => format!("{unsigned:X}").into_bytes(),
            b'c' => vec![bits as u8],
            // The kernel prints a hash of it.
            _ => format!("{bits:016x}").into_bytes(),
        }
    }

    fn pad(&self, text: &mut Vec<u8>, shown: &[u8]) {
        let padding = self.width.saturating_sub(shown.len());
        if self.flags.contains(&b'-') {
            text.extend_from_slice(shown);
            text.extend(std::iter::repeat_n(b' ', padding));
        } else if self.flags.contains(&b'0') && self.letter != b's' && self.letter != b'c' {
            let sign = usize::from(shown.first().is_some_and(|byte| matches!(byte, b'-' | b'+' | b' ')));
            text.extend_from_slice(&shown[..sign]);
            text.extend(std::iter::repeat_n(b'0', padding));
            text.extend_from_slice(&shown[sign..]);
        } else {
            text.extend(std::iter::repeat_n(b' ', padding));
            text.extend_from_slice(shown);
        }
    }
}
