//! Conditions as data: the encoding for the [interpreter](crate::codegen).
//!
//! Each [node](crate::ir::Node) of a decision graph is a record with its two successors: the offset of another record, or an
//! [`end`]. Equal records are kept once, so that rules share what their conditions have in common.

use std::collections::BTreeMap;

use foldhash::HashMap;
use knobgate_glob::TextEnd;
use knobgate_policy::limits::ELEMENTS_MAX;
use knobgate_policy::{Relation, Value};

use super::frame;
use super::tables::Tables;
use crate::ir::{
    Automaton, Bytes, Extent, Graph, Integer, Next, Number, NumberSet, Operand, Sorted, Subject, Test,
    TextTest,
};

/// Successors that are not records: how the condition ends.
pub(crate) mod end {
    /// The block of the step is entered.
    pub(crate) const ENTER: u32 = 1;
    /// The condition does not hold: the next step follows.
    pub(crate) const NEXT_STEP: u32 = 2;
    /// The rule cannot be evaluated. No successor, but a result.
    pub(crate) const CANNOT_EVALUATE: u32 = 3;
}

/// The offsets in a record.
pub(crate) mod node {
    /// The successor if the test holds, 4 bytes.
    pub(crate) const HOLDS: i16 = 0;
    /// The successor if it does not, 4 bytes.
    pub(crate) const FAILS: i16 = 4;
    /// Which [`TestKind`](super::TestKind), a byte.
    pub(crate) const TEST: i16 = 8;

    /// Of a comparison of numbers: the set of the [orderings](super::ordering) with which it holds, a byte.
    pub(crate) const ORDERINGS: i16 = 9;
    /// The left operand.
    pub(crate) const LEFT: i16 = 12;
    /// The right operand.
    pub(crate) const RIGHT: i16 = 16;
    /// The low 64 bits of the left operand if it is a constant, or its mask.
    pub(crate) const LEFT_CONSTANT: i16 = 24;
    /// The same of the right one.
    pub(crate) const RIGHT_CONSTANT: i16 = 32;

    /// Of a comparison of bytes: how many whole words are compared before the last one, a byte.
    pub(crate) const WORDS: i16 = 9;
    /// Which bits of the last word count, 8 bytes.
    pub(crate) const MASK: i16 = 16;
    /// The two values that these bits may have, 8 bytes each.
    pub(crate) const LAST: [i16; 2] = [24, 32];
    /// The whole words.
    pub(crate) const WHOLE: i16 = 40;

    /// Of a search: the operand is the left one. For the nonnegative numbers and for the negative ones: their offset, and
    /// their count (2 to the power of it, or [`NO_NUMBERS`]), 4 bytes each.
    pub(crate) const SORTED: [i16; 2] = [32, 40];
    /// The count if there are no numbers to search. Compared with an immediate operand, which is a signed number of 32 bits.
    pub(crate) const NO_NUMBERS: u32 = i32::MAX as u32;

    /// Of a match: the offset of the byte classes of the DFA, 4 bytes.
    pub(crate) const CLASSES: i16 = 12;
    /// The start state, 4 bytes.
    pub(crate) const START: i16 = 16;
}

/// The offsets in an operand, a byte each.
pub(crate) mod operand {
    /// Which [`OperandSource`](super::OperandSource).
    pub(crate) const SOURCE: i16 = 0;
    /// How many numbers a value must have at least.
    pub(crate) const LEAST: i16 = 1;
    /// How many it may have at most.
    pub(crate) const MOST: i16 = 2;
    /// Whether a constant is negative. 0 for all other operands.
    pub(crate) const NEGATIVE: i16 = 3;
}

/// How two numbers compare, as bits.
pub(crate) mod ordering {
    pub(crate) const LESS: u8 = 1;
    pub(crate) const EQUAL: u8 = 2;
    pub(crate) const GREATER: u8 = 4;
}

/// The kind of test in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TestKind {
    /// Compares two numbers.
    Compare,
    /// Looks for a number among many.
    Search,
    /// Compares a text with bytes, or its start.
    Bytes(Subject),
    /// Runs a DFA over a text.
    Match(Subject),
    /// Runs the DFA of a set of ranges over a text.
    Ranges(Value),
}

/// The source of an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OperandSource {
    Constant,
    Position,
    Uid,
    Gid,
    KnobNetns,
    Count(Value),
    Element(Value, u8),
    /// The bits of an element, and a mask where a constant would be.
    Masked(Value, u8),
}

impl TestKind {
    /// The value whose text it looks at, if it looks at one.
    pub(crate) fn value(self) -> Option<Value> {
        match self {
            TestKind::Bytes(Subject::Value(value))
            | TestKind::Match(Subject::Value(value))
            | TestKind::Ranges(value) => Some(value),
            TestKind::Compare
            | TestKind::Search
            | TestKind::Bytes(Subject::Comm)
            | TestKind::Match(Subject::Comm) => None,
        }
    }

