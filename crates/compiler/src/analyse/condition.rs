//! From the conditions of the language to decision graphs.

use knobgate_glob::{Piece, TextEnd};
use knobgate_policy::{self as policy, Condition, Relation, TextOperand, ValueText};

use super::constants::Constants;
use crate::ir::{
    Bytes, Constant, FetchSet, Graph, Next, Node, NumberSet, Operand, Sorted, Subject, TableContents, Test,
    TextTest,
};

/// Larger sets of integers are searched in a table.
const COMPARED_NUMBERS_MAX: usize = 16;

/// Larger sets of texts are matched by a DFA.
const COMPARED_TEXTS_MAX: usize = 32;

/// The graph of `condition`, and the constants of its tests. Adds the values that it looks at to `fetch`, and to `tables` what
/// the constants refer to.
pub(super) fn lower(
    condition: &Condition,
    fetch: &mut FetchSet,
    tables: &mut TableContents,
) -> (Graph, Vec<Constant>) {
    let mut builder =
        Builder { nodes: Vec::new(), labels: Vec::new(), constants: Constants::default(), fetch, tables };
    builder.condition(condition, EdgeTarget::Holds, EdgeTarget::Fails);
    let Builder { nodes, labels, constants, .. } = builder;
    let next = |target| match target {
        EdgeTarget::Holds => Next::Holds,
        EdgeTarget::Fails => Next::Fails,
        EdgeTarget::Label(label) => Next::Node(labels[label]),
    };
    let nodes =
        nodes.into_iter().map(|(test, holds, fails)| Node { test, holds: next(holds), fails: next(fails) });
    (Graph::new(nodes.collect()), constants.0)
}

/// Where an edge leads. Its node may not exist yet.
#[derive(Clone, Copy)]
enum EdgeTarget {
    Holds,
    Fails,
    /// The node to which this label is bound.
    Label(usize),
}

struct Builder<'a> {
    nodes: Vec<(Test, EdgeTarget, EdgeTarget)>,
    /// The node of each label.
    labels: Vec<usize>,
    constants: Constants,
    fetch: &'a mut FetchSet,
    tables: &'a mut TableContents,
}

