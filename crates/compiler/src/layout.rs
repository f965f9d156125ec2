//! From the [IR](crate::ir) to the place of everything: which steps share a [block](blocks) of code, which conditions are in
//! the code and which are [data](nodes), how [names](placed_plan) are found, and the [tables] that the code reads.

mod blocks;
pub(crate) mod frame;
mod inlining;
mod nodes;
mod perfect_hash;
mod placed_plan;
pub(crate) mod ranges;
pub(crate) mod shape;
mod tables;

pub(crate) use blocks::{Block, BlockId, PlacedStep, ROW_CONSTANTS_MAX, row};
#[cfg(test)]
pub(crate) use inlining::Estimate;
pub(crate) use inlining::{Cost, Inlining};
pub(crate) use nodes::{OperandSource, TestKind, end, node, operand, ordering};
pub(crate) use perfect_hash::LAST_MULTIPLIER;
pub(crate) use placed_plan::{Hash, Lookup, PlacedNames, PlacedOtherNames, PlacedPlan, Target};
pub(crate) use tables::{PlacedDfa, Tables};

use std::collections::BTreeMap;

use foldhash::HashMap;
use knobgate_bpf::Features;
use knobgate_glob::{Budget, text_dfa};

use crate::error::{CompileError, TEXT_STEPS_MAX};
use crate::ir::{Constant, FetchSet, Ir, StepId, TextAutomaton};
use blocks::Blocks;

/// The place of everything.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    pub(crate) blocks: Vec<Block>,
    steps: HashMap<StepId, PlacedStep>,
    /// How names are found, for reads and for writes.
    pub(crate) plans: [PlacedPlan<'a>; 2],
    /// The tests of the interpreter, by number.
    pub(crate) tests: BTreeMap<u8, TestKind>,
    /// The sources of its operands, by number.
    pub(crate) sources: BTreeMap<u8, OperandSource>,
    /// The offset of the constants in a row.
    pub(crate) row_constants: i16,
    pub(crate) tables: Tables,
    pub(crate) facts: TableFacts,
}

/// The facts about the tables that code depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableFacts {
    /// The mask for the offset of a DFA's classes.
    pub(crate) byte_mask: u32,
    /// The mask for a state of a DFA.
    pub(crate) entry_mask: u32,
    /// The mask for the offset of a row, a node or a word.
    pub(crate) offset_mask: u32,
    /// The most words in one search: 2 to the power of this.
    pub(crate) longest_search: u32,
    /// The DFA for the shape of values, if values are fetched.
    pub(crate) shape: Option<PlacedDfa>,
}

impl TableFacts {
    /// Those of the final `tables`.
    fn new(ir: &Ir, tables: &Tables, shape: Option<PlacedDfa>) -> Self {
        let longest_search = ir.tables.sorted.iter().map(|words| log2_placed(words)).max();
        Self {
            byte_mask: tables.byte_mask(),
            entry_mask: tables.byte_mask() / 4,
            offset_mask: tables.byte_mask() & !7,
            longest_search: longest_search.unwrap_or(0),
            shape,
        }
    }

    /// For code that is only measured, before the tables exist.
    pub(crate) fn without_tables(ir: &Ir) -> Self {
        Self::new(ir, &Tables::default(), None)
    }
}

impl<'a> Layout<'a> {
    /// The layout of a program, with these conditions inlined, and the others as data for the interpreter.
    ///
    /// # Errors
    /// A text pattern makes too large an automaton, or too many tests follow each other.
    pub(crate) fn new(ir: &'a Ir, features: &Features, inlining: Inlining) -> Result<Self, CompileError> {
        let mut tables = Tables::default();
        let sorted: Vec<PlacedWords> =
            ir.tables.sorted.iter().map(|words| place_sorted(words, &mut tables)).collect();
        let texts = place_texts(ir, &mut tables)?;
        let long_texts: Vec<u32> =
            ir.tables.long_texts.iter().map(|text| tables.place_bytes(&[&text[..], &[0]].concat())).collect();
        let resolve = |constants: &[Constant]| {
            let resolved = constants.iter().map(|constant| match *constant {
                Constant::Word(word) => word,
                Constant::SortedAt(index) => sorted[index].offset.into(),
                Constant::SortedLog2(index) => sorted[index].log2.into(),
                Constant::ClassesAt(index) => texts[index].classes.into(),
                Constant::StartState(index) => texts[index].start.into(),
                Constant::TextAt(index) => long_texts[index].into(),
            });
            resolved.collect::<Vec<u64>>()
        };
        let Blocks { blocks, nodes, steps, row_constants } =
            Blocks::new(ir, features, inlining, resolve, &mut tables)?;
        let plans = placed_plan::place(&ir.plans, &steps, &mut tables);
        let fetches = steps.values().any(|step| step.fetch != FetchSet::default());
        let shape = fetches.then(|| tables.place_dfa(&shape::DFA));
        let facts = TableFacts::new(ir, &tables, shape);
        let (tests, sources) = (nodes.tests, nodes.sources);
        Ok(Self { blocks, steps, plans, tests, sources, row_constants, tables, facts })
    }

    /// Whether the program looks at long values.
    pub(crate) fn has_long_values(&self, features: &Features) -> bool {
        features.long_values() && self.facts.shape.is_some()
    }

    /// The bytes of all tables, with room for the longest row after the last masked offset.
    pub(crate) fn into_table_bytes(self) -> Vec<u8> {
        self.tables.into_bytes(row::BYTES_MAX)
    }

    /// The place of a step that a plan leads to.
    pub(crate) fn step(&self, id: StepId) -> PlacedStep {
        self.steps[&id]
    }

    /// The block of a step that a plan leads to.
    pub(crate) fn block_of(&self, id: StepId) -> &Block {
        &self.blocks[self.step(id).block.0]
    }
}

/// Sorted words in the tables.
struct PlacedWords {
    offset: u32,
    /// How many there are: 2 to the power of this.
    log2: u32,
}

/// Places words in ascending order. The last one is repeated until their number is a power of 2.
fn place_sorted(words: &[u64], tables: &mut Tables) -> PlacedWords {
    let log2 = log2_placed(words);
    let repeated = std::iter::repeat_n(words.last().copied().unwrap_or_default(), (1 << log2) - words.len());
    PlacedWords { offset: tables.place_words(words.iter().copied().chain(repeated)), log2 }
}

/// How many words these become when they are [placed](place_sorted): 2 to the power of this.
fn log2_placed(words: &[u64]) -> u32 {
    words.len().next_power_of_two().ilog2()
}

fn place_texts(ir: &Ir, tables: &mut Tables) -> Result<Vec<PlacedDfa>, CompileError> {
    let mut budget = Budget::steps(TEXT_STEPS_MAX);
    let mut placed = Vec::new();
    for (index, automaton) in ir.tables.texts.iter().enumerate() {
        let dfa = match automaton {
            TextAutomaton::Glob(pieces, end) => text_dfa(pieces, *end, &mut budget),
            TextAutomaton::Ranges(members) => ranges::dfa(members),
        };
        let dfa = dfa.map_err(|_| {
            let matches = |constants: &[Constant]| constants.contains(&Constant::ClassesAt(index));
            let rules = ir.rules.iter().filter(|(_, rule)| matches(&rule.graph_constants));
            CompileError::TextTooComplex { rule: rules.map(|(id, _)| id.rule).min().unwrap_or(0) }
        })?;
        placed.push(tables.place_dfa(&dfa));
    }
    Ok(placed)
}
