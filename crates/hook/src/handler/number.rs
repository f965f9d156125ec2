//! How the handlers parse and format numbers: `proc_get_long` and `proc_put_long` in kernel/sysctl.c, `_parse_integer` in
//! lib/kstrtox.c.

use super::{HandlerEnv, PARSED_BYTES, Written};
use crate::Errno;

/// `TMPBUFLEN`: a number is parsed from a copy of at most this many bytes, including a NUL.
const COPY_BYTES: usize = 22;

/// What may follow a number in a vector (`proc_wspace_sep`).
pub(super) const BLANK: &[u8] = b" \t\n";

/// A sign and a magnitude.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub negative: bool,
    pub magnitude: u64,
}

impl Number {
    /// As an int.
    pub(super) fn as_int(self) -> Result<i32, Errno> {
        let value = if self.negative { -i128::from(self.magnitude) } else { self.magnitude.into() };
        i32::try_from(value).map_err(|_| Errno::EINVAL)
    }

    /// The magnitude as an unsigned int.
    pub(super) fn as_u32(self) -> Result<u32, Errno> {
        u32::try_from(self.magnitude).map_err(|_| Errno::EINVAL)
    }
}

/// Takes a number from the start of `text`, which must be followed by the end or by one of `trailers`. The prefix gives the
/// base. Returns the number and the byte after it, which stays in `text`.
pub(super) fn take(text: &mut &[u8], trailers: &[u8]) -> Result<(Number, Option<u8>), Errno> {
    let copy = &text[..text.len().min(COPY_BYTES - 1)];
    // A lone '-' is not a sign.
    let negative = copy.first() == Some(&b'-') && text.len() > 1;
    let digits = &copy[usize::from(negative)..];
    if !digits.first().is_some_and(u8::is_ascii_digit) {
        return Err(Errno::EINVAL);
    }
    let (magnitude, length) = parse(digits)?;
    let length = length + usize::from(negative);
    // The number may continue after the copy.
    if length == COPY_BYTES - 1 {
        return Err(Errno::EINVAL);
    }
    let trailer = text.get(length).copied();
    // The next byte of the copy counts. At its end that is the NUL, but then `length` is the whole text.
    if trailer.is_some_and(|byte| !trailers.contains(&byte)) {
        return Err(Errno::EINVAL);
    }
    *text = &text[length..];
    Ok((Number { negative, magnitude }, trailer))
}