impl Builder<'_> {
    fn condition(&mut self, condition: &Condition, holds: EdgeTarget, fails: EdgeTarget) {
        match condition {
            Condition::Not(negated) => self.condition(negated, fails, holds),
            Condition::All(all) => {
                self.sequence(all, |builder, part, last, next| {
                    builder.condition(part, if last { holds } else { next }, fails);
                });
            }
            Condition::Any(any) => {
                self.sequence(any, |builder, part, last, next| {
                    builder.condition(part, holds, if last { fails } else { next });
                });
            }
            Condition::Chain(chain) => {
                let mut left = self.operand(chain.first());
                self.sequence(chain.links(), |builder, (relation, right), last, next| {
                    let right = builder.operand(*right);
                    let test = Test::Compare { left, relation: *relation, right };
                    builder.node(test, if last { holds } else { next }, fails);
                    left = right;
                });
            }
            Condition::InRange(in_range) => {
                let operand = self.operand(in_range.operand());
                let range = in_range.range();
                let low = range.low().map(|low| (Relation::GreaterOrEqual, low));
                let high = range.high().map(|high| (Relation::LessOrEqual, high));
                let ends: Vec<_> = low.into_iter().chain(high).collect();
                self.sequence(&ends, |builder, (relation, end), last, next| {
                    let right = Operand::Constant(builder.constants.integer(*end));
                    let test = Test::Compare { left: operand, relation: *relation, right };
                    builder.node(test, if last { holds } else { next }, fails);
                });
            }
            Condition::InSet(in_set) if in_set.members().len() > COMPARED_NUMBERS_MAX => {
                let operand = self.operand(in_set.operand());
                let (negative, nonnegative) =
                    in_set.members().iter().partition(|integer| integer.is_negative());
                let set =
                    NumberSet { nonnegative: self.sorted(nonnegative), negative: self.sorted(negative) };
                self.node(Test::Member { operand, set }, holds, fails);
            }
            Condition::InSet(in_set) => {
                let left = self.operand(in_set.operand());
                self.sequence(in_set.members(), |builder, member, last, next| {
                    let right = Operand::Constant(builder.constants.integer(*member));
                    let test = Test::Compare { left, relation: Relation::Equal, right };
                    builder.node(test, holds, if last { fails } else { next });
                });
            }
            Condition::Text(operand, test) => self.text(*operand, test, holds, fails),
        }
    }

    /// Builds `parts` in order: `build` gets each part, whether it is the last, and where the next one starts.
    fn sequence<T>(&mut self, parts: &[T], mut build: impl FnMut(&mut Self, &T, bool, EdgeTarget)) {
        for (index, part) in parts.iter().enumerate() {
            let label = self.labels.len();
            self.labels.push(0);
            build(self, part, index + 1 == parts.len(), EdgeTarget::Label(label));
            self.labels[label] = self.nodes.len();
        }
    }

    fn node(&mut self, test: Test, holds: EdgeTarget, fails: EdgeTarget) {
        self.nodes.push((test, holds, fails));
    }

    fn operand(&mut self, operand: policy::Operand) -> Operand {
        let operand = match operand {
            policy::Operand::Literal(integer) => Operand::Constant(self.constants.integer(integer)),
            policy::Operand::Only(value) => Operand::Only(value),
            policy::Operand::Element(value, index) => Operand::Element(value, index.get()),
            policy::Operand::Count(value) => Operand::Count(value),
            policy::Operand::Pos => Operand::Position,
            policy::Operand::Uid => Operand::Uid,
            policy::Operand::Gid => Operand::Gid,
        };
        if let Some(counts) = operand.counts() {
            self.fetch.add(counts.value);
        }
        operand
    }

    /// The table of integers of one sign, if there are any.
    fn sorted(&mut self, integers: Vec<&policy::Integer>) -> Option<Sorted> {
        let mut bits: Vec<u64> = integers.into_iter().map(|integer| integer.low_bits()).collect();
        if bits.is_empty() {
            return None;
        }
        bits.sort_unstable();
        bits.dedup();
        let index = self.tables.sorted.insert_full(bits).0;
        Some(Sorted {
            offset: self.constants.slot(Constant::SortedAt(index)),
            log2: self.constants.slot(Constant::SortedLog2(index)),
        })
    }

    fn text(&mut self, operand: TextOperand, test: &policy::TextTest, holds: EdgeTarget, fails: EdgeTarget) {
        let subject = match operand {
            TextOperand::Value(value) => {
                self.fetch.add(value);
                Subject::Value(value)
            }
            TextOperand::Comm => Subject::Comm,
        };
        let end = subject.end();
        let (test, holds, fails) = match test {
            policy::TextTest::Equals(text) => (TextTest::Equals(self.bytes(text)), holds, fails),
            policy::TextTest::Differs(text) => (TextTest::Equals(self.bytes(text)), fails, holds),
            policy::TextTest::In(texts) if texts.len() > COMPARED_TEXTS_MAX => {
                let branches = texts.iter().map(|text| literal(text).into_iter().collect()).collect();
                (self.matches(vec![Piece::Alternatives(branches)], end), holds, fails)
            }
            policy::TextTest::In(texts) => {
                return self.sequence(texts, |builder, text, last, next| {
                    let test = Test::Text { subject, test: TextTest::Equals(builder.bytes(text)) };
                    builder.node(test, holds, if last { fails } else { next });
                });
            }
            policy::TextTest::StartsWith(text) => (TextTest::StartsWith(self.bytes(text)), holds, fails),
            policy::TextTest::Matches(glob) => (self.matches(glob.pieces().to_vec(), end), holds, fails),
            policy::TextTest::Contains(text) => {
                let rest = literal(text).map(|literal| [literal, Piece::Star]);
                let pieces = std::iter::once(Piece::Star).chain(rest.into_iter().flatten());
                (self.matches(pieces.collect(), end), holds, fails)
            }
        };
        self.node(Test::Text { subject, test }, holds, fails);
    }

    fn matches(&mut self, pieces: Vec<Piece>, end: TextEnd) -> TextTest {
        let index = self.tables.texts.insert_full((pieces, end)).0;
        TextTest::Matches {
            classes: self.constants.slot(Constant::ClassesAt(index)),
            start: self.constants.slot(Constant::StartState(index)),
        }
    }

    fn bytes(&mut self, text: &ValueText) -> Bytes {
        self.constants.bytes(text.as_bytes())
    }
}

fn literal(text: &ValueText) -> Option<Piece> {
    (!text.as_bytes().is_empty()).then(|| Piece::Literal(text.as_bytes().to_vec()))
}
