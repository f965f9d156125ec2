//! Which of some keys a string may still become.

use std::collections::BTreeSet;

use foldhash::HashMap;

/// The prefixes of a set of keys, as an automaton.
#[derive(Debug)]
pub(super) struct Trie {
    /// Each prefix, and whether it is a key. The first one is empty.
    prefixes: Vec<(Vec<u8>, bool)>,
    after: HashMap<(usize, u8), usize>,
}

/// What a string has in common with the keys: the number of a prefix, or none if no key starts with the string.
pub(super) type Prefix = Option<usize>;

impl Trie {
    /// The empty string.
    pub(super) const START: Prefix = Some(0);

    /// The trie of `keys`, which are not empty.
    pub(super) fn new(keys: &BTreeSet<Vec<u8>>) -> Self {
        let mut trie = Self { prefixes: vec![(Vec::new(), false)], after: HashMap::default() };
        for key in keys {
            let mut at = 0;
            for (index, &byte) in key.iter().enumerate() {
                at = *trie.after.entry((at, byte)).or_insert_with(|| {
                    trie.prefixes.push((key[..=index].to_vec(), false));
                    trie.prefixes.len() - 1
                });
            }
            trie.prefixes[at].1 = true;
        }
        trie
    }

    /// The string with `byte` appended.
    pub(super) fn after(&self, prefix: Prefix, byte: u8) -> Prefix {
        self.after.get(&(prefix?, byte)).copied()
    }

    /// The key that the string is, if it is one.
    pub(super) fn key(&self, prefix: Prefix) -> Option<&[u8]> {
        let (key, is_key) = &self.prefixes[prefix?];
        is_key.then_some(key)
    }

    /// The first byte of each range that no key divides.
    pub(super) fn byte_ranges(&self) -> BTreeSet<u8> {
        self.after.keys().flat_map(|&(_, byte)| [Some(byte), byte.checked_add(1)]).flatten().collect()
    }
}
