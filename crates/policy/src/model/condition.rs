//! Conditions on an access, besides its kind and name.

use super::{List, Operand, PolicyError, Range, Value, ValueText};
use crate::{Integer, KnobNetns, TextGlob, limits};

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
    /// `… in {1, 4..8}`
    InSet(InSet),
    /// `new == [1, 2]`: a predicate on all numbers of a value.
    List(Value, ListTest),
    /// `ranges(new) in …`: a value as a set of numbers.
    Ranges(InRanges),
    /// A predicate on text.
    Text(TextOperand, TextTest),
    /// `netns == host`, and `netns != host` for another one: the network namespace that owns the knob. Only in rules whose
    /// patterns match nothing but knobs below `net/`.
    Netns(KnobNetns),
}

/// `a < b <= c`: holds if every link does. There is at least one link, none compares two literals, and at most one operand is
/// [each](crate::Elements::Each) number of a value.
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

/// `… in {1, 4..8}`: the operand is not a literal, and each member has an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InSet {
    operand: Operand,
    members: List<Range, 1>,
}

/// `ranges(new) in {1, 4..8}`: every number and every range of a value is in one of the members, each of which has an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InRanges {
    value: Value,
    members: List<Range, 1>,
}

/// A predicate on all numbers of a value, of which there must be as many as the predicate has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListTest {
    /// `== [1, 2]`
    Equals(List<Integer, 1, { limits::ELEMENTS_MAX }>),
    /// `!= [1, 2]`: one of the numbers is another one.
    Differs(List<Integer, 1, { limits::ELEMENTS_MAX }>),
    /// `in [1..4, .., 7]`: each is in its range. At least one range has an end.
    In(List<Range, 1, { limits::ELEMENTS_MAX }>),
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

impl Relation {
    /// The relation of the right side to the left one.
    pub(crate) fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Greater => Self::Less,
        }
    }
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

    /// `operand in {1, 4..8}`
    ///
    /// # Errors
    /// As for [`InSet::new`].
    pub fn in_set(operand: Operand, members: impl Into<Vec<Range>>) -> Result<Self, PolicyError> {
        InSet::new(operand, members).map(Self::InSet)
    }

    /// `ranges(value) in {1, 4..8}`
    ///
    /// # Errors
    /// As for [`InRanges::new`].
    pub fn in_ranges(value: Value, members: impl Into<Vec<Range>>) -> Result<Self, PolicyError> {
        InRanges::new(value, members).map(Self::Ranges)
    }

    /// Whether an operand is the new value or a part of it.
    pub(crate) fn looks_at_new(&self) -> bool {
        let is_new = |operand: Operand| operand.value() == Some(Value::New);
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::looks_at_new),
            Self::Not(negated) => negated.looks_at_new(),
            Self::Chain(chain) => chain.operands().any(is_new),
            Self::InRange(test) => is_new(test.operand),
            Self::InSet(test) => is_new(test.operand),
            Self::List(value, _) => *value == Value::New,
            Self::Ranges(test) => test.value == Value::New,
            Self::Text(operand, _) => *operand == TextOperand::Value(Value::New),
            Self::Netns(_) => false,
        }
    }

    /// Whether it looks at the network namespace that owns the knob.
    pub fn looks_at_netns(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::looks_at_netns),
            Self::Not(negated) => negated.looks_at_netns(),
            Self::Netns(_) => true,
            Self::Chain(_)
            | Self::InRange(_)
            | Self::InSet(_)
            | Self::List(..)
            | Self::Ranges(_)
            | Self::Text(..) => false,
        }
    }

    /// How deep it is nested.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                1 + parts.iter().map(Self::depth).max().unwrap_or_default()
            }
            Self::Not(negated) => 1 + negated.depth(),
            Self::Chain(_)
            | Self::InRange(_)
            | Self::InSet(_)
            | Self::List(..)
            | Self::Ranges(_)
            | Self::Text(..)
            | Self::Netns(_) => 0,
        }
    }
}

