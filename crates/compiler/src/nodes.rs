//! Conditions as data: the form that they have in policies whose conditions are too much as code.
//!
//! A condition is a graph of **nodes**, each one test with two successors: where to go on where it holds, and where it
//! does not. `and`, `or` and `not` are in these alone. A successor is the offset of another node, or an [`end`]. What
//! cannot be evaluated ends the condition from every node.
//!
//! The code that goes by them is in [`walk`](crate::walk).

use std::collections::{BTreeMap, HashMap};

use knobgate_policy::limits::ELEMENTS_MAX;
use knobgate_policy::{Relation, Value};

use crate::body::{Bytes, Ends, SetAt, SortedAt, Term, Test, TextAt, TextCheck};
use crate::tables::Tables;

/// Successors that are no nodes.
pub(crate) mod end {
    /// The rule decides.
    pub(crate) const DECIDES: u32 = 1;
    /// The condition does not hold: the step behind it is next.
    pub(crate) const NEXT_STEP: u32 = 2;
    /// The rule cannot be evaluated. No successor, but a result.
    pub(crate) const UNREADABLE: u32 = 3;
}

/// Where things are in a node.
pub(crate) mod node {
    /// The successor where the test holds, 4 bytes.
    pub(crate) const HOLDS: i16 = 0;
    /// The successor where it does not, 4 bytes.
    pub(crate) const FAILS: i16 = 4;
    /// Which [`NodeTest`](super::NodeTest), a byte.
    pub(crate) const TEST: i16 = 8;

    /// Of a comparison of numbers: the sum of the [outcomes](super::outcome) with which it holds, a byte.
    pub(crate) const OUTCOMES: i16 = 9;
    /// The left operand.
    pub(crate) const LEFT: i16 = 12;
    /// The right operand.
    pub(crate) const RIGHT: i16 = 16;
    /// The low 64 bits of the left operand, if it is a constant.
    pub(crate) const LEFT_CONSTANT: i16 = 24;
    /// The same of the right one.
    pub(crate) const RIGHT_CONSTANT: i16 = 32;

    /// Of a comparison of bytes: how many whole words are compared before the last one, a byte.
    pub(crate) const WORDS: i16 = 9;
    /// Which bits of the last word count, 8 bytes.
    pub(crate) const MASK: i16 = 16;
    /// The two things that they may be, 8 bytes each.
    pub(crate) const LAST: [i16; 2] = [24, 32];
    /// The whole words.
    pub(crate) const WHOLE: i16 = 40;

    /// Of a search: the operand is the left one. For numbers that are not negative, and then for those that are: where they lie,
    /// and how many there are (2 to the power of it, or [`NONE`](super::NONE)), 4 bytes each.
    pub(crate) const SORTED: [i16; 2] = [24, 32];

    /// Of a match: where the classes of the automaton are, 4 bytes.
    pub(crate) const CLASSES: i16 = 12;
    /// The state that it starts in, 4 bytes.
    pub(crate) const START: i16 = 16;
}

/// Where things are in an operand, a byte each.
pub(crate) mod operand {
    /// Which [`Source`](super::Source).
    pub(crate) const SOURCE: i16 = 0;
    /// How many numbers a value must have at least.
    pub(crate) const LEAST: i16 = 1;
    /// How many it may have at most.
    pub(crate) const MOST: i16 = 2;
    /// Whether what comes from no value is negative.
    pub(crate) const NEGATIVE: i16 = 3;
}

/// What comparing two numbers comes to.
pub(crate) mod outcome {
    pub(crate) const LESS: u8 = 1;
    pub(crate) const EQUAL: u8 = 2;
    pub(crate) const GREATER: u8 = 4;
}

/// What stands in a node for how many numbers are searched, where there are none.
pub(crate) const NONE: u32 = u32::MAX >> 1;

/// What a node tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeTest {
    /// Compares two numbers.
    Numbers,
    /// Looks for a number among many.
    Search,
    /// Compares a text with bytes, or its beginning.
    Bytes(TextAt),
    /// Runs an automaton over a text.
    Matches(TextAt),
}

/// Where an operand comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Constant,
    Position,
    Uid,
    Gid,
    Count(Value),
    Element(Value, u8),
}

impl NodeTest {
    /// The value that it looks at, if it is a test of one.
    pub(crate) fn value(self) -> Option<Value> {
        match self {
            NodeTest::Bytes(TextAt::Value(value)) | NodeTest::Matches(TextAt::Value(value)) => Some(value),
            NodeTest::Numbers
            | NodeTest::Search
            | NodeTest::Bytes(TextAt::Comm)
            | NodeTest::Matches(TextAt::Comm) => None,
        }
    }

    pub(crate) fn number(self) -> u8 {
        let of_text = |at| match at {
            TextAt::Value(value) => of_value(value),
            TextAt::Comm => 2,
        };
        match self {
            NodeTest::Numbers => 0,
            NodeTest::Bytes(at) => 1 + of_text(at),
            NodeTest::Matches(at) => 4 + of_text(at),
            NodeTest::Search => 7,
        }
    }
}

