//! Helpers for text: comparing and printing.

use knobgate_bpf::{Reg, Size, helper_ids};

use super::{STRINGS, Sketch};

/// Strings to compare with, and formats, each in so many bytes.
const STRING_BYTES: usize = 32;
const COMPARED: [&str; 8] = ["net", "kernel/hostname", "", "1", "0", "-", "tcp_rmem", "4096"];
/// Formats with how many numbers they print.
const FORMATS: [(&str, i32); 12] = [
    ("", 0),
    ("%d", 1),
    ("<%5d|%-5u|%05d>", 3),
    ("%lld %llu", 2),
    ("%x %X %lx", 3),
    ("%+d% d%+lld", 3),
    ("100%% of %d", 1),
    ("%c%c%3c.", 3),
    ("%016llx", 1),
    ("%-20lld!", 1),
    ("%20lld", 1),
    ("%i%i%i%i", 4),
];

/// What is in the map of strings, which nobody can change.
pub(super) fn strings() -> Vec<u8> {
    let texts = COMPARED.into_iter().chain(FORMATS.map(|(format, _)| format));
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
        if self.has(helper_ids::STRNCMP) && self.random.one_in(2) {
            let bytes = self.some_text(Reg::R1);
            self.asm.mov(Reg::R2, bytes as i32);
            let which = self.random.below(COMPARED.len() as u64) as u32;
            self.asm.load_map_value(Reg::R3, STRINGS, which * STRING_BYTES as u32);
            self.asm.call_helper(helper_ids::STRNCMP);
        } else {
            let which = self.random.below(FORMATS.len() as u64) as usize;
            let numbers = FORMATS[which].1;
            for index in 0..numbers {
                self.load_input(Reg::R0);
                self.asm.store(Size::U64, Reg::R10, -64 + 8 * index as i16, Reg::R0);
            }
            let size = self.random.below(40) as u32;
            self.buffer(Reg::R1, size.max(1));
            self.asm.mov(Reg::R2, size as i32);
            let place = (COMPARED.len() + which) * STRING_BYTES;
            self.asm.load_map_value(Reg::R3, STRINGS, place as u32);
            self.stack_address(Reg::R4, -64);
            self.asm.mov(Reg::R5, 8 * numbers);
            self.asm.call_helper(helper_ids::SNPRINTF);
        }
        self.keep(Reg::R0);
    }
}
