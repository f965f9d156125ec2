//! The decision graph of a condition.

use knobgate_glob::TextEnd;
use knobgate_policy::limits::ELEMENTS_MAX;
use knobgate_policy::{Relation, Value};

use super::{Bytes, Integer, Slot};

/// A condition as a graph of tests. It starts with the first node, and every edge leads to a later node. An empty graph
/// holds. A test that cannot be evaluated ends the evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
}

/// One test, and its two successors.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) test: Test,
    /// The successor if the test holds.
    pub(crate) holds: Next,
    /// The successor if it does not.
    pub(crate) fails: Next,
}

/// Where an edge leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Next {
    /// To the node with this index.
    Node(usize),
    /// The condition holds.
    Holds,
    /// The condition does not hold.
    Fails,
}

/// What a node tests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Test {
    /// Compares two numbers.
    Compare { left: Operand, relation: Relation, right: Operand },
    /// Looks for a number among many.
    Member { operand: Operand, set: NumberSet },
    /// Whether a value is a set of numbers inside ranges, as the output of [this automaton](crate::layout::ranges) says.
    Ranges { value: Value, automaton: Automaton },
    /// Looks at a text.
    Text { subject: Subject, test: TextTest },
}

/// A number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operand {
    Constant(Integer),
    Number(Number),
    /// Some bits of a number, which must not be negative. The mask is this constant.
    Masked(Number, Slot),
    Count(Value),
    Position,
    Uid,
    Gid,
    /// The network namespace that owns the knob: one of the [`netns`] numbers.
    KnobNetns,
}

/// The network namespaces that own knobs, as conditions tell them apart. None is 0, of which the verifier knows more than of
/// other numbers.
pub(crate) mod netns {
    pub(crate) const OTHER: u32 = 1;
    pub(crate) const HOST: u32 = 2;
}

/// The number at an index of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Number {
    pub(crate) value: Value,
    pub(crate) index: u8,
    /// How many numbers the value must have at least, which is more than the index.
    pub(crate) least: u8,
    /// How many it may have at most.
    pub(crate) most: u8,
}

/// A set of many numbers: those of each sign, if there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NumberSet {
    pub(crate) nonnegative: Option<Sorted>,
    pub(crate) negative: Option<Sorted>,
}

/// Numbers of one sign: the low 64 bits of each, in ascending order, in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sorted {
    /// The offset of the table.
    pub(crate) offset: Slot,
    /// How many there are: 2 to the power of it.
    pub(crate) log2: Slot,
}

/// A text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Value(Value),
    Comm,
}

impl Subject {
    /// Where its text ends.
    pub(crate) fn end(self) -> TextEnd {
        match self {
            Self::Value(_) => TextEnd::NulOrNewline,
            Self::Comm => TextEnd::Nul,
        }
    }

    /// The value whose text it is, if it is one.
    pub(crate) fn value(self) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Comm => None,
        }
    }
}

/// A predicate on text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TextTest {
    Equals(Bytes),
    StartsWith(Bytes),
    /// The output of the automaton is not 0.
    Matches(Automaton),
}

/// A DFA: where its byte classes are, and the state in which it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Automaton {
    pub(crate) classes: Slot,
    pub(crate) start: Slot,
}

/// How much of a text is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    /// As many bytes as it is compared with.
    Start,
}

/// That a value is a list of numbers, at least `least` and at most `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CountRange {
    pub(crate) value: Value,
    pub(crate) least: u8,
    pub(crate) most: u8,
}

impl Number {
    /// The number at `index` of a value that has more than that.
    pub(crate) fn at(value: Value, index: u8) -> Self {
        Self { value, index, least: index + 1, most: ELEMENTS_MAX as u8 }
    }

    /// The number at `index` of a value of exactly `count` numbers.
    pub(crate) fn of_list(value: Value, index: u8, count: u8) -> Self {
        Self { value, index, least: count, most: count }
    }

    /// The number of a value that has exactly one.
    pub(crate) fn only(value: Value) -> Self {
        Self::of_list(value, 0, 1)
    }
}