/// The value of the longest number at the start of `digits`, which has at least one digit, and its length with the prefix.
fn parse(digits: &[u8]) -> Result<(u64, usize), Errno> {
    let (base, prefix) = match digits {
        [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit() => (16, 2),
        [b'0', ..] => (8, 0),
        _ => (10, 0),
    };
    let values = digits[prefix..].iter().map_while(|&byte| char::from(byte).to_digit(base));
    let mut magnitude = 0_u64;
    let mut length = prefix;
    for value in values {
        let next = magnitude.checked_mul(u64::from(base)).and_then(|high| high.checked_add(u64::from(value)));
        magnitude = next.ok_or(Errno::EINVAL)?;
        length += 1;
    }
    Ok((magnitude, length))
}

/// Skips what is white space for the kernel's `isspace`: lib/ctype.c uses Latin-1, with its no-break space.
pub(super) fn skip_blanks(text: &mut &[u8]) {
    skip(text, |byte| matches!(byte, 9..=13 | b' ' | 0xA0));
}

/// Skips all repetitions of one byte.
pub(super) fn skip_byte(text: &mut &[u8], skipped: u8) {
    skip(text, |byte| byte == skipped);
}

fn skip(text: &mut &[u8], skipped: impl Fn(u8) -> bool) {
    let start = text.iter().position(|&byte| !skipped(byte)).unwrap_or(text.len());
    *text = &text[start..];
}

/// The reply of a handler to a read: at most `room` bytes; the rest is lost.
#[derive(Debug)]
pub(super) struct Reply {
    bytes: Vec<u8>,
    room: usize,
}

impl Reply {
    pub(super) fn new(room: usize) -> Self {
        Self { bytes: Vec::new(), room }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() == self.room
    }

    pub(super) fn byte(&mut self, byte: u8) {
        if !self.is_full() {
            self.bytes.push(byte);
        }
    }

    pub(super) fn number(&mut self, Number { negative, magnitude }: Number) {
        let text = format!("{}{magnitude}", if negative { "-" } else { "" });
        let left = self.room - self.bytes.len();
        self.bytes.extend(text.bytes().take(left));
    }

    /// The bytes; advances the position by their number.
    pub(super) fn finish(self, position: &mut i64) -> Vec<u8> {
        *position = position.wrapping_add(self.bytes.len() as i64);
        self.bytes
    }
}

/// A write to a vector: passes each number to `keep` with its index, up to the number of elements. Returns how many bytes
/// were used.
pub(super) fn write_list(
    elements: usize,
    written: Written<'_>,
    position: &mut i64,
    env: &HandlerEnv<'_>,
    mut keep: impl FnMut(usize, Number) -> Result<(), Errno>,
) -> Result<usize, Errno> {
    let count = written.bytes.len();
    if count == 0 || elements == 0 {
        return Ok(0);
    }
    if env.ignores_writes_at(*position) {
        *position = position.wrapping_add(count as i64);
        return Ok(count);
    }
    let mut left = &written.bytes[..count.min(PARSED_BYTES)];
    let mut kept = 0;
    while kept < elements {
        skip_blanks(&mut left);
        if left.is_empty() {
            break;
        }
        keep(kept, take(&mut left, BLANK)?.0)?;
        kept += 1;
    }
    skip_blanks(&mut left);
    if kept == 0 {
        return Err(Errno::EINVAL);
    }
    let returned = count - left.len();
    *position = position.wrapping_add(returned as i64);
    Ok(returned)
}

/// A read of `count` bytes from numbers: separated by tabs and followed by a newline. Nothing if there are none or the
/// position is not 0.
pub(super) fn read_list(
    numbers: impl IntoIterator<Item = Number>,
    count: usize,
    position: &mut i64,
) -> Vec<u8> {
    let mut numbers = numbers.into_iter().peekable();
    if count == 0 || *position != 0 || numbers.peek().is_none() {
        return Vec::new();
    }
    let mut reply = Reply::new(count);
    for (index, number) in numbers.enumerate() {
        if index > 0 {
            reply.byte(b'\t');
        }
        reply.number(number);
    }
    reply.byte(b'\n');
    reply.finish(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_as_proc_get_long_takes_them() {
        type Taken = Result<(i128, usize), Errno>;
        let cases: &[(&[u8], Taken)] = &[
            (b"7", Ok((7, 1))),
            (b"7 8", Ok((7, 1))),
            (b"-7\n", Ok((-7, 2))),
            (b"-0", Ok((0, 2))),
            (b"0x1F\t", Ok((31, 4))),
            (b"0X1f", Ok((31, 4))),
            (b"017", Ok((15, 3))),
            (b"0", Ok((0, 1))),
            (b"00000000000000000001", Ok((1, 20))),
            (b"18446744073709551615", Ok((u64::MAX.into(), 20))),
            (b"18446744073709551616", Err(Errno::EINVAL)),
            // 21 characters are too many, whatever their value.
            (b"000000000000000000001", Err(Errno::EINVAL)),
            (b"000000000000000000001 ", Err(Errno::EINVAL)),
            (b"-00000000000000000001", Err(Errno::EINVAL)),
            (b"-", Err(Errno::EINVAL)),
            (b"--1", Err(Errno::EINVAL)),
            (b"+1", Err(Errno::EINVAL)),
            (b"- 1", Err(Errno::EINVAL)),
            (b"", Err(Errno::EINVAL)),
            (b"x", Err(Errno::EINVAL)),
            (b"0x", Err(Errno::EINVAL)),
            (b"0xg", Err(Errno::EINVAL)),
            (b"08", Err(Errno::EINVAL)),
            (b"1,", Err(Errno::EINVAL)),
            (b"1\0", Err(Errno::EINVAL)),
            (b"1\x0b", Err(Errno::EINVAL)),
            (b"1\xa0", Err(Errno::EINVAL)),
        ];
        for (text, expected) in cases {
            let mut rest = *text;
            let taken = take(&mut rest, BLANK).map(|(Number { negative, magnitude }, _)| {
                let value = i128::from(magnitude);
                (if negative { -value } else { value }, text.len() - rest.len())
            });
            assert_eq!(taken, *expected, "{text:?}");
        }
    }
}