impl Chain {
    /// `first`, then each operand with the previous operand's relation to it.
    ///
    /// # Errors
    /// No links, two literals that are compared with each other, or two operands that are each number of a value.
    pub fn new(first: Operand, links: impl Into<Vec<(Relation, Operand)>>) -> Result<Self, PolicyError> {
        let chain = Self { first, links: links.into() };
        if chain.links.is_empty() {
            return Err(PolicyError::NoLinks);
        }
        if chain.operands().zip(chain.operands().skip(1)).any(|(a, b)| a.is_literal() && b.is_literal()) {
            return Err(PolicyError::OnlyLiterals);
        }
        if chain.operands().filter(|operand| operand.each_of().is_some()).count() > 1 {
            return Err(PolicyError::EachTwice);
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
    /// A literal operand, no members, or a member without ends.
    pub fn new(operand: Operand, members: impl Into<Vec<Range>>) -> Result<Self, PolicyError> {
        if operand.is_literal() {
            return Err(PolicyError::OnlyLiterals);
        }
        let members = members.into();
        if members.contains(&Range::ALL) {
            return Err(PolicyError::EndlessRange);
        }
        Ok(Self { operand, members: List::new(members).map_err(|_| PolicyError::EmptySet)? })
    }

    /// What is tested.
    pub fn operand(&self) -> Operand {
        self.operand
    }

    /// The members of the set, as they were given; at least one.
    pub fn members(&self) -> &[Range] {
        &self.members
    }
}

impl InRanges {
    /// `ranges(value) in …`
    ///
    /// # Errors
    /// No members, or a member without ends.
    pub fn new(value: Value, members: impl Into<Vec<Range>>) -> Result<Self, PolicyError> {
        let members = members.into();
        if members.contains(&Range::ALL) {
            return Err(PolicyError::EndlessRange);
        }
        Ok(Self { value, members: List::new(members).map_err(|_| PolicyError::EmptySet)? })
    }

    /// What is tested.
    pub fn value(&self) -> Value {
        self.value
    }

    /// The members, as they were given; at least one.
    pub fn members(&self) -> &[Range] {
        &self.members
    }
}

impl ListTest {
    /// `== […]`
    ///
    /// # Errors
    /// No numbers, or more than [`ELEMENTS_MAX`](limits::ELEMENTS_MAX).
    pub fn equals(numbers: impl Into<Vec<Integer>>) -> Result<Self, PolicyError> {
        List::new(numbers).map(Self::Equals).map_err(|error| PolicyError::ListLength { found: error.found })
    }

    /// `!= […]`
    ///
    /// # Errors
    /// As for [`equals`](Self::equals).
    pub fn differs(numbers: impl Into<Vec<Integer>>) -> Result<Self, PolicyError> {
        List::new(numbers).map(Self::Differs).map_err(|error| PolicyError::ListLength { found: error.found })
    }

    /// `in […]`
    ///
    /// # Errors
    /// As for [`equals`](Self::equals), and if no range has an end.
    pub fn is_in(ranges: impl Into<Vec<Range>>) -> Result<Self, PolicyError> {
        let ranges = List::new(ranges).map_err(|error| PolicyError::ListLength { found: error.found })?;
        match ranges.iter().all(|range| *range == Range::ALL) {
            true => Err(PolicyError::EndlessRange),
            false => Ok(Self::In(ranges)),
        }
    }

    /// How many numbers it is about; at least one.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        match self {
            Self::Equals(numbers) | Self::Differs(numbers) => numbers.len(),
            Self::In(ranges) => ranges.len(),
        }
    }

    /// The ranges in which the numbers are, or not all are if the test is [`Differs`](Self::Differs).
    pub fn ranges(&self) -> Vec<Range> {
        match self {
            Self::Equals(numbers) | Self::Differs(numbers) => {
                numbers.iter().copied().map(Range::only).collect()
            }
            Self::In(ranges) => ranges.to_vec(),
        }
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