    pub(crate) fn number(self) -> u8 {
        let of_subject = |subject| match subject {
            Subject::Value(value) => of_value(value),
            Subject::Comm => 2,
        };
        match self {
            TestKind::Compare => 0,
            TestKind::Bytes(subject) => 1 + of_subject(subject),
            TestKind::Match(subject) => 4 + of_subject(subject),
            TestKind::Search => 7,
            TestKind::Ranges(value) => 8 + of_value(value),
        }
    }
}

impl OperandSource {
    fn of(operand: Operand) -> Self {
        match operand {
            Operand::Constant(_) => OperandSource::Constant,
            Operand::Number(Number { value, index, .. }) => OperandSource::Element(value, index),
            Operand::Masked(Number { value, index, .. }, _) => OperandSource::Masked(value, index),
            Operand::Count(value) => OperandSource::Count(value),
            Operand::Position => OperandSource::Position,
            Operand::Uid => OperandSource::Uid,
            Operand::Gid => OperandSource::Gid,
            Operand::KnobNetns => OperandSource::KnobNetns,
        }
    }

    /// The value that it is in, if it is in one.
    pub(crate) fn value(self) -> Option<Value> {
        match self {
            OperandSource::Count(value)
            | OperandSource::Element(value, _)
            | OperandSource::Masked(value, _) => Some(value),
            OperandSource::Constant
            | OperandSource::Position
            | OperandSource::Uid
            | OperandSource::Gid
            | OperandSource::KnobNetns => None,
        }
    }

    pub(crate) fn number(self) -> u8 {
        const ELEMENTS: u8 = ELEMENTS_MAX as u8;
        match self {
            OperandSource::Constant => 0,
            OperandSource::Position => 1,
            OperandSource::Uid => 2,
            OperandSource::Gid => 3,
            OperandSource::Count(value) => 4 + of_value(value),
            OperandSource::Element(value, index) => 6 + of_value(value) * ELEMENTS + index,
            OperandSource::Masked(value, index) => 6 + (2 + of_value(value)) * ELEMENTS + index,
            OperandSource::KnobNetns => 6 + 4 * ELEMENTS,
        }
    }
}

fn of_value(value: Value) -> u8 {
    match value {
        Value::New => 0,
        Value::Old => 1,
    }
}

/// The records of a program.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    placed: HashMap<Vec<u8>, u32>,
    /// For each record, the most tests on a path from it on.
    longest: HashMap<u32, usize>,
    /// The tests in use, by number.
    pub(crate) tests: BTreeMap<u8, TestKind>,
    /// The sources of operands in use, by number.
    pub(crate) sources: BTreeMap<u8, OperandSource>,
}

/// A graph in the tables.
pub(crate) struct PlacedGraph {
    /// Its first record.
    pub(crate) start: u32,
    /// How many tests it makes at most.
    pub(crate) tests: usize,
}

impl Nodes {
    /// Places the graph of a condition with these constants.
    pub(crate) fn place(&mut self, graph: &Graph, constants: &[u64], tables: &mut Tables) -> PlacedGraph {
        let mut offsets = vec![None; graph.nodes().len()];
        for (index, node) in graph.nodes().iter().enumerate().rev() {
            let [holds, fails] = [node.holds, node.fails].map(|next| match next {
                Next::Node(next) => offsets[next].expect("edges lead to later nodes"),
                Next::Holds => end::ENTER,
                Next::Fails => end::NEXT_STEP,
            });
            let record = self.encode(&node.test, constants, holds, fails);
            offsets[index] = Some(match self.placed.get(&record.bytes) {
                Some(&placed) => placed,
                None => {
                    let placed = tables.place_bytes(&record.bytes);
                    let longest = [holds, fails].map(|next| self.longest_from(next)).into_iter().max();
                    self.tests.insert(record.test.number(), record.test);
                    self.longest.insert(placed, 1 + longest.unwrap_or(0));
                    self.placed.insert(record.bytes, placed);
                    placed
                }
            });
        }
        let start = offsets.first().copied().flatten().unwrap_or(end::ENTER);
        PlacedGraph { start, tests: self.longest_from(start) }
    }

    fn longest_from(&self, record: u32) -> usize {
        self.longest.get(&record).copied().unwrap_or(0)
    }

