//! The tables of a program, together in one read-only map: automata, hashes, and the rows of steps.

use foldhash::HashMap;
use knobgate_policy::Piece;

use crate::automaton::{self, TextEnd};
use crate::blocks::row;
use crate::determinise::TEXT_STEPS_MAX;
use crate::table::{Placed, Table, TooLarge};

/// The tables. Code that reads them is emitted when all are in place, for it depends on how large they are together.
#[derive(Debug)]
pub(crate) struct Tables {
    placed: HashMap<Table, Placed>,
    bytes: Vec<u8>,
    /// Those of the automata for texts, by what they match.
    texts: HashMap<(Vec<Piece>, TextEnd), Placed>,
    /// How many steps the automata for texts may still take together.
    steps: usize,
    /// Where words lie that are searched, and how many these are.
    sorted: HashMap<Vec<u64>, (u32, u32)>,
    /// The most words in one search: 2 to the power of this.
    pub(crate) longest_search: u32,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            placed: HashMap::default(),
            bytes: Vec::new(),
            texts: HashMap::default(),
            steps: TEXT_STEPS_MAX,
            sorted: HashMap::default(),
            longest_search: 0,
        }
    }
}

impl Tables {
    /// Where the automaton for texts that match `pattern` lies.
    ///
    /// # Errors
    /// It is too large, or there are no steps left for it.
    pub(crate) fn automaton(&mut self, pattern: &[Piece], end: TextEnd) -> Result<Placed, TooLarge> {
        let key = (pattern.to_vec(), end);
        if let Some(&placed) = self.texts.get(&key) {
            return Ok(placed);
        }
        let table = automaton::of_text(pattern, end, &mut self.steps)?;
        let placed = self.place(&table);
        self.texts.insert(key, placed);
        Ok(placed)
    }

    /// Where `table` lies; equal ones are kept once.
    pub(crate) fn place(&mut self, table: &Table) -> Placed {
        if let Some(&placed) = self.placed.get(table) {
            return placed;
        }
        let placed = table.append_to(&mut self.bytes);
        self.placed.insert(table.clone(), placed);
        placed
    }

    /// Where `words` lie.
    pub(crate) fn place_words(&mut self, words: impl IntoIterator<Item = u64>) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let offset = self.bytes.len() as u32;
        for word in words {
            self.bytes.extend_from_slice(&word.to_ne_bytes());
        }
        offset
    }

    /// Where `words` lie, of which there is at least one and which are in ascending order, and how many these are then: 2 to the
    /// power of that. The last is there as often as it takes. Equal ones are kept once.
    pub(crate) fn place_sorted(&mut self, words: Vec<u64>) -> (u32, u32) {
        if let Some(&placed) = self.sorted.get(&words) {
            return placed;
        }
        let count = words.len().next_power_of_two();
        let log2 = count.ilog2();
        self.longest_search = self.longest_search.max(log2);
        let repeated = std::iter::repeat_n(words.last().copied().unwrap_or_default(), count - words.len());
        let placed = (self.place_words(words.iter().copied().chain(repeated)), log2);
        self.sorted.insert(words, placed);
        placed
    }

    /// Where a row lies that begins so.
    pub(crate) fn place_row(&mut self, header: [u32; 4], constants: &[u64]) -> u32 {
        let offset = self.next_offset();
        self.bytes.extend(header.into_iter().flat_map(u32::to_ne_bytes));
        self.place_words(constants.iter().copied());
        offset
    }

    /// Where a [node](crate::nodes) lies.
    pub(crate) fn place_node(&mut self, node: &[u8]) -> u32 {
        let offset = self.next_offset();
        self.bytes.extend(node);
        self.place_words([]);
        offset
    }

    /// Where the next row or node will lie.
    fn next_offset(&mut self) -> u32 {
        if self.bytes.is_empty() {
            // The verifier tracks zeros, which these offsets must not be.
            self.place_words([0]);
        }
        self.place_words([])
    }

    /// What the offset of a table's classes is masked with.
    pub(crate) fn byte_mask(&self) -> u32 {
        (self.bytes.len().next_power_of_two() - 1) as u32
    }

    /// What a state is masked with.
    pub(crate) fn entry_mask(&self) -> u32 {
        self.byte_mask() / 4
    }

    /// What the offset of a row or node is masked with.
    pub(crate) fn row_mask(&self) -> u32 {
        self.byte_mask() & !7
    }

    /// All of them, as they lie in the map: as much as the masks allow to reach.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        if !bytes.is_empty() {
            bytes.resize(bytes.len().next_power_of_two() + row::BYTES_MAX.max(256), 0);
        }
        bytes
    }
}
