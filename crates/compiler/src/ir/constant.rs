//! Constants, which are hoisted out of conditions and actions, and the tables that they refer to.

use indexmap::IndexSet;
use knobgate_glob::{Piece, TextEnd};
use knobgate_policy::Range;

/// 8 bytes in which a rule may differ from rules with the same structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Constant {
    /// A number, or bytes as a little-endian machine loads them.
    Word(u64),
    /// The offset of the numbers of [`TableContents::sorted`] with this index.
    SortedAt(usize),
    /// How many there are: 2 to the power of it.
    SortedLog2(usize),
    /// The offset of the byte classes of the DFA for [`TableContents::texts`] with this index.
    ClassesAt(usize),
    /// The state in which it starts.
    StartState(usize),
    /// The offset of the text of [`TableContents::long_texts`] with this index.
    TextAt(usize),
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

/// What an automaton finds out about a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TextAutomaton {
    /// Whether it matches, up to this end.
    Glob(Vec<Piece>, TextEnd),
    /// Whether it is a set of numbers, and inside these ranges, which are merged.
    Ranges(Vec<Range>),
}

/// What constants refer to. Equal entries are kept once.
#[derive(Debug, Default)]
pub(crate) struct TableContents {
    /// Words in ascending order, at least one.
    pub(crate) sorted: IndexSet<Vec<u64>>,
    /// Automata for texts.
    pub(crate) texts: IndexSet<TextAutomaton>,
    /// Texts that values are replaced with, and that do not fit on the stack.
    pub(crate) long_texts: IndexSet<Vec<u8>>,
}
