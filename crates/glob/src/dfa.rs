//! A minimal DFA.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::alphabet::Alphabet;
use crate::budget::{ENTRIES_MAX, TooLarge};
use crate::minimise::minimise;

/// An automaton over bytes: a run starts in state 0, and ends in a state that has an output. No smaller one has the same
/// outputs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dfa {
    alphabet: Alphabet,
    /// For each state, the next one for every byte class.
    next: Vec<u32>,
    outputs: Vec<u32>,
}

impl Dfa {
    /// The DFA of all states that can be reached from `start` by `step`; `output` is what a run that ends in a state
    /// returns. States need not tell more bytes apart than `ranges` (both ends included) do.
    ///
    /// # Errors
    /// There are too many states.
    pub fn explore<S: Clone + Eq + Hash>(
        ranges: impl IntoIterator<Item = (u8, u8)>,
        start: S,
        step: impl Fn(S, u8) -> S,
        output: impl Fn(S) -> u32,
    ) -> Result<Self, TooLarge> {
        let alphabet = Alphabet::separating(ranges);
        let mut numbers = HashMap::from([(start.clone(), 0u32)]);
        let mut states = vec![start];
        let mut next = Vec::new();
        let mut explored = 0;
        while let Some(state) = states.get(explored).cloned() {
            for &byte in alphabet.representatives() {
                let target = step(state.clone(), byte);
                let number = *numbers.entry(target.clone()).or_insert_with(|| {
                    states.push(target);
                    (states.len() - 1) as u32
                });
                next.push(number);
            }
            explored += 1;
            if states.len() * (alphabet.len() + 1) > ENTRIES_MAX {
                return Err(TooLarge);
            }
        }
        let outputs: Vec<u32> = states.into_iter().map(output).collect();
        Ok(Self::minimal(alphabet, &next, &outputs))
    }

    /// The minimal DFA for states with these outputs; `next` has an entry for every class of `alphabet` for each of them.
    /// A run starts in the first.
    pub(crate) fn minimal(alphabet: Alphabet, next: &[u32], outputs: &[u32]) -> Self {
        let classes = alphabet.len();
        let group_of = minimise(classes, next, outputs);
        let mut minimal = Self { alphabet, next: Vec::new(), outputs: Vec::new() };
        for (state, row) in next.chunks_exact(classes).enumerate() {
            // The first state of each group stands for it, and groups are in the order of these.
            if group_of[state] as usize == minimal.outputs.len() {
                minimal.outputs.push(outputs[state]);
                minimal.next.extend(row.iter().map(|&next| group_of[next as usize]));
            }
        }
        minimal
    }

    /// The minimal DFA with other outputs.
    #[must_use]
    pub fn with_outputs(&self, output: impl Fn(u32) -> u32) -> Self {
        let renamed: HashMap<u32, u32> = self.outputs.iter().map(|&old| (old, output(old))).collect();
        let outputs: Vec<u32> = self.outputs.iter().map(|old| renamed[old]).collect();
        if renamed.values().collect::<HashSet<_>>().len() == renamed.len() {
            // It is still minimal.
            return Self { outputs, ..self.clone() };
        }
        Self::minimal(self.alphabet.clone(), &self.next, &outputs)
    }

    /// The class of each byte.
    pub fn byte_classes(&self) -> &[u8; 256] {
        self.alphabet.classes()
    }

    /// For each state its output, and the next state for each byte class.
    pub fn states(&self) -> impl Iterator<Item = (u32, &[u32])> {
        self.outputs.iter().copied().zip(self.next.chunks_exact(self.alphabet.len()))
    }

    /// What a run may return.
    pub fn outputs(&self) -> impl Iterator<Item = u32> {
        self.outputs.iter().copied()
    }

    /// What every run returns, if that is the same.
    pub fn only_output(&self) -> Option<u32> {
        let first = *self.outputs.first()?;
        self.outputs.iter().all(|&output| output == first).then_some(first)
    }

    /// What a run over `subject` returns.
    pub fn run(&self, subject: &[u8]) -> u32 {
        let classes = self.alphabet.len();
        let end = subject.iter().fold(0, |state, &byte| {
            self.next[state as usize * classes + usize::from(self.alphabet.class(byte))]
        });
        self.outputs[end as usize]
    }
}
