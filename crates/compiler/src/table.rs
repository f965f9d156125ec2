//! Finite automata as tables that a program can run: see [`Table`].

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::minimise::minimise;

/// Larger automata are refused, in table entries of 4 bytes.
pub(crate) const ENTRIES_MAX: usize = 1 << 22;

/// An automaton over bytes. Each state is a row: first its output, then the next state for every class of
/// bytes. A state is the index of its row's first entry, so that a step is one addition and one load. A run starts in the
/// first. There is no smaller table that does the same.
///
/// In memory: 256 bytes that map a byte to its class, then the entries as native `u32`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Table {
    classes: [u8; 256],
    entries: Vec<u32>,
    stride: usize,
}

/// Where a table lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The offset of its classes, in bytes.
    pub(crate) classes: u32,
    /// The state in which a run starts.
    pub(crate) start: u32,
}

/// Bytes in classes: those of one class lead to the same state from every state.
pub(crate) struct Alphabet {
    classes: [u8; 256],
    representatives: Vec<u8>,
}

impl Alphabet {
    /// The coarsest alphabet in which each of `ranges` (both ends included) is a union of classes.
    pub(crate) fn telling_apart(ranges: impl IntoIterator<Item = (u8, u8)>) -> Self {
        let mut begins = [false; 257];
        begins[0] = true;
        for (low, high) in ranges {
            begins[usize::from(low)] = true;
            begins[usize::from(high) + 1] = true;
        }
        let mut classes = [0; 256];
        let mut representatives = Vec::new();
        for byte in 0..=255u8 {
            if begins[usize::from(byte)] {
                representatives.push(byte);
            }
            classes[usize::from(byte)] = (representatives.len() - 1) as u8;
        }
        Self { classes, representatives }
    }

    /// How many classes there are.
    pub(crate) fn len(&self) -> usize {
        self.representatives.len()
    }

    /// The class of `byte`.
    pub(crate) fn class(&self, byte: u8) -> u8 {
        self.classes[usize::from(byte)]
    }

    /// A byte of each class.
    pub(crate) fn representatives(&self) -> &[u8] {
        &self.representatives
    }
}

/// The automaton would exceed [`ENTRIES_MAX`], or take too much to be found.
#[derive(Debug)]
pub(crate) struct TooLarge;

impl Table {
    /// All that can be reached from `start` by `step`, minimised; `output` is what a run that ends in a state
    /// returns.
    pub(crate) fn explore<S: Copy + Eq + Hash>(
        alphabet: &Alphabet,
        start: S,
        step: impl Fn(S, u8) -> S,
        output: impl Fn(S) -> u32,
    ) -> Result<Self, TooLarge> {
        let classes = alphabet.representatives.len();
        let mut numbers = HashMap::from([(start, 0u32)]);
        let mut states = vec![start];
        let mut next = Vec::new();
        let mut explored = 0;
        while let Some(&state) = states.get(explored) {
            for &byte in &alphabet.representatives {
                let target = step(state, byte);
                let number = *numbers.entry(target).or_insert_with(|| {
                    states.push(target);
                    (states.len() - 1) as u32
                });
                next.push(number);
            }
            explored += 1;
            if states.len() * (classes + 1) > ENTRIES_MAX {
                return Err(TooLarge);
            }
        }
        let outputs: Vec<u32> = states.into_iter().map(output).collect();
        Ok(Self::minimised(alphabet, &next, &outputs))
    }

    /// The smallest table for states with these outputs; `next` has an entry for every class of `alphabet` for each. A run
    /// starts in the first.
    pub(crate) fn minimised(alphabet: &Alphabet, next: &[u32], outputs: &[u32]) -> Self {
        Self::of_groups(alphabet.classes, alphabet.len(), next, outputs)
    }

    fn of_groups(class_of: [u8; 256], classes: usize, next: &[u32], outputs: &[u32]) -> Self {
        let group_of = minimise(classes, next, outputs);
        let stride = classes + 1;
        let mut entries = Vec::new();
        for (state, row) in next.chunks_exact(classes).enumerate() {
            // The first state of each group stands for it, and groups are in the order of these.
            if group_of[state] as usize * stride == entries.len() {
                entries.push(outputs[state]);
                entries.extend(row.iter().map(|&next| group_of[next as usize] * stride as u32));
            }
        }
        Self { classes: class_of, entries, stride }
    }

    /// The smallest table with other outputs.
    pub(crate) fn with_outputs(&self, output: impl Fn(u32) -> u32) -> Self {
        let outputs: HashMap<u32, u32> = self.outputs().map(|old| (old, output(old))).collect();
        if outputs.values().collect::<HashSet<_>>().len() == outputs.len() {
            // What was told apart still is.
            let mut table = self.clone();
            table.entries.chunks_exact_mut(self.stride).for_each(|row| row[0] = outputs[&row[0]]);
            return table;
        }
        let rows = self.entries.chunks_exact(self.stride);
        let next: Vec<u32> =
            rows.flat_map(|row| &row[1..]).map(|&state| state / self.stride as u32).collect();
        let outputs: Vec<u32> = self.outputs().map(|old| outputs[&old]).collect();
        Self::of_groups(self.classes, self.stride - 1, &next, &outputs)
    }

    /// What runs may return.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = u32> {
        self.entries.chunks_exact(self.stride).map(|row| row[0])
    }

    /// What all runs return, if it is the same.
    pub(crate) fn only_output(&self) -> Option<u32> {
        let mut outputs = self.outputs();
        let first = outputs.next()?;
        outputs.all(|output| output == first).then_some(first)
    }

    /// Appends the table to others, to `memory`, whose length is a multiple of 4. States then are indices of 4-byte
    /// entries from the beginning of the memory.
    pub(crate) fn append_to(&self, memory: &mut Vec<u8>) -> Placed {
        let classes = memory.len() as u32;
        memory.extend(self.classes);
        let first = (memory.len() / 4) as u32;
        for row in self.entries.chunks_exact(self.stride) {
            memory.extend_from_slice(&row[0].to_ne_bytes());
            for state in &row[1..] {
                memory.extend_from_slice(&(state + first).to_ne_bytes());
            }
        }
        Placed { classes, start: first }
    }

    /// What the program computes.
    pub(crate) fn run(&self, subject: &[u8]) -> u32 {
        let end = subject.iter().fold(0, |state, &byte| {
            self.entries[(state + u32::from(self.classes[usize::from(byte)])) as usize + 1]
        });
        self.entries[end as usize]
    }
}
