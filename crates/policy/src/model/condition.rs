//! Conditions on an access, besides its kind and name.

use super::{List, PolicyError, Range, ValueText};
use crate::{Integer, TextGlob, limits};

/// A condition. Operands are evaluated from left to right, each only when its turn comes: `and`, `or` and a
/// chain of comparisons stop as soon as their result is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// `… and …`, two or more.
    All(List<Condition, 2>),
    /// `… or …`, two or more.
    Any(List<Condition, 2>),
    /// `not …`
    Not(Box<Condition>),
    /// `a < b <= c`
    Chain(Chain),
    /// `… in A..B`
    InRange(InRange),
    /// `… in {1, 2}`
    InSet(InSet),
    /// A predicate on text.
    Text(TextOperand, TextTest),
}

/// `a < b <= c`: holds if every link does. There is at least one link, and none compares two literals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    first: Operand,
    links: Vec<(Relation, Operand)>,
}

/// `… in A..B`: the operand is not a literal, and at least one end is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InRange {
    operand: Operand,
    range: Range,
}

/// `… in {1, 2}`: the operand is not a literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InSet {
    operand: Operand,
    members: List<Integer, 1>,
}

/// How two integers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

/// An integer in a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// A literal.
    Literal(Integer),
    /// `new` or `old`: a value of exactly one number.
    Only(Value),
    /// `new[i]` or `old[i]`
    Element(Value, ElementIndex),
    /// `count(new)` or `count(old)`: how many numbers the value holds.
    Count(Value),
    /// `pos`: the file position as the hook shows it, which is its low 32 bits.
    Pos,
    /// `uid`: the real user id of the task, in the initial user namespace.
    Uid,
    /// `gid`: the real group id of the task, in the initial user namespace.
    Gid,
}

/// The index of a number in a value: it counts from 0 and is below [`ELEMENTS_MAX`](limits::ELEMENTS_MAX).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ElementIndex(u8);

/// One of the two values of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value {
    /// `new`: what the caller writes.
    New,
    /// `old`: what the knob holds.
    Old,
}

/// A text in a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextOperand {
    /// The text of `new` or `old`: everything before the first newline or NUL.
    Value(Value),
    /// `comm`: the name of the task, at most [`COMM_MAX`](limits::COMM_MAX) bytes.
    Comm,
}

/// A predicate on text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextTest {
    /// `== "text"`
    Equals(ValueText),
    /// `!= "text"`
    Differs(ValueText),
    /// `in {"a", "b"}`
    In(List<ValueText, 1>),
    /// `matches "glob"`
    Matches(TextGlob),
    /// `starts with "text"`
    StartsWith(ValueText),
    /// `contains "text"`
    Contains(ValueText),
}

impl Condition {
    /// `… and …`
    ///
    /// # Errors
    /// Fewer than two parts.
    pub fn all(parts: impl Into<Vec<Condition>>) -> Result<Self, PolicyError> {
        List::new(parts).map(Self::All).map_err(|_| PolicyError::TooFewConditions)
    }

    /// `… or …`
    ///
    /// # Errors
    /// Fewer than two parts.
    pub fn any(parts: impl Into<Vec<Condition>>) -> Result<Self, PolicyError> {
        List::new(parts).map(Self::Any).map_err(|_| PolicyError::TooFewConditions)
    }

    /// `a < b <= c`
    ///
    /// # Errors
    /// As for [`Chain::new`].
    pub fn chain(first: Operand, links: impl Into<Vec<(Relation, Operand)>>) -> Result<Self, PolicyError> {
        Chain::new(first, links).map(Self::Chain)
    }

    /// `operand in range`
    ///
    /// # Errors
    /// As for [`InRange::new`].
    pub fn in_range(operand: Operand, range: Range) -> Result<Self, PolicyError> {
        InRange::new(operand, range).map(Self::InRange)
    }

    /// `operand in {1, 2}`
    ///
    /// # Errors
    /// As for [`InSet::new`].
    pub fn in_set(operand: Operand, members: impl Into<Vec<Integer>>) -> Result<Self, PolicyError> {
        InSet::new(operand, members).map(Self::InSet)
    }

