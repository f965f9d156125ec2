//! What a rule does, without its constants: rules with equal bodies share their code, however many they are.

use knobgate_bpf::Features;
use knobgate_policy::limits::{NUMBER_CHARS_MAX, VALUE_MAX};
use knobgate_policy::{
    Action, Condition, Errno, Integer, Operand, Piece, Range, Relation, Rule, TextOperand, TextTest, Value,
    ValueText, Width,
};

use crate::automaton::TextEnd;
use crate::blocks::Form;
use crate::error::CompileError;
use crate::frame::VALUE_BYTES;
use crate::lower::Exit;
use crate::nodes::{Nodes, end};
use crate::tables::Tables;

/// A condition and what is done where it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Body {
    pub(crate) condition: Option<Test>,
    pub(crate) deed: Deed,
}

/// The values that are fetched before a chain of rules begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub(crate) struct Needs {
    pub(crate) new: bool,
    pub(crate) old: bool,
    /// Which numbers of the new value are taken for numbers.
    pub(crate) width: Width,
}

/// A condition, see [`Condition`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Test {
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    Chain {
        first: Term,
        links: Vec<(Relation, Term)>,
    },
    InRange(Term, Ends),
    InSet(Term, Vec<Constant>),
    /// It is in a set of many.
    InTable(Term, SetAt),
    Text(TextAt, TextCheck),
}

/// An integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Term {
    Constant(Constant),
    /// The number of a value that has one.
    Only(Value),
    Element(Value, u8),
    Count(Value),
    Position,
    Uid,
    Gid,
}

/// An integer that is the rule's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Constant {
    /// Where among the rule's constants its low 64 bits are.
    pub(crate) slot: Slot,
    pub(crate) is_negative: bool,
}

/// The index of a constant of 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Slot(pub(crate) usize);

/// The ends that a range has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ends {
    pub(crate) low: Option<Constant>,
    pub(crate) high: Option<Constant>,
}

/// A set of many integers: those of each sign, if there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SetAt {
    pub(crate) nonnegative: Option<SortedAt>,
    pub(crate) negative: Option<SortedAt>,
}

/// Integers of one sign: their low 64 bits in ascending order, in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SortedAt {
    /// The constant that says where.
    pub(crate) offset: Slot,
    /// The constant that says how many: 2 to the power of it.
    pub(crate) log2: Slot,
}

/// Sets of more integers are data, and searched.
const SET_IN_CODE_MAX: usize = 16;

/// Sets of more texts are found by an automaton.
const TEXTS_IN_CODE_MAX: usize = 32;

/// What a predicate on text looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TextAt {
    Value(Value),
    Comm,
}

/// A predicate on text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TextCheck {
    Equals(Bytes),
    Differs(Bytes),
    In(Vec<Bytes>),
    StartsWith(Bytes),
    /// The output of an automaton is 1: where its classes are, and where it starts.
    Matches {
        classes: Slot,
        start: Slot,
    },
}

/// Bytes that are the rule's own: how many, and where the constants that they fill begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bytes {
    pub(crate) len: usize,
    pub(crate) first: Slot,
}

/// What a rule does in the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Deed {
    Allow,
    Deny(Errno),
    /// It cannot be evaluated.
    Unreadable,
    /// Replaces the value by the text that fills a whole buffer.
    Set(Bytes),
    Ignore,
    /// Moves the one number between ends.
    ClampOne(Vec<Bound>),
    /// Moves each number between its ends.
    ClampEach(Vec<Vec<Bound>>),
}

/// An end of a range to clamp to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bound {
    /// In which relation a number inside stands to it.
    pub(crate) inside: Relation,
    pub(crate) end: Constant,
    /// How it is spelled, in [`SPELLED_BYTES`] bytes with zeros behind.
    pub(crate) spelled: Bytes,
    /// How many bytes that takes.
    pub(crate) len: Slot,
    /// Whether the knob stores it as it is.
    pub(crate) is_stored: bool,
}

