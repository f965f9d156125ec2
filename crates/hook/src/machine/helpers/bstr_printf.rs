//! Printing: `bstr_printf()` in lib/vsprintf.c.

use super::bprintf::{BinArgs, Conversion, Directive, Piece};

/// What is printed for an address that is not shown. The kernel prints a hash of it, of the same length; and this, until its
/// key for hashes is ready (`ptr_to_id()`).
const PTRVAL: &[u8] = b"(____ptrval____)";
/// Digits of a pointer, and the most of a text instead of one.
const POINTER_DIGITS: usize = 16;
/// `MAX_ERRNO`: addresses above are error numbers, which are not hashed.
const ERRORS: u64 = 4095_u64.wrapping_neg();

/// The formatted text, as far as there is room for it.
pub(super) struct Printed {
    /// The text, without a NUL.
    pub(super) text: Vec<u8>,
    /// How long it would be.
    pub(super) len: u64,
}

/// Prints into so many bytes, of which the last one is for a NUL.
pub(super) fn bstr_printf(size: usize, pieces: &[Piece], arguments: &BinArgs) -> Printed {
    let mut output = Output { size, text: Vec::new(), len: 0 };
    let mut arguments = Reader { arguments, at: 0 };
    for piece in pieces {
        match piece {
            Piece::Byte(byte) => output.push(&[*byte]),
            Piece::Argument(directive) => directive.print(&mut output, &mut arguments),
        }
    }
    output.text.truncate(size.saturating_sub(1));
    Printed { text: output.text, len: output.len }
}

struct Output {
    size: usize,
    text: Vec<u8>,
    len: u64,
}

struct Reader<'a> {
    arguments: &'a BinArgs,
    at: usize,
}

impl Output {
    fn push(&mut self, bytes: &[u8]) {
        let room = self.size.saturating_sub(self.text.len());
        self.text.extend(&bytes[..bytes.len().min(room)]);
        self.len += bytes.len() as u64;
    }

    fn repeat(&mut self, byte: u8, count: usize) {
        let room = self.size.saturating_sub(self.text.len());
        self.text.extend(std::iter::repeat_n(byte, count.min(room)));
        self.len += count as u64;
    }

    fn is_full(&self) -> bool {
        self.len >= self.size as u64
    }
}

impl Reader<'_> {
    /// The next bytes at this alignment. After a text that was skipped because the output is full, these are other
    /// arguments'.
    fn take<const N: usize>(&mut self, align: usize) -> [u8; N] {
        let start = self.at.next_multiple_of(align);
        self.at = start + N;
        let mut taken = [0; N];
        for (place, byte) in taken.iter_mut().zip(self.arguments.bytes.iter().skip(start)) {
            *place = *byte;
        }
        taken
    }

    fn string(&mut self) -> Vec<u8> {
        let rest = self.arguments.bytes.get(self.at..).unwrap_or_default();
        let text = rest.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        self.at += text.len() + 1;
        text
    }

    /// The next pointer; `None` if it has no address here.
    fn pointer(&mut self) -> Option<u64> {
        let bytes = self.take(4);
        let has_address = !self.arguments.without_address.contains(&(self.at - 8));
        has_address.then_some(u64::from_le_bytes(bytes))
    }
}

impl Directive {
    fn print(&self, output: &mut Output, arguments: &mut Reader<'_>) {
        match self.conversion {
            Conversion::Number { long, letter } => {
                let bits = if long {
                    u64::from_le_bytes(arguments.take(4))
                } else if matches!(letter, b'd' | b'i') {
                    i64::from(i32::from_le_bytes(arguments.take(4))) as u64
                } else {
                    u32::from_le_bytes(arguments.take(4)).into()
                };
                self.number(output, bits, letter);
            }
            Conversion::Char => {
                let [byte] = arguments.take(1);
                self.string(output, &[byte]);
            }
            Conversion::Str => {
                let text = arguments.string();
                self.string(output, &text);
            }
            Conversion::Text(_) => {
                if !output.is_full() {
                    output.push(&arguments.string());
                }
            }
            Conversion::Pointer => match arguments.pointer() {
                Some(address) if address == 0 || address >= ERRORS => self.pointer_digits(output, address),
                _ => self.string(output, PTRVAL),
            },
            Conversion::PointerHex => match arguments.pointer() {
                Some(address) => self.pointer_digits(output, address),
                None => self.string(output, PTRVAL),
            },
            // There are no symbols here, and the kernel shows other addresses like this.
            Conversion::Symbol => match arguments.pointer() {
                Some(address) => self.string(output, format!("{address:#x}").as_bytes()),
                None => self.string(output, PTRVAL),
            },
        }
    }

    /// `pointer_string()`
    fn pointer_digits(&self, output: &mut Output, address: u64) {
        let all = self.width.is_none();
        let width = self.width.or(Some(POINTER_DIGITS));
        Self { width, zero: self.zero || all, ..*self }.number(output, address, b'x');
    }

    /// `number()`
    fn number(&self, output: &mut Output, bits: u64, letter: u8) {
        let signed = bits as i64;
        let (sign, digits) = match letter {
            b'd' | b'i' => {
                let sign = match signed {
                    ..0 => "-",
                    _ if self.plus => "+",
                    _ if self.space => " ",
                    _ => "",
                };
                (sign, signed.unsigned_abs().to_string())
            }
            b'u' => ("", bits.to_string()),
            b'x' => ("", format!("{bits:x}")),
            _ => ("", format!("{bits:X}")),
        };
        let padding = self.width.unwrap_or(0).saturating_sub(sign.len() + digits.len());
        let (before, zeros, after) = match (self.left, self.zero) {
            (true, _) => (0, 0, padding),
            (false, true) => (0, padding, 0),
            (false, false) => (padding, 0, 0),
        };
        output.repeat(b' ', before);
        output.push(sign.as_bytes());
        output.repeat(b'0', zeros);
        output.push(digits.as_bytes());
        output.repeat(b' ', after);
    }

    /// `string_nocheck()`
    fn string(&self, output: &mut Output, text: &[u8]) {
        let padding = self.width.unwrap_or(0).saturating_sub(text.len());
        let (before, after) = if self.left { (0, padding) } else { (padding, 0) };
        output.repeat(b' ', before);
        output.push(text);
        output.repeat(b' ', after);
    }
}
