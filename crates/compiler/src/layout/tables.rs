//! The tables of a program, together in one read-only map: automata, sorted numbers, hashes, nodes and rows.

use foldhash::HashMap;
use knobgate_glob::Dfa;

/// The tables. Code that reads them depends on their total size, so it is emitted when all are in place.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    bytes: Vec<u8>,
    dfas: HashMap<Dfa, PlacedDfa>,
}

/// The place of a DFA: 256 bytes that map a byte to its class, and then a row for each state, with its output and the next
/// state for every class, 4 bytes each. A state is the index of the first entry of its row, counted from the start of the
/// tables, so that a step is one addition and one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlacedDfa {
    /// The offset of its classes, in bytes.
    pub(crate) classes: u32,
    /// The state in which a run starts.
    pub(crate) start: u32,
}

impl Tables {
    /// Places `dfa`. Equal ones are kept once.
    pub(crate) fn place_dfa(&mut self, dfa: &Dfa) -> PlacedDfa {
        if let Some(&placed) = self.dfas.get(dfa) {
            return placed;
        }
        let classes = self.bytes.len() as u32;
        self.bytes.extend(dfa.byte_classes());
        let first = (self.bytes.len() / 4) as u32;
        for (output, next) in dfa.states() {
            let stride = next.len() as u32 + 1;
            self.bytes.extend_from_slice(&output.to_le_bytes());
            self.bytes.extend(next.iter().flat_map(|state| (first + state * stride).to_le_bytes()));
        }
        let placed = PlacedDfa { classes, start: first };
        self.dfas.insert(dfa.clone(), placed);
        placed
    }

    /// Places `words`. Returns their offset.
    pub(crate) fn place_words(&mut self, words: impl IntoIterator<Item = u64>) -> u32 {
        let offset = self.next_offset();
        self.bytes.extend(words.into_iter().flat_map(u64::to_le_bytes));
        offset
    }

    /// Places `bytes`. Returns their offset: a multiple of 8, not 0.
    pub(crate) fn place_bytes(&mut self, bytes: &[u8]) -> u32 {
        if self.bytes.is_empty() {
            // For the verifier's sake (see `codegen::verifier`): offsets of rows and nodes are stored on the stack.
            self.bytes.extend([0; 8]);
        }
        let offset = self.next_offset();
        self.bytes.extend(bytes);
        offset
    }

    fn next_offset(&mut self) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.bytes.len() as u32
    }

    /// A mask that leaves the offset of everything that was placed unchanged.
    pub(crate) fn byte_mask(&self) -> u32 {
        (self.bytes.len().next_power_of_two() - 1) as u32
    }

    /// Whether nothing was placed.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The contents of the map. After the last masked offset there are `reach` bytes, so that code may access them.
    pub(crate) fn into_bytes(self, reach: usize) -> Vec<u8> {
        let mut bytes = self.bytes;
        if !bytes.is_empty() {
            bytes.resize(bytes.len().next_power_of_two() + reach, 0);
        }
        bytes
    }
}