impl Source {
    /// The value that it is in, if it is in one.
    pub(crate) fn value(self) -> Option<Value> {
        match self {
            Source::Count(value) | Source::Element(value, _) => Some(value),
            Source::Constant | Source::Position | Source::Uid | Source::Gid => None,
        }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Source::Constant => 0,
            Source::Position => 1,
            Source::Uid => 2,
            Source::Gid => 3,
            Source::Count(value) => 4 + of_value(value),
            Source::Element(value, index) => 6 + of_value(value) * ELEMENTS_MAX as u8 + index,
        }
    }
}

fn of_value(value: Value) -> u8 {
    match value {
        Value::New => 0,
        Value::Old => 1,
    }
}

/// The nodes of a program. Equal ones are kept once.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    placed: HashMap<Vec<u8>, u32>,
    /// For each node, how many follow on each other at most from it on.
    longest: HashMap<u32, usize>,
    /// What is tested, by number.
    pub(crate) tests: BTreeMap<u8, NodeTest>,
    /// Where operands come from, by number.
    pub(crate) sources: BTreeMap<u8, Source>,
}

impl Nodes {
    /// Places the condition `test` of a rule with these constants. Returns where it begins.
    pub(crate) fn place(&mut self, test: &Test, constants: &[u64], tables: &mut Tables) -> u32 {
        Placing { nodes: self, constants, tables }.test(test, end::DECIDES, end::NEXT_STEP)
    }

    /// How many tests are made at most from `begin` on until the condition has ended.
    pub(crate) fn longest(&self, begin: u32) -> usize {
        self.longest.get(&begin).copied().unwrap_or(0)
    }
}

struct Placing<'a> {
    nodes: &'a mut Nodes,
    constants: &'a [u64],
    tables: &'a mut Tables,
}

