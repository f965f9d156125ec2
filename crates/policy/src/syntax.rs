//! The parser's output: rules and tests with the places of their parts, not yet checked.

use crate::filter::{IntegerField, TextField, ValueField};
use crate::scheme::{NameField, Word, WordField};
use crate::{Access, Errno, Expected, Integer, Kinds, KnobPattern, Logging, Relation, Span, Text};

/// Something with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spanned<T> {
    pub(crate) node: T,
    pub(crate) span: Span,
}

impl<T> Spanned<T> {
    pub(crate) fn new(node: T, span: Span) -> Self {
        Self { node, span }
    }
}

/// A rule as written.
#[derive(Debug)]
pub(crate) struct RuleSyntax {
    pub(crate) action: Spanned<ActionSyntax>,
    pub(crate) kinds: Spanned<Kinds>,
    pub(crate) patterns: Vec<Spanned<KnobPattern>>,
    pub(crate) condition: Option<Spanned<ConditionSyntax>>,
    pub(crate) log: Option<Logging>,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum ActionSyntax {
    Allow,
    Deny(Errno),
    Set(Spanned<Text>),
    Clamp(Spanned<Vec<Spanned<RangeSyntax>>>),
    Ignore,
}

/// `A..B`, either of which may be absent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RangeSyntax {
    pub(crate) low: Option<Integer>,
    pub(crate) high: Option<Integer>,
}

#[derive(Debug)]
pub(crate) enum ConditionSyntax {
    All(Vec<Spanned<ConditionSyntax>>),
    Any(Vec<Spanned<ConditionSyntax>>),
    Not(Box<Spanned<ConditionSyntax>>),
    Chain(Spanned<Term>, Vec<(Spanned<Relation>, Spanned<Term>)>),
    InRange(Spanned<Term>, Spanned<RangeSyntax>),
    InSet(Spanned<Term>, Spanned<Vec<Spanned<Member>>>),
    List(Spanned<Term>, ListVerb, Spanned<Vec<Spanned<Member>>>),
    Text(Spanned<Term>, TextVerb, Spanned<Text>),
    /// The field is one of the words, or none of them if `negated`. Only in filters and selectors.
    Word {
        field: WordField,
        words: Vec<Word>,
        negated: bool,
    },
    /// One of the patterns matches the name of the knob, or none of them if `negated`. Only in filters.
    Knob {
        patterns: Vec<Spanned<KnobPattern>>,
        negated: bool,
    },
}

/// A member of a set or of a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Member {
    Integer(Integer),
    Range(RangeSyntax),
    Text(Text),
}

/// How a list is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListVerb {
    Equals,
    Differs,
    In,
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
    Value(ValueField),
    Element(ValueField, Spanned<Integer>),
    Each(ValueField),
    /// A value as a set of numbers.
    Ranges(ValueField),
    /// Numbers of a value, and the bits of them that count.
    Masked(Box<Term>, Spanned<Integer>),
    Count(ValueField),
    IntegerField(IntegerField),
    TextField(TextField),
    /// A name of a container or unit. Only in selectors.
    Name(NameField),
    /// `label("KEY")`. Only in selectors.
    Label(Text),
}

impl Term {
    /// Whether it is a literal.
    pub(crate) fn is_literal(&self) -> bool {
        matches!(self, Term::Integer(_) | Term::Text(_))
    }

    /// The value that it looks at.
    pub(crate) fn value(&self) -> Option<ValueField> {
        match self {
            Term::Value(value)
            | Term::Element(value, _)
            | Term::Each(value)
            | Term::Ranges(value)
            | Term::Count(value) => Some(*value),
            Term::Masked(term, _) => term.value(),
            _ => None,
        }
    }
}

/// `apply if …` as written.
#[derive(Debug)]
pub(crate) struct SelectorSyntax {
    pub(crate) condition: Spanned<ConditionSyntax>,
    /// With its `apply`.
    pub(crate) span: Span,
}

/// A `test` block as written.
#[derive(Debug)]
pub(crate) struct TestSyntax {
    pub(crate) name: Spanned<String>,
    pub(crate) steps: Vec<StepSyntax>,
    pub(crate) header: Span,
    /// Whether it had an error.
    pub(crate) broken: bool,
}

/// One line of a `test` block as written.
#[derive(Debug)]
pub(crate) struct StepSyntax {
    pub(crate) access: Access,
    /// The place of the task's name.
    pub(crate) comm: Option<Span>,
    /// The place of the knob's network namespace.
    pub(crate) netns: Option<Span>,
    pub(crate) expected: Spanned<Expected>,
    pub(crate) span: Span,
}

/// An `include` statement as written.
#[derive(Debug)]
pub(crate) struct IncludeSyntax {
    pub(crate) what: Included,
    /// The place of the quoted text.
    pub(crate) name: Span,
    pub(crate) span: Span,
}

/// What is included.
#[derive(Debug)]
pub(crate) enum Included {
    /// The file with this path.
    File(String),
    /// The preset `NAME@VERSION`.
    Preset(String),
}