impl Operand {
    /// The value that it looks at, and how many numbers that must have for the operand to be evaluated.
    pub(crate) fn counts(self) -> Option<CountRange> {
        const MOST: u8 = ELEMENTS_MAX as u8;
        match self {
            Operand::Number(Number { value, least, most, .. })
            | Operand::Masked(Number { value, least, most, .. }, _) => {
                Some(CountRange { value, least, most })
            }
            Operand::Count(value) => Some(CountRange { value, least: 0, most: MOST }),
            Operand::Constant(_) | Operand::Position | Operand::Uid | Operand::Gid | Operand::KnobNetns => {
                None
            }
        }
    }
}

impl Test {
    /// The numbers that it looks at, in the order of their evaluation.
    pub(crate) fn operands(&self) -> impl Iterator<Item = Operand> {
        let operands = match self {
            Test::Compare { left, right, .. } => [Some(*left), Some(*right)],
            Test::Member { operand, .. } => [Some(*operand), None],
            Test::Ranges { .. } | Test::Text { .. } => [None, None],
        };
        operands.into_iter().flatten()
    }
}

/// What is certain when a node is reached, because every path to it has tested it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Established {
    /// The new value is a list of numbers: at least, and at most, this many.
    new: Option<(u8, u8)>,
    old: Option<(u8, u8)>,
    /// The new value has a text.
    new_text: bool,
    old_text: bool,
    /// The name of the task is known.
    pub(crate) comm: bool,
    /// The ids of the task are known.
    pub(crate) ids: bool,
}

impl Established {
    /// The bounds of the count of numbers in `value`, if it is certain to be a list of numbers.
    pub(crate) fn counts(&self, value: Value) -> Option<(u8, u8)> {
        match value {
            Value::New => self.new,
            Value::Old => self.old,
        }
    }

    /// Whether `value` is certain to have a text.
    pub(crate) fn has_text(&self, value: Value) -> bool {
        // A list of numbers has one.
        self.counts(value).is_some()
            || match value {
                Value::New => self.new_text,
                Value::Old => self.old_text,
            }
    }

    /// Adds that `operand` has been evaluated.
    pub(crate) fn add_operand(&mut self, operand: Operand) {
        if let Some(CountRange { value, least, most }) = operand.counts() {
            let counts = match value {
                Value::New => &mut self.new,
                Value::Old => &mut self.old,
            };
            *counts = Some(counts.map_or((least, most), |(low, high)| (low.max(least), high.min(most))));
        }
        self.ids |= matches!(operand, Operand::Uid | Operand::Gid);
    }

    /// Adds that `subject` has been looked at.
    pub(crate) fn add_subject(&mut self, subject: Subject) {
        match subject {
            Subject::Value(Value::New) => self.new_text = true,
            Subject::Value(Value::Old) => self.old_text = true,
            Subject::Comm => self.comm = true,
        }
    }

    fn add(&mut self, test: &Test) {
        test.operands().for_each(|operand| self.add_operand(operand));
        match test {
            Test::Text { subject, .. } => self.add_subject(*subject),
            Test::Ranges { value, .. } => self.add_subject(Subject::Value(*value)),
            Test::Compare { .. } | Test::Member { .. } => {}
        }
    }

    /// What is certain on both of two paths.
    fn and(self, other: Self) -> Self {
        let both = |one: Option<(u8, u8)>, other| {
            one.zip(other).map(|((a, b), (c, d)): ((u8, u8), (u8, u8))| (a.min(c), b.max(d)))
        };
        Self {
            new: both(self.new, other.new),
            old: both(self.old, other.old),
            new_text: self.has_text(Value::New) && other.has_text(Value::New),
            old_text: self.has_text(Value::Old) && other.has_text(Value::Old),
            comm: self.comm && other.comm,
            ids: self.ids && other.ids,
        }
    }
}

impl Graph {
    /// The graph that holds.
    pub(crate) const EMPTY: Self = Self { nodes: Vec::new() };