impl Placing<'_> {
    /// Where `test` begins that goes on at `holds` or `fails`.
    fn test(&mut self, test: &Test, holds: u32, fails: u32) -> u32 {
        match test {
            Test::Not(test) => self.test(test, fails, holds),
            Test::All(tests) => tests.iter().rev().fold(holds, |next, test| self.test(test, next, fails)),
            Test::Any(tests) => tests.iter().rev().fold(fails, |next, test| self.test(test, holds, next)),
            Test::Chain { first, links } => {
                let lefts = std::iter::once(first).chain(links.iter().map(|(_, right)| right));
                let pairs: Vec<_> = lefts.zip(links).collect();
                pairs.into_iter().rev().fold(holds, |next, (left, (relation, right))| {
                    self.comparison(*left, *relation, *right, next, fails)
                })
            }
            Test::InRange(term, Ends { low, high }) => {
                let low = low.map(|low| (Relation::GreaterOrEqual, low));
                let high = high.map(|high| (Relation::LessOrEqual, high));
                [high, low].into_iter().flatten().fold(holds, |next, (relation, bound)| {
                    self.comparison(*term, relation, Term::Constant(bound), next, fails)
                })
            }
            Test::InSet(term, set) => set.iter().rev().fold(fails, |next, constant| {
                self.comparison(*term, Relation::Equal, Term::Constant(*constant), holds, next)
            }),
            Test::InTable(term, set) => self.search(*term, *set, holds, fails),
            Test::Text(at, check) => self.text(*at, check, holds, fails),
        }
    }

    fn search(&mut self, term: Term, set: SetAt, holds: u32, fails: u32) -> u32 {
        let mut node = Node::new(NodeTest::Search, holds, fails);
        self.operand(&mut node, term, node::LEFT);
        for (at, sorted) in node::SORTED.into_iter().zip([set.nonnegative, set.negative]) {
            let (offset, log2) = match sorted {
                Some(SortedAt { offset, log2 }) => {
                    (self.constants[offset.0] as u32, self.constants[log2.0] as u32)
                }
                None => (0, NONE),
            };
            node.put(at, &offset.to_ne_bytes());
            node.put(at + 4, &log2.to_ne_bytes());
        }
        self.place(node)
    }

    /// Notes where `term` comes from.
    fn operand(&mut self, node: &mut Node, term: Term, at: i16) {
        let (source, least, most) = source(term);
        let is_negative = matches!(term, Term::Constant(constant) if constant.is_negative);
        node.put(at + operand::SOURCE, &[source.number()]);
        node.put(at + operand::LEAST, &[least]);
        node.put(at + operand::MOST, &[most]);
        node.put(at + operand::NEGATIVE, &[is_negative.into()]);
        self.nodes.sources.insert(source.number(), source);
    }

    fn comparison(&mut self, left: Term, relation: Relation, right: Term, holds: u32, fails: u32) -> u32 {
        let mut node = Node::new(NodeTest::Numbers, holds, fails);
        node.put(node::OUTCOMES, &[outcomes(relation)]);
        for (term, at, constant_at) in
            [(left, node::LEFT, node::LEFT_CONSTANT), (right, node::RIGHT, node::RIGHT_CONSTANT)]
        {
            self.operand(&mut node, term, at);
            let bits = match term {
                Term::Constant(constant) => self.constants[constant.slot.0],
                _ => 0,
            };
            node.put(constant_at, &bits.to_ne_bytes());
        }
        self.place(node)
    }

    fn text(&mut self, at: TextAt, check: &TextCheck, holds: u32, fails: u32) -> u32 {
        match check {
            TextCheck::Equals(text) => self.bytes(at, *text, true, holds, fails),
            TextCheck::Differs(text) => self.bytes(at, *text, true, fails, holds),
            TextCheck::In(texts) => {
                texts.iter().rev().fold(fails, |next, text| self.bytes(at, *text, true, holds, next))
            }
            TextCheck::StartsWith(text) => self.bytes(at, *text, false, holds, fails),
            TextCheck::Matches { classes, start } => {
                let mut node = Node::new(NodeTest::Matches(at), holds, fails);
                for (offset, slot) in [(node::CLASSES, classes), (node::START, start)] {
                    node.put(offset, &(self.constants[slot.0] as u32).to_ne_bytes());
                }
                self.place(node)
            }
        }
    }

    /// The text is `text` or, if not `whole`, begins with it.
    fn bytes(&mut self, at: TextAt, text: Bytes, whole: bool, holds: u32, fails: u32) -> u32 {
        if text.len >= at.bytes() as usize {
            // Nothing is as long; but that the text can be read is tested all the same.
            let nothing = Bytes { len: 0, ..text };
            return self.bytes(at, nothing, false, fails, fails);
        }
        let bytes: Vec<u8> = self.constants[text.first.0..]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .take(text.len)
            .collect();
        let (words, last) = bytes.as_chunks::<8>();
        let mut mask = [0; 8];
        mask[..last.len() + usize::from(whole)].fill(0xff);
        let terminators = if whole && at != TextAt::Comm { [0, b'\n'] } else { [0, 0] };

        let mut node = Node::new(NodeTest::Bytes(at), holds, fails);
        node.put(node::WORDS, &[words.len() as u8]);
        node.put(node::MASK, &mask);
        for (offset, terminator) in node::LAST.into_iter().zip(terminators) {
            node.put(offset, last);
            node.put(offset + last.len() as i16, &[terminator]);
        }
        node.put(node::WHOLE, words.as_flattened());
        self.place(node)
    }

    fn place(&mut self, node: Node) -> u32 {
        if let Some(&placed) = self.nodes.placed.get(&node.bytes) {
            return placed;
        }
        let longest = [node.holds, node.fails].map(|next| self.nodes.longest(next)).into_iter().max();
        let placed = self.tables.place_node(&node.bytes);
        self.nodes.tests.insert(node.test.number(), node.test);
        self.nodes.longest.insert(placed, 1 + longest.unwrap_or(0));
        self.nodes.placed.insert(node.bytes, placed);
        placed
    }
}

/// One that is not placed yet.
struct Node {
    test: NodeTest,
    holds: u32,
    fails: u32,
    bytes: Vec<u8>,
}

impl Node {
    fn new(test: NodeTest, holds: u32, fails: u32) -> Self {
        let mut node = Self { test, holds, fails, bytes: Vec::new() };
        node.put(node::HOLDS, &holds.to_ne_bytes());
        node.put(node::FAILS, &fails.to_ne_bytes());
        node.put(node::TEST, &[test.number()]);
        node
    }

    fn put(&mut self, at: i16, bytes: &[u8]) {
        let range = at as usize..at as usize + bytes.len();
        self.bytes.resize(self.bytes.len().max(range.end), 0);
        self.bytes[range].copy_from_slice(bytes);
    }
}

fn source(term: Term) -> (Source, u8, u8) {
    const MOST: u8 = ELEMENTS_MAX as u8;
    match term {
        Term::Constant(_) => (Source::Constant, 0, 0),
        Term::Only(value) => (Source::Element(value, 0), 1, 1),
        Term::Element(value, index) => (Source::Element(value, index), index + 1, MOST),
        Term::Count(value) => (Source::Count(value), 0, MOST),
        Term::Position => (Source::Position, 0, 0),
        Term::Uid => (Source::Uid, 0, 0),
        Term::Gid => (Source::Gid, 0, 0),
    }
}

fn outcomes(relation: Relation) -> u8 {
    use outcome::{EQUAL, GREATER, LESS};
    match relation {
        Relation::Less => LESS,
        Relation::LessOrEqual => LESS | EQUAL,
        Relation::Equal => EQUAL,
        Relation::NotEqual => LESS | GREATER,
        Relation::GreaterOrEqual => EQUAL | GREATER,
        Relation::Greater => GREATER,
    }
}
