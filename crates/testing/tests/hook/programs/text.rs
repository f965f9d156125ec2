//! Helpers for text: comparing and printing.

use knobgate_bpf::{Reg, Size, helper_ids};

use super::{INPUT_BYTES, INPUTS, STRINGS, Sketch, TEXTS};

/// Strings to compare with, and formats, each in so many bytes.
const STRING_BYTES: usize = 32;
const COMPARED: [&str; 8] = ["net", "kernel/hostname", "", "1", "0", "-", "tcp_rmem", "4096"];
/// An argument of a format.
#[derive(Clone, Copy)]
enum Argument {
    /// Any number.
    Number,
    /// A null pointer, or an error instead of one. Of others, the kernel prints a hash.
    NoAddress,
    /// A pointer to some text, with at least 16 bytes.
    Text,
}
use Argument::{NoAddress, Number, Text};

/// Formats with what they print.
const FORMATS: &[(&str, &[Argument])] = &[
    ("", &[]),
    ("%d", &[Number]),
    ("<%5d|%-5u|%05d>", &[Number; 3]),
    ("%lld %llu", &[Number; 2]),
    ("%x %X %lx", &[Number; 3]),
    ("%+d% d%+lld", &[Number; 3]),
    ("100%% of %d", &[Number]),
    ("%c%c%3c.", &[Number; 3]),
    ("%016llx", &[Number]),
    ("%-20lld!", &[Number]),
    ("%20lld", &[Number]),
    ("%i%i%i%i", &[Number; 4]),
    ("%-05d|%0 6i|%+ 4d", &[Number; 3]),
    ("%600d", &[Number]),
    ("%s|%6s|%-6s|", &[Text; 3]),
    ("%s%s%s%d", &[Text, NoAddress, Text, Number]),
    ("%c%s%lx", &[Number, Text, Number]),
    ("%pI4 %pi4", &[Text; 2]),
    ("%pI6|%pi6", &[Text; 2]),
    ("%pI4 %20pI6 %d", &[NoAddress, Text, Number]),
    ("%px %20px %-20px|", &[Number; 3]),
    ("%p %pK %24p|%-18p|", &[NoAddress; 4]),
    ("%ps %pS %pB %30pS %30pB", &[NoAddress; 5]),
    ("%pks %pus %9pks", &[Text, NoAddress, Text]),
    ("%p,%px", &[NoAddress, Number]),
    // What comes after a text that is cut off is read from that text.
    ("%pB%d%x", &[NoAddress, Number, Number]),
    ("%c%pI4 %pi4 %d", &[Number, Text, Text, Number]),
];

/// What formats are made of at random.
const FORMAT_BYTES: &[u8] = b"%%%%%%%%ppppppddllsscxXuiIiKBkSu46046 +-509|,\tnAz\xc3\xa4\x7f\x01";

/// What is in the map of strings, which nobody can change.
pub(super) fn strings() -> Vec<u8> {
    let texts = COMPARED.into_iter().chain(FORMATS.iter().map(|(format, _)| *format));
    texts
        .flat_map(|text| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(STRING_BYTES, 0);
            bytes
        })
        .collect()
}

impl Sketch<'_> {
    pub(super) fn text(&mut self) {
        // Kernels without the fixes of these years let "%p%" pass, and read arguments that are not there (CVE-2025-38528).
        let fixed = self.profile.non_ascii_formats;
        if fixed && self.has(helper_ids::TRACE_VPRINTK) && self.random.one_in(3) {
            self.any_format();
        } else if self.has(helper_ids::STRNCMP) && self.random.one_in(2) {
            let bytes = self.some_text(Reg::R1);
            self.asm.mov(Reg::R2, bytes as i32);
            let which = self.random.below(COMPARED.len() as u64) as u32;
            self.asm.load_map_value(Reg::R3, STRINGS, which * STRING_BYTES as u32);
            self.asm.call_helper(helper_ids::STRNCMP);
        } else {
            let which = self.random.below(FORMATS.len() as u64) as usize;
            let arguments = FORMATS[which].1;
            for (index, argument) in arguments.iter().enumerate() {
                match argument {
                    Number => self.load_input(Reg::R0),
                    NoAddress => {
                        let number = self.random.pick(&[0, 0, -1, -4095]);
                        self.asm.mov(Reg::R0, number);
                    }
                    Text => {
                        let at = self.random.below(u64::from(INPUT_BYTES - TEXTS - 16)) as u32;
                        self.asm.load_map_value(Reg::R0, INPUTS, TEXTS + at);
                    }
                }
                self.asm.store(Size::U64, Reg::R10, -64 + 8 * index as i16, Reg::R0);
            }
            let most = if self.random.one_in(2) { 40 } else { 120 };
            let size = self.random.below(most) as u32;
            self.buffer(Reg::R1, size.max(1));
            self.asm.mov(Reg::R2, size as i32);
            let place = (COMPARED.len() + which) * STRING_BYTES;
            self.asm.load_map_value(Reg::R3, STRINGS, place as u32);
            self.stack_address(Reg::R4, -64);
            self.asm.mov(Reg::R5, 8 * arguments.len() as i32);
            self.asm.call_helper(helper_ids::SNPRINTF);
        }
        self.keep(Reg::R0);
    }

    /// A format that may be invalid: `bpf_trace_vprintk` returns the length of the text, or `EINVAL`.
    fn any_format(&mut self) {
        const BYTES: usize = 16;
        let mut format = [0; BYTES];
        let len = 1 + self.random.below(BYTES as u64 - 1) as usize;
        for byte in &mut format[..len] {
            *byte = self.random.pick(FORMAT_BYTES);
        }
        for (offset, word) in (-96..).step_by(8).zip(format.as_chunks().0) {
            self.asm.load_imm64(Reg::R0, u64::from_le_bytes(*word));
            self.asm.store(Size::U64, Reg::R10, offset, Reg::R0);
        }
        for offset in [-64, -56, -48] {
            let number = self.random.pick(&[0, 0, -1, -4095]);
            self.asm.mov(Reg::R0, number);
            self.asm.store(Size::U64, Reg::R10, offset, Reg::R0);
        }
        self.stack_address(Reg::R1, -96);
        // Sometimes without the NUL.
        let size = if self.random.one_in(16) { len as i32 } else { BYTES as i32 };
        self.asm.mov(Reg::R2, size);
        self.stack_address(Reg::R3, -64);
        let arguments = self.random.pick(&[0, 8, 16, 24, 24, 24, 20]);
        self.asm.mov(Reg::R4, arguments);
        self.asm.call_helper(helper_ids::TRACE_VPRINTK);
    }
}