    fn encode(&mut self, test: &Test, constants: &[u64], holds: u32, fails: u32) -> Record {
        match test {
            Test::Compare { left, relation, right } => {
                let mut record = Record::new(TestKind::Compare, holds, fails);
                record.put(node::ORDERINGS, &[orderings(*relation)]);
                for (operand, at, constant_at) in
                    [(left, node::LEFT, node::LEFT_CONSTANT), (right, node::RIGHT, node::RIGHT_CONSTANT)]
                {
                    self.operand(&mut record, *operand, constants, at, constant_at);
                }
                record
            }
            Test::Member { operand, set: NumberSet { nonnegative, negative } } => {
                let mut record = Record::new(TestKind::Search, holds, fails);
                self.operand(&mut record, *operand, constants, node::LEFT, node::LEFT_CONSTANT);
                for (at, sorted) in node::SORTED.into_iter().zip([nonnegative, negative]) {
                    let (offset, log2) = sorted.map_or((0, node::NO_NUMBERS), |Sorted { offset, log2 }| {
                        (constants[offset.0] as u32, constants[log2.0] as u32)
                    });
                    record.put(at, &offset.to_le_bytes());
                    record.put(at + 4, &log2.to_le_bytes());
                }
                record
            }
            Test::Ranges { value, automaton } => {
                automaton_record(TestKind::Ranges(*value), *automaton, constants, [holds, fails])
            }
            Test::Text { subject, test } => match test {
                TextTest::Equals(text) => {
                    bytes_record(*subject, *text, Extent::Whole, constants, [holds, fails])
                }
                TextTest::StartsWith(text) => {
                    bytes_record(*subject, *text, Extent::Start, constants, [holds, fails])
                }
                TextTest::Matches(automaton) => {
                    automaton_record(TestKind::Match(*subject), *automaton, constants, [holds, fails])
                }
            },
        }
    }

    /// Encodes `operand` and its constant at these offsets, and records its source.
    fn operand(
        &mut self,
        record: &mut Record,
        operand: Operand,
        constants: &[u64],
        at: i16,
        constant_at: i16,
    ) {
        let bits = match operand {
            Operand::Constant(Integer { slot, .. }) | Operand::Masked(_, slot) => constants[slot.0],
            _ => 0,
        };
        record.put(constant_at, &bits.to_le_bytes());
        let source = OperandSource::of(operand);
        let (least, most) = operand.counts().map_or((0, 0), |counts| (counts.least, counts.most));
        let is_negative = matches!(operand, Operand::Constant(integer) if integer.is_negative);
        record.put(at + operand::SOURCE, &[source.number()]);
        record.put(at + operand::LEAST, &[least]);
        record.put(at + operand::MOST, &[most]);
        record.put(at + operand::NEGATIVE, &[is_negative.into()]);
        self.sources.insert(source.number(), source);
    }
}

/// Runs a DFA.
fn automaton_record(
    test: TestKind,
    automaton: Automaton,
    constants: &[u64],
    [holds, fails]: [u32; 2],
) -> Record {
    let mut record = Record::new(test, holds, fails);
    for (at, slot) in [(node::CLASSES, automaton.classes), (node::START, automaton.start)] {
        record.put(at, &(constants[slot.0] as u32).to_le_bytes());
    }
    record
}

/// Compares this extent of a text with `text`.
fn bytes_record(
    subject: Subject,
    text: Bytes,
    extent: Extent,
    constants: &[u64],
    [holds, fails]: [u32; 2],
) -> Record {
    if !frame::can_hold(subject, text.len) {
        // What remains to be tested is that there is a text.
        return bytes_record(subject, Bytes { len: 0, ..text }, Extent::Start, constants, [fails, fails]);
    }
    let whole = extent == Extent::Whole;
    let words = constants[text.first.0..].iter().flat_map(|word| word.to_le_bytes());
    let bytes: Vec<u8> = words.take(text.len).collect();
    let (words, last) = bytes.as_chunks::<8>();
    let mut mask = [0; 8];
    mask[..last.len() + usize::from(whole)].fill(0xff);
    let terminators = match subject.end() {
        TextEnd::NulOrNewline if whole => [0, b'\n'],
        _ => [0, 0],
    };

    let mut record = Record::new(TestKind::Bytes(subject), holds, fails);
    record.put(node::WORDS, &[words.len() as u8]);
    record.put(node::MASK, &mask);
    for (at, terminator) in node::LAST.into_iter().zip(terminators) {
        record.put(at, last);
        record.put(at + last.len() as i16, &[terminator]);
    }
    record.put(node::WHOLE, words.as_flattened());
    record
}

/// A record that is not placed yet.
struct Record {
    test: TestKind,
    bytes: Vec<u8>,
}

impl Record {
    fn new(test: TestKind, holds: u32, fails: u32) -> Self {
        let mut record = Self { test, bytes: Vec::new() };
        record.put(node::HOLDS, &holds.to_le_bytes());
        record.put(node::FAILS, &fails.to_le_bytes());
        record.put(node::TEST, &[test.number()]);
        record
    }

    fn put(&mut self, at: i16, bytes: &[u8]) {
        let range = at as usize..at as usize + bytes.len();
        self.bytes.resize(self.bytes.len().max(range.end), 0);
        self.bytes[range].copy_from_slice(bytes);
    }
}

fn orderings(relation: Relation) -> u8 {
    use ordering::{EQUAL, GREATER, LESS};
    match relation {
        Relation::Less => LESS,
        Relation::LessOrEqual => LESS | EQUAL,
        Relation::Equal => EQUAL,
        Relation::NotEqual => LESS | GREATER,
        Relation::GreaterOrEqual => EQUAL | GREATER,
        Relation::Greater => GREATER,
    }
}
