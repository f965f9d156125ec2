//! Numbers for keys, as far as there is room.

use foldhash::HashMap;

/// What an entry takes beside its texts: the entry, its key's allocation, and its places in the tables.
const ENTRY_BYTES: usize = 256;

/// Entries by their keys. What finds no room has no entry.
#[derive(Debug)]
pub(crate) struct Interner<T> {
    by_key: HashMap<Box<[u8]>, u32>,
    entries: Vec<T>,
    /// How many bytes are left.
    room: usize,
}

impl<T> Interner<T> {
    /// With room for so many bytes.
    pub(crate) fn new(room: usize) -> Self {
        Self { by_key: HashMap::default(), entries: Vec::new(), room }
    }

    /// The number of the entry with this key. If there is none, it is made with its number of bytes, and added if there is room.
    pub(crate) fn number(&mut self, key: &[u8], make: impl FnOnce() -> (T, usize)) -> Option<u32> {
        if let Some(&number) = self.by_key.get(key) {
            return Some(number);
        }
        let without_texts = ENTRY_BYTES + key.len();
        if self.room < without_texts {
            return None;
        }
        let (entry, texts) = make();
        self.room = self.room.checked_sub(without_texts + texts)?;
        let number = u32::try_from(self.entries.len()).ok()?;
        self.by_key.insert(key.into(), number);
        self.entries.push(entry);
        Some(number)
    }

    pub(crate) fn entry(&mut self, number: u32) -> &mut T {
        &mut self.entries[number as usize]
    }

    pub(crate) fn into_entries(self) -> Vec<T> {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_has_no_number() {
        let mut interner = Interner::new(3 * (ENTRY_BYTES + 2));
        let mut number = |key: &str, texts| interner.number(key.as_bytes(), || (key.to_owned(), texts));
        assert_eq!(number("a", 1), Some(0));
        assert_eq!(number("b", 1), Some(1));
        assert_eq!(number("long", 10_000), None);
        assert_eq!(number("c", 1), Some(2));
        assert_eq!(number("d", 0), None);
        assert_eq!(number("a", 1), Some(0));
        assert_eq!(interner.into_entries(), ["a", "b", "c"]);
    }
}
