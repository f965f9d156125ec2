//! From the conditions of the language to decision graphs.

use knobgate_glob::{Piece, TextEnd};
use knobgate_policy::limits::{ELEMENTS_MAX, SHORT_VALUE_MAX};
use knobgate_policy::{
    self as policy, Condition, Elements, KnobNetns, ListTest, Range, Relation, TextOperand, Value, ValueText,
};

use super::constants::Constants;
use crate::ir::{
    Automaton, Bytes, Constant, FetchSet, Graph, Next, Node, Number, NumberSet, Operand, Sorted, Subject,
    TableContents, Test, TextAutomaton, TextTest, netns,
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
                let each = chain.operands().find_map(policy::Operand::each_of);
                self.for_each(each, holds, fails, |builder, each, holds| {
                    let mut left = builder.operand(chain.first(), each);
                    builder.sequence(chain.links(), |builder, (relation, right), last, next| {
                        let right = builder.operand(*right, each);
                        let test = Test::Compare { left, relation: *relation, right };
                        builder.node(test, if last { holds } else { next }, fails);
                        left = right;
                    });
                });
            }
            Condition::InRange(in_range) => {
                let operand = in_range.operand();
                self.for_each(operand.each_of(), holds, fails, |builder, each, holds| {
                    let operand = builder.operand(operand, each);
                    builder.range(operand, in_range.range(), holds, fails);
                });
            }
            Condition::InSet(in_set) => {
                let operand = in_set.operand();
                self.for_each(operand.each_of(), holds, fails, |builder, each, holds| {
                    let operand = builder.operand(operand, each);
                    builder.set(operand, in_set.members(), holds, fails);
                });
            }
            Condition::List(value, test) => {
                let (holds, fails) = match test {
                    ListTest::Differs(_) => (fails, holds),
                    ListTest::Equals(_) | ListTest::In(_) => (holds, fails),
                };
                let ranges = test.ranges();
                let count = ranges.len() as u8;
                let bounded: Vec<(u8, Range)> =
                    (0..).zip(ranges).filter(|(_, range)| *range != Range::ALL).collect();
                self.sequence(&bounded, |builder, (index, range), last, next| {
                    let number = Operand::Number(Number::of_list(*value, *index, count));
                    builder.fetch.add(*value);
                    builder.range(number, *range, if last { holds } else { next }, fails);
                });
            }
            Condition::Ranges(test) => {
                let value = test.value();
                self.fetch.add(value);
                let automaton = TextAutomaton::Ranges(Range::merged(test.members()));
                let automaton = self.automaton(automaton);
                self.node(Test::Ranges { value, automaton }, holds, fails);
            }
            Condition::Text(operand, test) => self.text(*operand, test, holds, fails),
            Condition::Netns(of) => {
                let (holds, fails) = match of {
                    KnobNetns::Host => (holds, fails),
                    KnobNetns::Other => (fails, holds),
                };
                let right = Operand::Constant(self.constants.integer(netns::HOST.into()));
                let test = Test::Compare { left: Operand::KnobNetns, relation: Relation::Equal, right };
                self.node(test, holds, fails);
            }
        }
    }

    /// Builds a comparison. If it is about each number of a value, it is built for every index: it holds if there are numbers, and
    /// if it holds for all of them. `build` gets the index, and where to go if the comparison holds.
    fn for_each(
        &mut self,
        each: Option<Value>,
        holds: EdgeTarget,
        fails: EdgeTarget,
        mut build: impl FnMut(&mut Self, u8, EdgeTarget),
    ) {
        let Some(value) = each else { return build(self, 0, holds) };
        self.fetch.add(value);
        let indices: Vec<u8> = (0..ELEMENTS_MAX as u8).collect();
        self.sequence(&indices, |builder, index, last, next| {
            // There is a number at this index, or all have been compared.
            builder.sequence(&[(), ()], |builder, (), is_comparison, compare| {
                if is_comparison {
                    return build(builder, *index, if last { holds } else { next });
                }
                let right = Operand::Constant(builder.constants.integer(u32::from(*index).into()));
                let test = Test::Compare { left: Operand::Count(value), relation: Relation::Greater, right };
                builder.node(test, compare, if *index == 0 { fails } else { holds });
            });
        });
    }

    /// Builds the test whether `operand` is in `range`, which has an end.
    fn range(&mut self, operand: Operand, range: Range, holds: EdgeTarget, fails: EdgeTarget) {
        let ends = match range.only_member() {
            Some(only) => vec![(Relation::Equal, only)],
            None => {
                let low = range.low().map(|low| (Relation::GreaterOrEqual, low));
                let high = range.high().map(|high| (Relation::LessOrEqual, high));
                low.into_iter().chain(high).collect()
            }
        };
        self.sequence(&ends, |builder, (relation, end), last, next| {
            builder.compare(operand, *relation, *end, if last { holds } else { next }, fails);
        });
    }

    /// Builds the test whether `operand` is in one of these ranges, each of which has an end.
    fn set(&mut self, operand: Operand, members: &[Range], holds: EdgeTarget, fails: EdgeTarget) {
        let integers: Option<Vec<policy::Integer>> = members.iter().map(Range::only_member).collect();
        match integers {
            Some(integers) if integers.len() > COMPARED_NUMBERS_MAX => {
                let (negative, nonnegative) = integers.iter().partition(|integer| integer.is_negative());
                let set =
                    NumberSet { nonnegative: self.sorted(nonnegative), negative: self.sorted(negative) };
                self.node(Test::Member { operand, set }, holds, fails);
            }
            Some(integers) => self.sequence(&integers, |builder, member, last, next| {
                builder.compare(operand, Relation::Equal, *member, holds, if last { fails } else { next });
            }),
            None => self.cuts(operand, &cuts(members), (holds, fails)),
        }
    }

    /// Builds a binary search among `cuts`, at least one: below the first of them, `operand` is outside of the set, and after each
    /// cut on the other side than before it.
    fn cuts(&mut self, operand: Operand, cuts: &[Cut], (holds, fails): (EdgeTarget, EdgeTarget)) {
        let (below, rest) = cuts.split_at(cuts.len() / 2);
        let [cut, above @ ..] = rest else { return };
        let of = |is_inside| if is_inside { holds } else { fails };
        // The label after the tests of what is below.
        self.sequence(&[(), ()], |builder, (), is_above, next| match is_above {
            false => {
                let end = if above.is_empty() { of(cut.is_inside) } else { next };
                if below.is_empty() {
                    builder.compare(operand, Relation::Less, cut.at, of(!cut.is_inside), end);
                } else {
                    builder.sequence(&[(), ()], |builder, (), is_below, below_next| match is_below {
                        false => builder.compare(operand, Relation::Less, cut.at, below_next, end),
                        true => builder.cuts(operand, below, (holds, fails)),
                    });
                }
            }
            true => builder.cuts(operand, above, (holds, fails)),
        });
    }

    /// Builds the comparison of `operand` with `integer`.
    fn compare(
        &mut self,
        operand: Operand,
        relation: Relation,
        integer: policy::Integer,
        holds: EdgeTarget,
        fails: EdgeTarget,
    ) {
        let right = Operand::Constant(self.constants.integer(integer));
        self.node(Test::Compare { left: operand, relation, right }, holds, fails);
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

    /// The operand, where each number of a value is the one at the index `each`.
    fn operand(&mut self, operand: policy::Operand, each: u8) -> Operand {
        let operand = match operand {
            policy::Operand::Literal(integer) => Operand::Constant(self.constants.integer(integer)),
            policy::Operand::Number(value, elements, mask) => {
                let number = match elements {
                    Elements::Only => Number::only(value),
                    Elements::At(index) => Number::at(value, index.get()),
                    Elements::Each => Number::at(value, each),
                };
                match mask {
                    None => Operand::Number(number),
                    Some(mask) => Operand::Masked(number, self.constants.slot(Constant::Word(mask.get()))),
                }
            }
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
            policy::TextTest::Equals(text) => (self.equals(subject, text), holds, fails),
            policy::TextTest::Differs(text) => (self.equals(subject, text), fails, holds),
            policy::TextTest::In(texts) if texts.len() > COMPARED_TEXTS_MAX => {
                let branches = texts.iter().map(|text| literal(text).into_iter().collect()).collect();
                (self.matches(vec![Piece::Alternatives(branches)], end), holds, fails)
            }
            policy::TextTest::In(texts) => {
                return self.sequence(texts, |builder, text, last, next| {
                    let test = Test::Text { subject, test: builder.equals(subject, text) };
                    builder.node(test, holds, if last { fails } else { next });
                });
            }
            policy::TextTest::StartsWith(text) if is_compared(subject, text) => {
                (TextTest::StartsWith(self.bytes(text)), holds, fails)
            }
            policy::TextTest::StartsWith(text) => {
                let pieces = literal(text).into_iter().chain([Piece::Star]).collect();
                (self.matches(pieces, end), holds, fails)
            }
            policy::TextTest::Matches(glob) => (self.matches(glob.pieces().to_vec(), end), holds, fails),
            policy::TextTest::Contains(text) => {
                let rest = literal(text).map(|literal| [literal, Piece::Star]);
                let pieces = std::iter::once(Piece::Star).chain(rest.into_iter().flatten());
                (self.matches(pieces.collect(), end), holds, fails)
            }
        };
        self.node(Test::Text { subject, test }, holds, fails);
    }

    /// Whether a text is this one.
    fn equals(&mut self, subject: Subject, text: &ValueText) -> TextTest {
        if is_compared(subject, text) {
            TextTest::Equals(self.bytes(text))
        } else {
            self.matches(literal(text).into_iter().collect(), subject.end())
        }
    }

    fn matches(&mut self, pieces: Vec<Piece>, end: TextEnd) -> TextTest {
        TextTest::Matches(self.automaton(TextAutomaton::Glob(pieces, end)))
    }

    fn automaton(&mut self, automaton: TextAutomaton) -> Automaton {
        let index = self.tables.texts.insert_full(automaton).0;
        Automaton {
            classes: self.constants.slot(Constant::ClassesAt(index)),
            start: self.constants.slot(Constant::StartState(index)),
        }
    }

    fn bytes(&mut self, text: &ValueText) -> Bytes {
        self.constants.bytes(text.as_bytes())
    }
}

/// Whether texts are compared with this one byte by byte. Only the first bytes of a value are on the stack, so longer texts are
/// matched by a DFA.
fn is_compared(subject: Subject, text: &ValueText) -> bool {
    subject == Subject::Comm || text.as_bytes().len() < SHORT_VALUE_MAX
}

/// A number from which on numbers are inside a set, or outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    at: policy::Integer,
    is_inside: bool,
}

/// Where the numbers in these ranges begin and end, in ascending order.
fn cuts(ranges: &[Range]) -> Vec<Cut> {
    let cut = |at, is_inside| policy::Integer::new(at).map(|at| Cut { at, is_inside });
    let ends = |range: Range| {
        let low = range.low().unwrap_or(policy::Integer::MIN).get();
        // No integer follows the greatest one.
        [cut(low, true), range.high().and_then(|high| cut(high.get() + 1, false))]
    };
    Range::merged(ranges).into_iter().flat_map(ends).flatten().collect()
}

fn literal(text: &ValueText) -> Option<Piece> {
    (!text.as_bytes().is_empty()).then(|| Piece::Literal(text.as_bytes().to_vec()))
}