/// Bytes of constants that a spelled number fills.
pub(crate) const SPELLED_BYTES: usize = (NUMBER_CHARS_MAX + 1).next_multiple_of(8);

/// A body with one rule's constants.
#[derive(Debug, Clone)]
pub(crate) struct Lifted {
    pub(crate) body: Body,
    pub(crate) constants: Vec<u64>,
    /// Which values have to be fetched for it.
    pub(crate) needs: Needs,
    /// How many tests of its condition are made at most, if that is [data](crate::nodes).
    pub(crate) tests: usize,
}

impl Lifted {
    /// What does this, which needs nothing, without a condition.
    pub(crate) fn of(deed: Deed, form: Form) -> Self {
        let constants = match form {
            Form::Code => Vec::new(),
            Form::Table => vec![end::DECIDES.into()],
        };
        Self { body: Body { condition: None, deed }, constants, needs: Needs::default(), tests: 0 }
    }
}

impl Body {
    /// How it ends the program, if that is all that it does.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match (&self.condition, &self.deed) {
            (None, Deed::Allow) => Some(Exit::Allow),
            (None, Deed::Deny(errno)) => Some(Exit::Deny(*errno)),
            _ => None,
        }
    }
}

impl Deed {
    /// Whether it may replace what is written.
    pub(crate) fn rewrites(&self) -> bool {
        match self {
            Deed::Allow | Deed::Deny(_) | Deed::Unreadable => false,
            Deed::Set(_) | Deed::Ignore => true,
            Deed::ClampOne(bounds) => !bounds.is_empty(),
            Deed::ClampEach(bounds) => bounds.iter().any(|bounds| !bounds.is_empty()),
        }
    }
}

impl Needs {
    pub(crate) fn and(self, other: Self) -> Self {
        // In one chain it matters to all or to none.
        let width = if self.width == Width::default() { other.width } else { self.width };
        Self { new: self.new || other.new, old: self.old || other.old, width }
    }

    /// The values, in the order in which they are fetched.
    pub(crate) fn values(self) -> impl Iterator<Item = Value> {
        [(self.new, Value::New), (self.old, Value::Old)]
            .into_iter()
            .filter_map(|(is_needed, value)| is_needed.then_some(value))
    }

    pub(crate) fn has(self, value: Value) -> bool {
        match value {
            Value::New => self.new,
            Value::Old => self.old,
        }
    }

    fn add(&mut self, value: Value) {
        match value {
            Value::New => self.new = true,
            Value::Old => self.old = true,
        }
    }
}

/// Takes the constants out of `rule`, which has this index, for knobs of this `width`, if that matters to it.
///
/// # Errors
/// It asks for what the kernel does not tell, or a text pattern makes too large an automaton.
pub(crate) fn lift(
    rule: &Rule,
    (index, width): (usize, Option<Width>),
    features: &Features,
    tables: &mut Tables,
) -> Result<Lifted, CompileError> {
    let mut lifting = Lifting::new(index, width, features, tables);
    let condition = rule.condition().map(|condition| lifting.test(condition)).transpose()?;
    let deed = lifting.deed(rule.action());
    let Lifting { constants, needs, .. } = lifting;
    Ok(Lifted { body: Body { condition, deed }, constants, needs, tests: 0 })
}

/// The same with the condition as `nodes`: where it begins is the first constant.
///
/// # Errors
/// As [`lift`].
pub(crate) fn lift_apart(
    rule: &Rule,
    (index, width): (usize, Option<Width>),
    features: &Features,
    tables: &mut Tables,
    nodes: &mut Nodes,
) -> Result<Lifted, CompileError> {
    let mut lifting = Lifting::new(index, width, features, tables);
    let condition = rule.condition().map(|condition| lifting.test(condition)).transpose()?;
    let begin = condition.map_or(end::DECIDES, |test| nodes.place(&test, &lifting.constants, lifting.tables));
    lifting.constants = vec![begin.into()];
    let deed = lifting.deed(rule.action());
    let Lifting { constants, needs, .. } = lifting;
    Ok(Lifted { body: Body { condition: None, deed }, constants, needs, tests: nodes.longest(begin) })
}

