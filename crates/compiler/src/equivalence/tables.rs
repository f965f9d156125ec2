//! The tables as code reads them.

use std::collections::BTreeSet;

use crate::layout::{Hash, LAST_MULTIPLIER, Layout, Lookup, PlacedDfa};

/// The bytes of the tables, and the masks of all that is read from them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) layout: &'a Layout<'a>,
}

/// A name that a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// The row of its step.
    pub(super) row: u32,
    /// For a last component: the offset of the slot of the only name that has it, or 0.
    pub(super) only_slot: u32,
}

impl Tables<'_> {
    /// All names that a search may find: it compares all of a name with one of these.
    pub(super) fn keys(self, lookup: &Lookup) -> BTreeSet<Vec<u8>> {
        match lookup {
            Lookup::Tree { names, .. } => names.iter().filter_map(|(words, _)| name(words)).collect(),
            Lookup::Hash(hash) => {
                let slots = 1 << (u64::BITS - hash.hash.slot_shift());
                (0..slots).filter_map(|slot| self.key_in_slot(hash, slot_offset(hash, slot))).collect()
            }
        }
    }

    /// The name in a slot.
    pub(super) fn key_in_slot(self, hash: &Hash, slot: u32) -> Option<Vec<u8>> {
        name(&self.words_in_slot(hash, slot))
    }

    /// Searches for a name.
    pub(super) fn find(self, lookup: &Lookup, name: &[u8]) -> Option<Found> {
        match lookup {
            Lookup::Tree { words, names } => {
                let needle = needle(name, *words)?;
                let (_, target) = names.iter().find(|(words, _)| *words == needle)?;
                let row = self.layout.step(target.step).row;
                Some(Found { row, only_slot: target.encoded_slot() })
            }
            Lookup::Hash(hash) => {
                self.find_in_slot(hash, self.slot_of(hash, &needle(name, hash.words)?), name)
            }
        }
    }

    /// Compares a name with the one in a slot.
    pub(super) fn find_in_slot(self, hash: &Hash, slot: u32, name: &[u8]) -> Option<Found> {
        let target = self.slot_at(slot) + 8 * hash.words;
        (self.words_in_slot(hash, slot) == needle(name, hash.words)?)
            .then(|| Found { row: self.u32_at(target), only_slot: self.u32_at(target + 4) })
    }

    /// The class of a byte.
    pub(super) fn class(self, dfa: PlacedDfa, byte: u8) -> u8 {
        self.bytes[(dfa.classes & self.layout.facts.byte_mask) as usize + usize::from(byte)]
    }

    /// The state after a byte.
    pub(super) fn next_state(self, dfa: PlacedDfa, state: u32, byte: u8) -> u32 {
        let entry = (state + u32::from(self.class(dfa, byte))) & self.layout.facts.entry_mask;
        self.u32_at(4 * (entry as usize + 1))
    }

    /// The output of a state.
    pub(super) fn output(self, state: u32) -> u32 {
        self.u32_at(4 * (state & self.layout.facts.entry_mask) as usize)
    }

    fn slot_of(self, placed: &Hash, needle: &[u64]) -> u32 {
        let Hash { hash, buckets, .. } = placed;
        let fold = |word: u64| word ^ (word >> 32);
        let sum = (needle.iter().zip(&hash.multipliers))
            .fold(0u64, |sum, (&word, &multiplier)| sum.wrapping_add(fold(word).wrapping_mul(multiplier)));
        let sum = fold(sum).wrapping_mul(LAST_MULTIPLIER);
        let multiplier = self.u64_at(*buckets as usize + 8 * (sum >> hash.bucket_shift()) as usize);
        slot_offset(placed, sum.wrapping_mul(multiplier) >> hash.slot_shift())
    }

    fn words_in_slot(self, hash: &Hash, slot: u32) -> Vec<u64> {
        (0..hash.words).map(|word| self.u64_at(self.slot_at(slot) + 8 * word)).collect()
    }

    fn slot_at(self, slot: u32) -> usize {
        (slot & self.layout.facts.offset_mask) as usize
    }

    fn u32_at(self, offset: usize) -> u32 {
        u32::from_le_bytes(self.bytes[offset..offset + 4].try_into().expect("four bytes"))
    }

    fn u64_at(self, offset: usize) -> u64 {
        u64::from_le_bytes(self.bytes[offset..offset + 8].try_into().expect("eight bytes"))
    }
}

/// Where in the tables a slot is.
fn slot_offset(hash: &Hash, slot: u64) -> u32 {
    hash.slots + slot as u32 * hash.stride() as u32
}

/// The words of a name, followed by zeros. None if it is too long for that many words with the NUL that ends it.
fn needle(name: &[u8], words: usize) -> Option<Vec<u64>> {
    let mut padded = name.to_vec();
    padded.resize((name.len() < 8 * words).then_some(8 * words)?, 0);
    Some(padded.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect())
}

/// The name with these words. None if no name has them.
pub(super) fn name(words: &[u64]) -> Option<Vec<u8>> {
    let mut name: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    name.truncate(name.iter().rposition(|&byte| byte != 0)? + 1);
    (!name.contains(&0)).then_some(name)
}
