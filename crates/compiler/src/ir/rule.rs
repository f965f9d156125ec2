//! One rule: a decision graph, an action, and the constants of both.

use indexmap::IndexSet;
use knobgate_glob::{Piece, TextEnd};
use knobgate_policy::{Value, Width};

use super::{Action, Graph};

/// A rule as it is tried for knobs of one width.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// What must hold; a rule without a condition has an empty graph.
    pub(crate) graph: Graph,
    /// The constants of the graph.
    pub(crate) graph_constants: Vec<Constant>,
    pub(crate) action: Action,
    /// The constants of the action.
    pub(crate) action_constants: Vec<Constant>,
    /// The values that it looks at.
    pub(crate) fetch: FetchSet,
}

/// The values that are fetched before a chain of rules starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub(crate) struct FetchSet {
    pub(crate) new: bool,
    pub(crate) old: bool,
    /// The width of the knob: larger numbers in the new value make it text.
    pub(crate) width: Width,
}

impl FetchSet {
    /// The union.
    pub(crate) fn union(self, other: Self) -> Self {
        // Rules to which the width does not matter have the default.
        let width = if self.width == Width::default() { other.width } else { self.width };
        Self { new: self.new || other.new, old: self.old || other.old, width }
    }

    /// The values, in the order in which they are fetched.
    pub(crate) fn values(self) -> impl Iterator<Item = Value> {
        [Value::New, Value::Old].into_iter().filter(move |&value| self.has(value))
    }

    pub(crate) fn has(self, value: Value) -> bool {
        match value {
            Value::New => self.new,
            Value::Old => self.old,
        }
    }

    pub(crate) fn add(&mut self, value: Value) {
        match value {
            Value::New => self.new = true,
            Value::Old => self.old = true,
        }
    }
}

/// 8 bytes in which a rule may differ from rules with the same structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Constant {
    /// These, in native order.
    Word(u64),
    /// The offset of the numbers of [`Tables::sorted`] with this index.
    SortedAt(usize),
    /// How many there are: 2 to the power of it.
    SortedLog2(usize),
    /// The offset of the byte classes of the DFA for [`Tables::texts`] with this index.
    ClassesAt(usize),
    /// The state in which it starts.
    StartState(usize),
}

/// The index of a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Slot(pub(crate) usize);

/// An integer among the constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Integer {
    /// Its low 64 bits, in two's complement.
    pub(crate) slot: Slot,
    pub(crate) is_negative: bool,
}

/// Bytes among the constants: how many, and the first constant that they fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bytes {
    pub(crate) len: usize,
    pub(crate) first: Slot,
}

/// What constants refer to. Equal entries are kept once.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Words in ascending order, at least one.
    pub(crate) sorted: IndexSet<Vec<u64>>,
    /// Patterns for texts.
    pub(crate) texts: IndexSet<(Vec<Piece>, TextEnd)>,
}
