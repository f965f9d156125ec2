//! Hash maps, including LRU maps: kernel/bpf/hashtab.c.

use std::collections::BTreeMap;

use super::error::{MapError, check_flags};
use super::values::Values;

/// A hash map. Its entries are ordered by key, while the kernel's order is random.
#[derive(Debug, Clone)]
pub(crate) struct Hash {
    entries: BTreeMap<Vec<u8>, Entry>,
    pub(super) values: Values,
    max_entries: usize,
    /// For an LRU map: when each entry was last used.
    clock: Option<u64>,
    /// The spare entry for replacing another one (`extra_elems`). Per-CPU maps change values in place, and have none.
    spare: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    number: u32,
    used: u64,
}

impl Hash {
    pub(super) fn new(mut values: Values, max_entries: usize, evicts: bool, replaces: bool) -> Self {
        let spare = replaces.then(|| values.insert());
        Self { entries: BTreeMap::new(), values, max_entries, clock: evicts.then_some(0), spare }
    }

    fn tick(&mut self) -> u64 {
        self.clock.as_mut().map_or(0, |clock| {
            *clock += 1;
            *clock
        })
    }

    /// The entry of `key`, for a program: this counts as use.
    pub(super) fn lookup(&mut self, key: &[u8]) -> Option<u32> {
        let used = self.tick();
        let entry = self.entries.get_mut(key)?;
        entry.used = used;
        Some(entry.number)
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        self.entries.get(key).map(|entry| entry.number)
    }

    /// Whether an update of `key` takes more memory.
    pub(super) fn adds(&self, key: &[u8]) -> bool {
        self.values.is_full() && self.entries.len() < self.max_entries && self.find(key).is_none()
    }

    /// The entry of `key` that an update writes to.
    pub(super) fn entry(&mut self, key: &[u8], flags: u64) -> Result<u32, MapError> {
        check_flags(flags, self.find(key).is_some())?;
        let used = self.tick();
        if let Some(entry) = self.entries.get_mut(key) {
            // Replacing a value counts as use.
            entry.used = used;
            if let Some(spare) = &mut self.spare {
                std::mem::swap(spare, &mut entry.number);
            }
            return Ok(entry.number);
        }
        if self.entries.len() >= self.max_entries {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            match oldest {
                Some(oldest) if self.clock.is_some() => self.delete(&oldest)?,
                _ => return Err(MapError::TooBig),
            }
        }
        let number = self.values.insert();
        self.entries.insert(key.to_vec(), Entry { number, used });
        Ok(number)
    }

    /// The same for an update that holds the lock in the value: of an entry that exists, it changes the value itself.
    pub(super) fn entry_in_place(&mut self, key: &[u8], flags: u64) -> Result<u32, MapError> {
        check_flags(flags, self.find(key).is_some())?;
        match self.lookup(key) {
            Some(entry) => Ok(entry),
            None => self.entry(key, flags),
        }
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> Result<(), MapError> {
        let entry = self.entries.remove(key).ok_or(MapError::NoEntry)?;
        self.values.remove(entry.number);
        Ok(())
    }

    /// The entry after `key`, or the first one.
    pub(super) fn next(&self, key: Option<&[u8]>) -> Option<(Vec<u8>, u32)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = key.map_or(Unbounded, Excluded);
        let (key, entry) = self.entries.range::<[u8], _>((after, Unbounded)).next()?;
        Some((key.clone(), entry.number))
    }
}
