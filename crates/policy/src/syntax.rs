//! What the parser makes of a rule: its parts with their places, not yet checked against each other.

use crate::{Access, Errno, Expected, Integer, Kinds, KnobPattern, Relation, Span, Text, Value};

/// Something with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct At<T> {
    pub(crate) is: T,
    pub(crate) span: Span,
}

impl<T> At<T> {
    pub(crate) fn new(is: T, span: Span) -> Self {
        Self { is, span }
    }
}

/// A rule as written.
#[derive(Debug)]
pub(crate) struct RuleSyntax {
    pub(crate) action: At<ActionSyntax>,
    pub(crate) kinds: At<Kinds>,
    pub(crate) patterns: Vec<At<KnobPattern>>,
    pub(crate) condition: Option<At<ConditionSyntax>>,
    pub(crate) log: Option<bool>,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum ActionSyntax {
    Allow,
    Deny(Errno),
    Set(At<Text>),
    Clamp(At<Vec<At<RangeSyntax>>>),
    Ignore,
}

/// `A..B`, either of which may be absent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RangeSyntax {
    pub(crate) low: Option<Integer>,
    pub(crate) high: Option<Integer>,
}

#[derive(Debug)]
pub(crate) enum ConditionSyntax {
    All(Vec<At<ConditionSyntax>>),
    Any(Vec<At<ConditionSyntax>>),
    Not(Box<At<ConditionSyntax>>),
    Chain(At<Term>, Vec<(At<Relation>, At<Term>)>),
    InRange(At<Term>, At<RangeSyntax>),
    InSet(At<Term>, At<Vec<At<Term>>>),
    Text(At<Term>, TextVerb, At<Text>),
}

/// How a text is tested, apart from comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextVerb {
    Matches,
    StartsWith,
    Contains,
}

/// An operand as written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Term {
    Integer(Integer),
    Text(Text),
    Value(Value),
    Element(Value, At<Integer>),
    Count(Value),
    Pos,
    Uid,
    Gid,
    Comm,
}

impl Term {
    /// Whether it is a literal.
    pub(crate) fn is_literal(&self) -> bool {
        matches!(self, Term::Integer(_) | Term::Text(_))
    }
}

/// A `test` block as written.
#[derive(Debug)]
pub(crate) struct TestSyntax {
    pub(crate) name: At<String>,
    pub(crate) steps: Vec<StepSyntax>,
    pub(crate) header: Span,
    /// Whether some of it was wrong.
    pub(crate) broken: bool,
}

/// One line of a `test` block as written.
#[derive(Debug)]
pub(crate) struct StepSyntax {
    pub(crate) access: Access,
    /// Where the name of the task is stated.
    pub(crate) comm: Option<Span>,
    pub(crate) expected: At<Expected>,
    pub(crate) span: Span,
}
