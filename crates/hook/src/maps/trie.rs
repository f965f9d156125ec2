//! Longest-prefix-match tries: kernel/bpf/lpm_trie.c.

use super::error::{MapError, check_flags};
use super::values::Values;

/// A trie. A key is the length of the prefix in bits, four bytes in the machine's order, and then its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Trie {
    /// Sorted by key; few enough for a linear search.
    entries: Vec<(Vec<u8>, u32)>,
    pub(super) values: Values,
    max_entries: usize,
    max_bits: u32,
}

impl Trie {
    pub(super) fn new(key_size: usize, values: Values, max_entries: usize) -> Self {
        let max_bits = key_size.saturating_sub(4) as u32 * 8;
        Self { entries: Vec::new(), values, max_entries, max_bits }
    }

    fn find_exact(&self, key: &[u8]) -> Option<usize> {
        self.entries.iter().position(|(prefix, _)| bits(prefix) == bits(key) && covers(prefix, key))
    }

    /// The entry of the longest prefix of `key`.
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        if bits(key) > self.max_bits {
            return None;
        }
        let matching = self.entries.iter().filter(|(prefix, _)| covers(prefix, key));
        matching.max_by_key(|(prefix, _)| bits(prefix)).map(|(_, entry)| *entry)
    }

    /// Whether an update of `key` takes more memory.
    pub(super) fn adds(&self, key: &[u8]) -> bool {
        let has_room = self.values.is_full() && self.entries.len() < self.max_entries;
        has_room && bits(key) <= self.max_bits && self.find_exact(key).is_none()
    }

    /// The entry of exactly this prefix that an update writes to.
    pub(super) fn entry(&mut self, key: &[u8], flags: u64) -> Result<u32, MapError> {
        if bits(key) > self.max_bits {
            return Err(MapError::Invalid);
        }
        let found = self.find_exact(key);
        check_flags(flags, found.is_some())?;
        // The bits after the prefix are those of the last update.
        let entry = match found {
            Some(index) => self.entries.remove(index).1,
            None if self.entries.len() >= self.max_entries => return Err(MapError::NoSpace),
            None => self.values.insert(),
        };
        let index = self.entries.partition_point(|(prefix, _)| prefix[..] < *key);
        self.entries.insert(index, (key.to_vec(), entry));
        Ok(entry)
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> Result<(), MapError> {
        if bits(key) > self.max_bits {
            return Err(MapError::Invalid);
        }
        let index = self.find_exact(key).ok_or(MapError::NoEntry)?;
        let (_, entry) = self.entries.remove(index);
        self.values.remove(entry);
        Ok(())
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8], u32)> {
        self.entries.iter().map(|(key, entry)| (key.as_slice(), *entry))
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
