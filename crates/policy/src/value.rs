//! How the bytes of a value are read: as text, and as numbers.

use crate::limits::{ELEMENTS_MAX, NUMBER_CHARS_MAX, NUMBERS_END_MAX, VALUE_MAX};
use crate::{EvalError, Integer, Value};

/// The text of a value: what stands before its first newline or NUL, as the kernel's string handler takes it.
/// Anything but white space and NULs behind that makes rules that look at the value impossible to evaluate: handlers of lists of numbers go on
/// reading in a second line, and those of bitmaps (`proc_do_large_bitmap`) behind a NUL. A NUL directly behind what might be a
/// list of numbers does the same: handlers of lists store all of them but the last, with which they fail.
pub(crate) fn text(bytes: &[u8], which: Value) -> Result<&[u8], EvalError> {
    if bytes.len() > VALUE_MAX {
        return Err(EvalError::TooLong(which));
    }
    let end = bytes.iter().position(|&byte| matches!(byte, b'\n' | 0)).unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    if rest.first() == Some(&0) && starts_as_list(line) {
        return Err(EvalError::NulBehindList(which));
    }
    if rest.iter().all(|&byte| is_blank(byte) || matches!(byte, b'\n' | 0)) {
        Ok(line)
    } else {
        Err(EvalError::GoesOn(which))
    }
}

/// Whether a handler of lists might take a number off the front of `line`, which goes on behind it: behind white space as the
/// kernel's `isspace` knows it, it begins as a number does, and has a blank somewhere.
fn starts_as_list(line: &[u8]) -> bool {
    let start = line.iter().position(|&byte| !matches!(byte, 9..=13 | b' ' | 0xA0));
    let line = start.map_or(&[][..], |start| &line[start..]);
    line.first().is_some_and(|&byte| byte == b'-' || byte.is_ascii_digit())
        && line.iter().any(|&byte| is_blank(byte))
}

/// The numbers of a value: its text as a list of `-`, if negative, and digits in base 0 (`0x` hexadecimal, other
/// leading `0` octal, else decimal), with spaces and tabs around them, and nothing but spaces, tabs and newlines
/// behind. This is what the kernel's `proc_get_long` and its `bpf_strtoul` agree on.
pub(crate) fn numbers(bytes: &[u8], which: Value) -> Result<Vec<Integer>, EvalError> {
    let text = text(bytes, which)?;
    if bytes.contains(&0) {
        return Err(EvalError::NotNumbers(which));
    }
    let tokens: Vec<&[u8]> = text.split(|&byte| is_blank(byte)).filter(|token| !token.is_empty()).collect();
    if tokens.len() > ELEMENTS_MAX || !tokens.iter().all(|token| is_number(token)) {
        return Err(EvalError::NotNumbers(which));
    }
    let numbers_end = text.iter().rposition(|&byte| !is_blank(byte)).map_or(0, |last| last + 1);
    if numbers_end > NUMBERS_END_MAX {
        return Err(EvalError::NumbersTooLong(which));
    }
    tokens.into_iter().map(|token| number(token).ok_or(EvalError::Overflow(which))).collect()
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Whether `token` is a number, of a length that the kernel takes.
fn is_number(token: &[u8]) -> bool {
    let (base, digits) = base_and_digits(token);
    token.len() <= NUMBER_CHARS_MAX
        && !digits.is_empty()
        && digits.iter().all(|&digit| char::from(digit).is_digit(base))
}

/// The number that `token`, which [`is_number`], stands for; `None` if it is beyond 64 bits.
fn number(token: &[u8]) -> Option<Integer> {
    let (base, digits) = base_and_digits(token);
    // 20 characters hold less than 2^80, so that this cannot overflow.
    let magnitude = digits.iter().fold(0i128, |number, &digit| {
        number * i128::from(base) + i128::from(char::from(digit).to_digit(base).unwrap_or(0))
    });
    Integer::new(if token.starts_with(b"-") { -magnitude } else { magnitude })
}

fn base_and_digits(token: &[u8]) -> (u32, &[u8]) {
    match token.strip_prefix(b"-").unwrap_or(token) {
        [b'0', b'x' | b'X', digits @ ..] => (16, digits),
        digits @ [b'0', ..] => (8, digits),
        digits => (10, digits),
    }
}