struct Lifting<'a> {
    rule: usize,
    features: &'a Features,
    tables: &'a mut Tables,
    constants: Vec<u64>,
    needs: Needs,
}

impl<'a> Lifting<'a> {
    fn new(rule: usize, width: Option<Width>, features: &'a Features, tables: &'a mut Tables) -> Self {
        let width = width.unwrap_or_default();
        Self { rule, features, tables, constants: Vec::new(), needs: Needs { width, ..Needs::default() } }
    }

    fn test(&mut self, condition: &Condition) -> Result<Test, CompileError> {
        Ok(match condition {
            Condition::All(all) => Test::All(self.tests(all)?),
            Condition::Any(any) => Test::Any(self.tests(any)?),
            Condition::Not(negated) => Test::Not(Box::new(self.test(negated)?)),
            Condition::Chain(chain) => Test::Chain {
                first: self.term(chain.first())?,
                links: chain
                    .links()
                    .iter()
                    .map(|(relation, operand)| Ok((*relation, self.term(*operand)?)))
                    .collect::<Result<_, CompileError>>()?,
            },
            Condition::InRange(test) => Test::InRange(
                self.term(test.operand())?,
                Ends {
                    low: test.range().low().map(|low| self.constant(low)),
                    high: test.range().high().map(|high| self.constant(high)),
                },
            ),
            Condition::InSet(test) if test.members().len() > SET_IN_CODE_MAX => {
                let term = self.term(test.operand())?;
                let (negative, nonnegative) =
                    test.members().iter().partition(|integer| integer.is_negative());
                Test::InTable(
                    term,
                    SetAt { nonnegative: self.sorted(nonnegative), negative: self.sorted(negative) },
                )
            }
            Condition::InSet(test) => {
                let term = self.term(test.operand())?;
                Test::InSet(term, test.members().iter().map(|&integer| self.constant(integer)).collect())
            }
            Condition::Text(operand, test) => self.text(*operand, test)?,
        })
    }

    fn tests(&mut self, conditions: &[Condition]) -> Result<Vec<Test>, CompileError> {
        conditions.iter().map(|condition| self.test(condition)).collect()
    }

    fn term(&mut self, operand: Operand) -> Result<Term, CompileError> {
        let term = match operand {
            Operand::Literal(integer) => Term::Constant(self.constant(integer)),
            Operand::Only(value) => Term::Only(value),
            Operand::Element(value, index) => Term::Element(value, index.get()),
            Operand::Count(value) => Term::Count(value),
            Operand::Pos => Term::Position,
            Operand::Uid => Term::Uid,
            Operand::Gid => Term::Gid,
        };
        match term {
            Term::Only(value) | Term::Element(value, _) | Term::Count(value) => self.needs.add(value),
            Term::Uid if !self.features.current_uid_gid => return Err(self.not_here("uid")),
            Term::Gid if !self.features.current_uid_gid => return Err(self.not_here("gid")),
            _ => {}
        }
        Ok(term)
    }

    /// Places integers of one sign, unless there are none.
    fn sorted(&mut self, integers: Vec<&Integer>) -> Option<SortedAt> {
        let mut bits: Vec<u64> = integers.into_iter().map(|integer| integer.low_bits()).collect();
        if bits.is_empty() {
            return None;
        }
        bits.sort_unstable();
        bits.dedup();
        let (offset, log2) = self.tables.place_sorted(bits);
        Some(SortedAt { offset: self.slot(offset.into()), log2: self.slot(log2.into()) })
    }

    fn not_here(&self, operand: &'static str) -> CompileError {
        CompileError::NotOnThisKernel { rule: self.rule, operand }
    }

