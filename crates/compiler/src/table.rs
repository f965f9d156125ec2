//! Finite automata as tables that a program can run: see [`Table`].

use std::collections::HashMap;
use std::hash::Hash;

/// Larger automata are refused, in table entries of 4 bytes.
pub(crate) const ENTRIES_MAX: usize = 1 << 22;

/// An automaton over bytes. Each state is a row: first its output, then the next state for every class of
/// bytes. A state is stored as the index of its row's second entry, so that a step is one addition and one load.
///
/// In memory: 256 bytes that map a byte to its class, then the entries as native `u32`, their number a power of
/// two, so that one `and` proves to the verifier that an index is inside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Table {
    classes: [u8; 256],
    entries: Vec<u32>,
    start: u32,
}

/// Where in a table's memory its entries begin, in bytes.
pub(crate) const ENTRIES_OFFSET: i16 = 256;

/// Where the output of a state is, from the entry that stands for the state, in bytes.
pub(crate) const OUTPUT_OFFSET: i16 = ENTRIES_OFFSET - 4;

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
}

/// The automaton would exceed [`ENTRIES_MAX`].
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
        let mut numbers = HashMap::from([(start, 0usize)]);
        let mut states = vec![start];
        let mut next = Vec::new();
        let mut explored = 0;
        while let Some(&state) = states.get(explored) {
            for &byte in &alphabet.representatives {
                let target = step(state, byte);
                let number = *numbers.entry(target).or_insert_with(|| {
                    states.push(target);
                    states.len() - 1
                });
                next.push(number);
            }
            explored += 1;
            if states.len() * (classes + 1) > ENTRIES_MAX {
                return Err(TooLarge);
            }
        }
        let outputs: Vec<u32> = states.into_iter().map(output).collect();
        let block_of = minimise(classes, &next, &outputs);

        let stride = classes + 1;
        let blocks = block_of.iter().max().map_or(0, |last| last + 1);
        let mut entries = vec![0; (blocks * stride).next_power_of_two()];
        for (state, &block) in block_of.iter().enumerate() {
            let row = &mut entries[block * stride..][..stride];
            row[0] = outputs[state];
            for class in 0..classes {
                row[class + 1] = (block_of[next[state * classes + class]] * stride + 1) as u32;
            }
        }
        Ok(Self { classes: alphabet.classes, entries, start: (block_of[0] * stride + 1) as u32 })
    }

    /// The entry at which a run starts.
    pub(crate) fn start(&self) -> u32 {
        self.start
    }

    /// What an index is masked with.
    pub(crate) fn mask(&self) -> u32 {
        (self.entries.len() - 1) as u32
    }

    /// The table as the program sees it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.classes.to_vec();
        bytes.extend(self.entries.iter().flat_map(|entry| entry.to_ne_bytes()));
        bytes
    }

    /// What the program computes.
    #[cfg(test)]
    pub(crate) fn run(&self, subject: &[u8]) -> u32 {
        let end = subject.iter().fold(self.start, |state, &byte| {
            self.entries[(state + u32::from(self.classes[usize::from(byte)])) as usize]
        });
        self.entries[end as usize - 1]
    }
}

/// The coarsest grouping of states in which those of one group have equal outputs and go to equal groups (Moore):
/// for each state the number of its group.
fn minimise(classes: usize, next: &[usize], outputs: &[u32]) -> Vec<usize> {
    let mut numbers = HashMap::new();
    let mut block_of: Vec<usize> = outputs
        .iter()
        .map(|&output| {
            let fresh = numbers.len();
            *numbers.entry(output).or_insert(fresh)
        })
        .collect();
    let mut blocks = numbers.len();
    loop {
        let mut signatures: HashMap<Vec<usize>, usize> = HashMap::new();
        let refined: Vec<usize> = (0..outputs.len())
            .map(|state| {
                let successors = &next[state * classes..][..classes];
                let mut signature = Vec::with_capacity(classes + 1);
                signature.push(block_of[state]);
                signature.extend(successors.iter().map(|&successor| block_of[successor]));
                let fresh = signatures.len();
                *signatures.entry(signature).or_insert(fresh)
            })
            .collect();
        let before = std::mem::replace(&mut blocks, signatures.len());
        block_of = refined;
        if before == blocks {
            return block_of;
        }
    }
}
