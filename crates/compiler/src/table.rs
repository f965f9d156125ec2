//! Finite automata as tables that a program can run: see [`Table`].

use std::collections::HashMap;
use std::hash::Hash;

/// Larger automata are refused, in table entries of 4 bytes.
pub(crate) const ENTRIES_MAX: usize = 1 << 22;

/// An automaton over bytes. Each state is a row: first its output, then the next state for every class of
/// bytes. A state is the index of its row's first entry, so that a step is one addition and one load.
///
/// In memory: 256 bytes that map a byte to its class, then the entries as native `u32`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Table {
    classes: [u8; 256],
    entries: Vec<u32>,
    stride: usize,
    start: u32,
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
        Ok(Self::minimised(alphabet.classes, classes, &next, &outputs))
    }

    /// The smallest table for states with these outputs; `next` has `classes` entries for each, and a run starts in the
    /// first.
    fn minimised(class_of: [u8; 256], classes: usize, next: &[usize], outputs: &[u32]) -> Self {
        let block_of = minimise(classes, next, outputs);
        let stride = classes + 1;
        let blocks = block_of.iter().max().map_or(0, |last| last + 1);
        let mut entries = vec![0; blocks * stride];
        for (state, &block) in block_of.iter().enumerate() {
            let row = &mut entries[block * stride..][..stride];
            row[0] = outputs[state];
            for class in 0..classes {
                row[class + 1] = (block_of[next[state * classes + class]] * stride) as u32;
            }
        }
        Self { classes: class_of, entries, stride, start: (block_of[0] * stride) as u32 }
    }

    /// The table with other outputs.
    pub(crate) fn with_outputs(&self, output: impl Fn(u32) -> u32) -> Self {
        let mut table = self.clone();
        table.entries.chunks_exact_mut(self.stride).for_each(|row| row[0] = output(row[0]));
        table
    }

    /// The smallest table that does the same.
    pub(crate) fn shrunk(&self) -> Self {
        let start = self.start as usize / self.stride;
        // The start comes first, the others keep their order.
        let number = |state: usize| match state {
            _ if state == start => 0,
            _ if state < start => state + 1,
            _ => state,
        };
        let rows: Vec<&[u32]> = self.entries.chunks_exact(self.stride).collect();
        let rows = std::iter::once(rows[start])
            .chain(rows.iter().enumerate().filter(|(state, _)| *state != start).map(|(_, row)| *row));
        let (mut next, mut outputs) = (Vec::new(), Vec::new());
        for row in rows {
            outputs.push(row[0]);
            next.extend(row[1..].iter().map(|&state| number(state as usize / self.stride)));
        }
        Self::minimised(self.classes, self.stride - 1, &next, &outputs)
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
            memory.extend(row[0].to_ne_bytes());
            memory.extend(row[1..].iter().flat_map(|state| (state + first).to_ne_bytes()));
        }
        Placed { classes, start: self.start + first }
    }

    /// What the program computes.
    pub(crate) fn run(&self, subject: &[u8]) -> u32 {
        let end = subject.iter().fold(self.start, |state, &byte| {
            self.entries[(state + u32::from(self.classes[usize::from(byte)])) as usize + 1]
        });
        self.entries[end as usize]
    }
}

/// The coarsest grouping of states in which those of one group have equal outputs and go to equal groups (Moore):
/// for each state the number of its group.
fn minimise(classes: usize, next: &[usize], outputs: &[u32]) -> Vec<usize> {
    let mut numbers = HashMap::new();
    let mut block_of: Vec<u32> = outputs
        .iter()
        .map(|&output| {
            let fresh = numbers.len() as u32;
            *numbers.entry(output).or_insert(fresh)
        })
        .collect();
    let mut blocks = numbers.len();
    let stride = classes + 1;
    let mut signatures = vec![0; outputs.len() * stride];
    loop {
        for (state, signature) in signatures.chunks_exact_mut(stride).enumerate() {
            signature[0] = block_of[state];
            for (block, &successor) in signature[1..].iter_mut().zip(&next[state * classes..]) {
                *block = block_of[successor];
            }
        }
        let mut numbers: HashMap<&[u32], u32> = HashMap::with_capacity(blocks);
        for (state, signature) in signatures.chunks_exact(stride).enumerate() {
            let fresh = numbers.len() as u32;
            block_of[state] = *numbers.entry(signature).or_insert(fresh);
        }
        let before = std::mem::replace(&mut blocks, numbers.len());
        if before == blocks {
            return block_of.into_iter().map(|block| block as usize).collect();
        }
    }
}
