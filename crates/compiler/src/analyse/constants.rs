//! The constants of a rule, while they are hoisted out of it.

use crate::ir::{Bytes, Constant, Integer, Slot};

/// The constants so far.
#[derive(Debug, Default)]
pub(super) struct Constants(pub(super) Vec<Constant>);

impl Constants {
    pub(super) fn slot(&mut self, constant: Constant) -> Slot {
        self.0.push(constant);
        Slot(self.0.len() - 1)
    }

    pub(super) fn integer(&mut self, integer: knobgate_policy::Integer) -> Integer {
        Integer { slot: self.slot(Constant::Word(integer.low_bits())), is_negative: integer.is_negative() }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Bytes {
        self.padded(bytes, bytes.len())
    }

    /// The bytes, followed by zeros up to `len`.
    pub(super) fn padded(&mut self, bytes: &[u8], len: usize) -> Bytes {
        let first = Slot(self.0.len());
        let mut padded = bytes.to_vec();
        padded.resize(len.next_multiple_of(8), 0);
        let words = padded.as_chunks().0.iter().map(|word| Constant::Word(u64::from_le_bytes(*word)));
        self.0.extend(words);
        Bytes { len, first }
    }
}