    /// Whether an operand is the new value or a part of it.
    pub(crate) fn looks_at_new(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::looks_at_new),
            Self::Not(negated) => negated.looks_at_new(),
            Self::Chain(chain) => chain.operands().any(Operand::is_new),
            Self::InRange(test) => test.operand.is_new(),
            Self::InSet(test) => test.operand.is_new(),
            Self::Text(operand, _) => *operand == TextOperand::Value(Value::New),
        }
    }

    /// How deep it is nested.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                1 + parts.iter().map(Self::depth).max().unwrap_or_default()
            }
            Self::Not(negated) => 1 + negated.depth(),
            Self::Chain(_) | Self::InRange(_) | Self::InSet(_) | Self::Text(..) => 0,
        }
    }
}

impl Chain {
    /// `first`, then each operand with the previous operand's relation to it.
    ///
    /// # Errors
    /// No links, or two literals that are compared with each other.
    pub fn new(first: Operand, links: impl Into<Vec<(Relation, Operand)>>) -> Result<Self, PolicyError> {
        let chain = Self { first, links: links.into() };
        if chain.links.is_empty() {
            return Err(PolicyError::NoLinks);
        }
        if chain.operands().zip(chain.operands().skip(1)).any(|(a, b)| a.is_literal() && b.is_literal()) {
            return Err(PolicyError::OnlyLiterals);
        }
        Ok(chain)
    }

    /// The leftmost operand.
    pub fn first(&self) -> Operand {
        self.first
    }

    /// The others, each with the previous operand's relation to it; at least one.
    pub fn links(&self) -> &[(Relation, Operand)] {
        &self.links
    }

    /// Each link as a separate chain.
    pub fn pairs(&self) -> impl Iterator<Item = Self> {
        let lefts = self.operands();
        lefts.zip(&self.links).map(|(first, link)| Self { first, links: vec![*link] })
    }

    /// All operands, from left to right.
    pub fn operands(&self) -> impl Iterator<Item = Operand> {
        std::iter::once(self.first).chain(self.links.iter().map(|(_, operand)| *operand))
    }
}

impl InRange {
    /// `operand in range`
    ///
    /// # Errors
    /// A literal operand, or a range without ends.
    pub fn new(operand: Operand, range: Range) -> Result<Self, PolicyError> {
        if operand.is_literal() {
            return Err(PolicyError::OnlyLiterals);
        }
        if range == Range::ALL {
            return Err(PolicyError::EndlessRange);
        }
        Ok(Self { operand, range })
    }

    /// What is tested.
    pub fn operand(&self) -> Operand {
        self.operand
    }

    /// The range.
    pub fn range(&self) -> Range {
        self.range
    }
}

impl InSet {
    /// `operand in {…}`
    ///
    /// # Errors
    /// A literal operand, or no members.
    pub fn new(operand: Operand, members: impl Into<Vec<Integer>>) -> Result<Self, PolicyError> {
        if operand.is_literal() {
            return Err(PolicyError::OnlyLiterals);
        }
        Ok(Self { operand, members: List::new(members).map_err(|_| PolicyError::EmptySet)? })
    }

    /// What is tested.
    pub fn operand(&self) -> Operand {
        self.operand
    }

    /// The members of the set, as they were given; at least one.
    pub fn members(&self) -> &[Integer] {
        &self.members
    }
}

impl Operand {
    /// `value[index]`
    ///
    /// # Errors
    /// As for [`ElementIndex::new`].
    pub fn element(value: Value, index: impl Into<i128>) -> Result<Self, PolicyError> {
        Ok(Self::Element(value, ElementIndex::new(index)?))
    }

    fn is_literal(self) -> bool {
        matches!(self, Self::Literal(_))
    }

    fn is_new(self) -> bool {
        matches!(self, Self::Only(Value::New) | Self::Element(Value::New, _) | Self::Count(Value::New))
    }
}

impl ElementIndex {
    /// The element of this index.
    ///
    /// # Errors
    /// An index that is not below [`ELEMENTS_MAX`](limits::ELEMENTS_MAX).
    pub fn new(index: impl Into<i128>) -> Result<Self, PolicyError> {
        let index = index.into();
        match u8::try_from(index) {
            Ok(small) if usize::from(small) < limits::ELEMENTS_MAX => Ok(Self(small)),
            _ => Err(PolicyError::NoElement { index }),
        }
    }

    /// The index.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl From<ElementIndex> for usize {
    fn from(index: ElementIndex) -> Self {
        index.0.into()
    }
}

impl std::fmt::Display for ElementIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl TextTest {
    /// `in {"a", "b"}`
    ///
    /// # Errors
    /// No members.
    pub fn one_of(members: impl Into<Vec<ValueText>>) -> Result<Self, PolicyError> {
        List::new(members).map(Self::In).map_err(|_| PolicyError::EmptySet)
    }
}
