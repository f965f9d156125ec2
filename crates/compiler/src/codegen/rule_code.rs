//! What the code of one rule needs: its constants, and where to go if the rule cannot be evaluated.

use knobgate_bpf::Reg::R9;
use knobgate_bpf::{Reg, Size};

use super::code::{Code, CounterSource, LazyLabel};
use crate::ir::{Bytes, Reports, Slot};

/// The code of one rule.
pub(super) struct RuleCode<'a> {
    pub(super) constants: RuleConstants<'a>,
    /// For which verdicts it sends an event.
    pub(super) reports: Reports,
    /// Where to go if the rule cannot be evaluated.
    pub(super) cannot_evaluate: LazyLabel,
}

/// The constants of a rule, and its counters.
#[derive(Debug, Clone, Copy)]
pub(super) enum RuleConstants<'a> {
    /// The code is for one rule. It has these constants, and its counters are at this offset.
    InCode { words: &'a [u64], counter: u32 },
    /// The constants start at this offset of the row in R9, which also has the offset of the counters.
    InRow { at: i16 },
}

impl RuleConstants<'_> {
    /// The constants after the first `count`.
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

    /// Loads `size` bytes of `bytes`, from `at` on.
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

    /// Where the offset of the rule's counters is.
    pub(super) fn counters(self) -> CounterSource {
        match self {
            Self::InCode { counter, .. } => CounterSource::Constant(counter),
            Self::InRow { .. } => CounterSource::Row,
        }
    }
}

impl<'a> RuleCode<'a> {
    pub(super) fn new(constants: RuleConstants<'a>, reports: Reports) -> Self {
        Self { constants, reports, cannot_evaluate: LazyLabel::default() }
    }

    /// The rest of the same rule, which has these constants.
    pub(super) fn continued(self, constants: RuleConstants<'a>) -> Self {
        Self { constants, ..self }
    }
}
