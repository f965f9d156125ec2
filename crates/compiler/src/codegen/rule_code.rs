//! What the code of one rule goes by: its constants, and where it leads if the rule cannot be evaluated.

use knobgate_bpf::Reg::R9;
use knobgate_bpf::{Reg, Size};

use super::code::{Code, Counted, LazyLabel};
use crate::ir::{Bytes, Slot};

/// The code of one rule.
pub(super) struct RuleCode<'a> {
    pub(super) constants: RuleConstants<'a>,
    /// Where it goes if the rule cannot be evaluated.
    pub(super) cannot_evaluate: LazyLabel,
}

/// Where the constants of a rule are, and where it counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum RuleConstants<'a> {
    /// The code is for one rule, which has these constants, and counts at this offset.
    InCode { words: &'a [u64], counter: u32 },
    /// They start at this offset of the row in R9, which says where to count.
    InRow { at: i16 },
}

impl RuleConstants<'_> {
    /// Those after the first `count`.
    pub(super) fn skip(self, count: usize) -> Self {
        match self {
            Self::InCode { words, counter } => Self::InCode { words: &words[count..], counter },
            Self::InRow { at } => Self::InRow { at: at + 8 * count as i16 },
        }
    }

    /// Loads a constant.
    pub(super) fn load(self, code: &mut Code<'_>, into: Reg, slot: Slot) {
        match self {
            Self::InCode { words, .. } => code.asm.load_imm64(into, words[slot.0]),
            Self::InRow { at } => code.asm.load(Size::U64, into, R9, at + 8 * slot.0 as i16),
        }
    }

    /// Loads so many of `bytes`, from `at` on.
    pub(super) fn load_bytes(self, code: &mut Code<'_>, into: Reg, bytes: Bytes, at: usize, size: Size) {
        match self {
            Self::InCode { words, .. } => {
                let shifted = words[bytes.first.0 + at / 8] >> (8 * (at % 8));
                let unused = 64 - 8 * u32::from(size.bytes() as u8);
                code.asm.load_imm64(into, shifted << unused >> unused);
            }
            Self::InRow { at: first } => {
                code.asm.load(size, into, R9, first + (8 * bytes.first.0 + at) as i16);
            }
        }
    }

    /// Counts for the rule.
    pub(super) fn count(self, code: &mut Code<'_>, counted: Counted) {
        match self {
            Self::InCode { counter, .. } => code.count(counter, counted),
            Self::InRow { .. } => code.count_by_row(counted),
        }
    }
}

impl<'a> RuleCode<'a> {
    pub(super) fn new(constants: RuleConstants<'a>) -> Self {
        Self { constants, cannot_evaluate: LazyLabel::default() }
    }
}
