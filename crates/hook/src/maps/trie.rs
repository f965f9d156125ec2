//! Longest-prefix-match tries: kernel/bpf/lpm_trie.c.

use super::error::{MapError, check_flags};
use super::values::Values;

/// A trie. A key is the length of the prefix in bits, four bytes in the machine's order, and then its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Trie {
    /// Sorted by prefix; few enough to be looked through.
    entries: Vec<(Vec<u8>, u32)>,
    pub(super) values: Values,
    max_entries: usize,
    max_bits: u32,
}

impl Trie {
    pub(super) fn new(key_size: usize, value_size: usize, max_entries: usize) -> Self {
        let max_bits = key_size.saturating_sub(4) as u32 * 8;
        Self { entries: Vec::new(), values: Values::zeroed(value_size, 0), max_entries, max_bits }
    }

    fn find_exact(&self, key: &[u8]) -> Option<usize> {
        self.entries.iter().position(|(prefix, _)| bits(prefix) == bits(key) && covers(prefix, key))
    }

    /// The place of the value of the longest prefix of `key`.
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        if bits(key) > self.max_bits {
            return None;
        }
        let matching = self.entries.iter().filter(|(prefix, _)| covers(prefix, key));
        matching.max_by_key(|(prefix, _)| bits(prefix)).map(|(_, slot)| *slot)
    }

    pub(super) fn update(&mut self, key: &[u8], value: &[u8], flags: u64) -> Result<(), MapError> {
        if bits(key) > self.max_bits {
            return Err(MapError::Invalid);
        }
        let found = self.find_exact(key);
        check_flags(flags, found.is_some())?;
        if let Some(index) = found {
            let slot = self.entries[index].1;
            self.values.get_mut(slot).copy_from_slice(value);
            return Ok(());
        }
        if self.entries.len() >= self.max_entries {
            return Err(MapError::NoSpace);
        }
        let slot = self.values.insert(value);
        let index = self.entries.partition_point(|(prefix, _)| prefix[4..] < key[4..]);
        self.entries.insert(index, (key.to_vec(), slot));
        Ok(())
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> Result<(), MapError> {
        if bits(key) > self.max_bits {
            return Err(MapError::Invalid);
        }
        let index = self.find_exact(key).ok_or(MapError::NoEntry)?;
        let (_, slot) = self.entries.remove(index);
        self.values.remove(slot);
        Ok(())
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8], u32)> {
        self.entries.iter().map(|(key, slot)| (key.as_slice(), *slot))
    }
}

fn bits(key: &[u8]) -> u32 {
    key.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Whether `prefix` is one of `key`.
fn covers(prefix: &[u8], key: &[u8]) -> bool {
    let length = bits(prefix);
    if length > bits(key) {
        return false;
    }
    let whole = length as usize / 8;
    let rest = length % 8;
    let (prefix, key) = (&prefix[4..], &key[4..]);
    prefix[..whole] == key[..whole] && (rest == 0 || (prefix[whole] ^ key[whole]) >> (8 - rest) == 0)
}
