//! How the bytes of a value are parsed: as text, and as numbers.

use crate::limits::{ELEMENTS_MAX, NUMBER_CHARS_MAX, NUMBERS_END_MAX, VALUE_MAX};
use crate::{EvalError, Integer, Value};

/// The numbers of a new value, as rules see them: `new[0]`, `new[1]` and so on. Whether a knob [stores](crate::Width)
/// them unchanged is another question.
///
/// ```
/// use knobgate_policy::parse_numbers;
///
/// let numbers: Vec<i128> = parse_numbers("0x10 -1\t010\n")?.iter().map(|number| number.get()).collect();
/// assert_eq!(numbers, [16, -1, 8]);
/// assert!(parse_numbers("core\n").is_err());
/// # Ok::<(), knobgate_policy::EvalError>(())
/// ```
///
/// # Errors
/// A rule that compares numbers cannot be evaluated for this value.
pub fn parse_numbers(value: impl AsRef<[u8]>) -> Result<Vec<Integer>, EvalError> {
    numbers(value.as_ref(), Value::New).map(|numbers| numbers.to_vec())
}

/// The text of a value: everything before its first newline or NUL, as the kernel's string handler takes it. It is an
/// error if anything but white space and NULs follows: handlers of lists of numbers go on reading in a second line, and
/// those of bitmaps (`proc_do_large_bitmap`) after a NUL. It is also an error if a NUL directly follows what might be a
/// list of numbers: handlers of lists store all of the numbers but the last, and then fail.
pub(crate) fn text(bytes: &[u8], which: Value) -> Result<&[u8], EvalError> {
    if bytes.len() > VALUE_MAX {
        return Err(EvalError::TooLong(which));
    }
    let end = bytes.iter().position(|&byte| matches!(byte, b'\n' | 0)).unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    if rest.first() == Some(&0) && starts_as_list(line) {
        return Err(EvalError::NulAfterList(which));
    }
    if rest.iter().all(|&byte| is_blank(byte) || matches!(byte, b'\n' | 0)) {
        Ok(line)
    } else {
        Err(EvalError::GoesOn(which))
    }
}

/// Whether a handler of lists might parse a number at the start of `line` and find more after it: after white space
/// (the kernel's `isspace`), it begins like a number, and there is a blank somewhere.
fn starts_as_list(line: &[u8]) -> bool {
    let start = line.iter().position(|&byte| !matches!(byte, 9..=13 | b' ' | 0xA0));
    let line = start.map_or(&[][..], |start| &line[start..]);
    line.first().is_some_and(|&byte| byte == b'-' || byte.is_ascii_digit())
        && line.iter().any(|&byte| is_blank(byte))
}

/// The numbers of a value: its text as a list of `-`, if negative, and digits in base 0 (`0x` hexadecimal, other
/// leading `0` octal, else decimal), with spaces and tabs around them, and nothing but spaces, tabs and newlines after
/// them. The kernel's `proc_get_long` and `bpf_strtoul` agree on these.
pub(crate) fn numbers(bytes: &[u8], which: Value) -> Result<Numbers, EvalError> {
    let text = text(bytes, which)?;
    if bytes.contains(&0) {
        return Err(EvalError::NotNumbers(which));
    }
    let tokens = || text.split(|&byte| is_blank(byte)).filter(|token| !token.is_empty());
    if tokens().nth(ELEMENTS_MAX).is_some() || !tokens().all(is_number) {
        return Err(EvalError::NotNumbers(which));
    }
    let numbers_end = text.iter().rposition(|&byte| !is_blank(byte)).map_or(0, |last| last + 1);
    if numbers_end > NUMBERS_END_MAX {
        return Err(EvalError::NumbersTooLong(which));
    }
    let mut numbers = Numbers { elements: [Integer::MIN; ELEMENTS_MAX], count: 0 };
    for (element, token) in numbers.elements.iter_mut().zip(tokens()) {
        *element = number(token).ok_or(EvalError::Overflow(which))?;
        numbers.count += 1;
    }
    Ok(numbers)
}

/// A number or a range of a set: both ends, or `None` for one beyond 32 bits, which no handler stores.
pub(crate) type SetEntry = (Option<Integer>, Option<Integer>);

/// The numbers and ranges of a value as `proc_do_large_bitmap` (kernel/sysctl.c) parses it: separated by commas, of which
/// one may come last. The notations of a number are those in [`numbers`], without a sign. A reversed range, which the
/// handler rejects, is one, too.
///
/// After a newline or a NUL, the handler goes on to the next number. There is none in these values.
pub(crate) fn ranges(bytes: &[u8], which: Value) -> Result<Vec<SetEntry>, EvalError> {
    let text = text(bytes, which)?;
    if bytes.contains(&0) {
        return Err(EvalError::NotRanges(which));
    }
    let end = |token: &[u8]| {
        let (base, digits) = base_and_digits(token);
        let digits = digits.iter().map(|&digit| char::from(digit).to_digit(base));
        let is_number = token.first().is_some_and(u8::is_ascii_digit) && digits.len() > 0;
        let digits = digits.collect::<Option<Vec<u32>>>().filter(|_| is_number);
        let digits = digits.ok_or(EvalError::NotRanges(which))?;
        let append =
            |number: i128, digit: u32| number.saturating_mul(base.into()).saturating_add(digit.into());
        Ok(u32::try_from(digits.into_iter().fold(0, append)).ok().map(Integer::from))
    };
    let entry = |entry: &[u8]| match entry.iter().position(|&byte| byte == b'-') {
        Some(dash) => Ok((end(&entry[..dash])?, end(&entry[dash + 1..])?)),
        None => end(entry).map(|only| (only, only)),
    };
    let entries = text.strip_suffix(b",").unwrap_or(text).split(|&byte| byte == b',');
    if text.is_empty() { Ok(Vec::new()) } else { entries.map(entry).collect() }
}

/// The numbers of one value. They need no memory of their own, since filters look at millions of values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    elements: [Integer; ELEMENTS_MAX],
    count: usize,
}

impl std::ops::Deref for Numbers {
    type Target = [Integer];

    fn deref(&self) -> &[Integer] {
        &self.elements[..self.count]
    }
}

/// Whether `part` is somewhere in `text`.
pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Whether `token` is a number that is not too long for the kernel.
fn is_number(token: &[u8]) -> bool {
    let (base, digits) = base_and_digits(token);
    token.len() <= NUMBER_CHARS_MAX
        && !digits.is_empty()
        && digits.iter().all(|&digit| char::from(digit).is_digit(base))
}

/// The value of `token`, which [`is_number`]; `None` if it is beyond 64 bits.
fn number(token: &[u8]) -> Option<Integer> {
    let (base, digits) = base_and_digits(token);
    // 20 characters are less than 2^80, so this cannot overflow.
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