    /// The graph of these nodes.
    ///
    /// # Panics
    /// An edge does not lead to a later node.
    pub(crate) fn new(nodes: Vec<Node>) -> Self {
        for (index, node) in nodes.iter().enumerate() {
            for next in [node.holds, node.fails] {
                assert!(!matches!(next, Next::Node(next) if next <= index || next >= nodes.len()));
            }
        }
        Self { nodes }
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What is certain before each node, so that tests need not check it again.
    pub(crate) fn established(&self) -> Vec<Established> {
        let mut before: Vec<Option<Established>> = vec![None; self.nodes.len()];
        if let Some(first) = before.first_mut() {
            *first = Some(Established::default());
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let mut after = before[index].unwrap_or_default();
            after.add(&node.test);
            for next in [node.holds, node.fails] {
                if let Next::Node(next) = next {
                    before[next] = Some(before[next].map_or(after, |other| other.and(after)));
                }
            }
        }
        before.into_iter().map(Option::unwrap_or_default).collect()
    }
}

#[cfg(test)]
mod tests {
    use knobgate_policy::Relation;

    use super::*;

    fn at(value: Value, index: u8) -> Operand {
        Operand::Number(Number::at(value, index))
    }

    fn only(value: Value) -> Operand {
        Operand::Number(Number::only(value))
    }

    fn compare(left: Operand, holds: Next, fails: Next) -> Node {
        Node {
            test: Test::Compare { left, relation: Relation::Equal, right: Operand::Position },
            holds,
            fails,
        }
    }

    fn text(subject: Subject, holds: Next, fails: Next) -> Node {
        let test = TextTest::Equals(Bytes { len: 0, first: Slot(0) });
        Node { test: Test::Text { subject, test }, holds, fails }
    }

    #[test]
    fn what_is_certain_is_what_every_path_has_looked_at() {
        use Next::{Fails, Holds, Node as To};
        let new = Value::New;
        let counts = |nodes: Vec<Node>| Graph::new(nodes).established().last().unwrap().counts(new);
        let last = || compare(Operand::Uid, Holds, Fails);
        // Both paths have looked at numbers: the wider of the two ranges.
        let joined = |one, other| {
            vec![
                compare(Operand::Uid, To(1), To(2)),
                compare(one, To(3), Fails),
                compare(other, To(3), Fails),
                last(),
            ]
        };
        assert_eq!(counts(joined(at(new, 2), Operand::Count(new))), Some((0, 8)));
        assert_eq!(counts(joined(only(new), at(new, 0))), Some((1, 8)));
        assert_eq!(counts(joined(at(new, 2), only(Value::Old))), None);
        // One path has looked at it first and at more of it later.
        let after =
            vec![compare(Operand::Count(new), To(1), To(1)), compare(at(new, 3), To(2), To(2)), last()];
        assert_eq!(counts(after), Some((4, 8)));
        // A path around it.
        let around = vec![compare(Operand::Uid, To(1), To(2)), compare(only(new), To(2), Fails), last()];
        assert_eq!(counts(around), None);

        let texts = |one: Node, other: Node| {
            let nodes = vec![compare(Operand::Position, To(1), To(2)), one, other, last()];
            let established = *Graph::new(nodes).established().last().unwrap();
            (established.has_text(new), established.comm, established.ids)
        };
        let of_new = || text(Subject::Value(new), To(3), Fails);
        assert_eq!(texts(of_new(), of_new()), (true, false, false));
        // A list of numbers has a text, too.
        assert_eq!(texts(of_new(), compare(only(new), To(3), Fails)), (true, false, false));
        assert_eq!(texts(of_new(), text(Subject::Comm, To(3), Fails)), (false, false, false));
        assert_eq!(
            texts(text(Subject::Comm, To(3), Fails), text(Subject::Comm, To(3), Fails)),
            (false, true, false)
        );
        assert_eq!(
            texts(compare(Operand::Gid, To(3), Fails), compare(Operand::Uid, To(3), Fails)),
            (false, false, true)
        );
    }
}