    fn text(&mut self, operand: TextOperand, test: &TextTest) -> Result<Test, CompileError> {
        let (at, end) = match operand {
            TextOperand::Value(value) => {
                self.needs.add(value);
                (TextAt::Value(value), TextEnd::NulOrNewline)
            }
            TextOperand::Comm if !self.features.current_comm => return Err(self.not_here("comm")),
            TextOperand::Comm => (TextAt::Comm, TextEnd::Nul),
        };
        let check = match test {
            TextTest::Equals(text) => TextCheck::Equals(self.bytes(text)),
            TextTest::Differs(text) => TextCheck::Differs(self.bytes(text)),
            TextTest::In(texts) if texts.len() > TEXTS_IN_CODE_MAX => {
                let literal = |text: &ValueText| match text.as_bytes() {
                    [] => Vec::new(),
                    bytes => vec![Piece::Literal(bytes.to_vec())],
                };
                self.automaton(&[Piece::Alternatives(texts.iter().map(literal).collect())], end)?
            }
            TextTest::In(texts) => TextCheck::In(texts.iter().map(|text| self.bytes(text)).collect()),
            TextTest::StartsWith(text) => TextCheck::StartsWith(self.bytes(text)),
            TextTest::Matches(glob) => self.automaton(glob.pieces(), end)?,
            TextTest::Contains(text) => {
                let mut pieces = vec![Piece::Star];
                if !text.as_bytes().is_empty() {
                    pieces.extend([Piece::Literal(text.as_bytes().to_vec()), Piece::Star]);
                }
                self.automaton(&pieces, end)?
            }
        };
        Ok(Test::Text(at, check))
    }

    fn automaton(&mut self, pieces: &[Piece], end: TextEnd) -> Result<TextCheck, CompileError> {
        let placed = self
            .tables
            .automaton(pieces, end)
            .map_err(|_| CompileError::TextTooComplex { rule: self.rule })?;
        Ok(TextCheck::Matches {
            classes: self.slot(placed.classes.into()),
            start: self.slot(placed.start.into()),
        })
    }

    fn deed(&mut self, action: &Action) -> Deed {
        match action {
            Action::Allow => Deed::Allow,
            Action::Deny(errno) => Deed::Deny(*errno),
            // Does not fit into any value that is fetched.
            Action::Set(text) if text.as_bytes().len() > VALUE_MAX => Deed::Unreadable,
            Action::Set(text) => {
                self.needs.add(Value::New);
                Deed::Set(self.padded(text.as_bytes(), VALUE_BYTES as usize))
            }
            Action::Ignore => {
                self.needs.add(Value::New);
                self.needs.add(Value::Old);
                Deed::Ignore
            }
            Action::Clamp(ranges) => {
                self.needs.add(Value::New);
                match &ranges[..] {
                    [range] => Deed::ClampOne(self.bounds(range)),
                    ranges => Deed::ClampEach(ranges.iter().map(|range| self.bounds(range)).collect()),
                }
            }
        }
    }

    fn bounds(&mut self, range: &Range) -> Vec<Bound> {
        let low = range.low().map(|low| (Relation::GreaterOrEqual, low));
        let high = range.high().map(|high| (Relation::LessOrEqual, high));
        low.into_iter()
            .chain(high)
            .map(|(inside, end)| {
                let spelled = end.to_string();
                Bound {
                    inside,
                    end: self.constant(end),
                    spelled: self.padded(spelled.as_bytes(), SPELLED_BYTES),
                    len: self.slot(spelled.len() as u64),
                    is_stored: self.needs.width.contains(end),
                }
            })
            .collect()
    }

    fn constant(&mut self, integer: Integer) -> Constant {
        Constant { slot: self.slot(integer.low_bits()), is_negative: integer.is_negative() }
    }

    fn bytes(&mut self, text: &ValueText) -> Bytes {
        self.padded(text.as_bytes(), text.as_bytes().len())
    }

    /// The bytes, with zeros behind them up to `len`.
    fn padded(&mut self, bytes: &[u8], len: usize) -> Bytes {
        let first = Slot(self.constants.len());
        let mut padded = bytes.to_vec();
        padded.resize(len.next_multiple_of(8), 0);
        self.constants.extend(padded.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)));
        Bytes { len, first }
    }

    fn slot(&mut self, constant: u64) -> Slot {
        self.constants.push(constant);
        Slot(self.constants.len() - 1)
    }
}
