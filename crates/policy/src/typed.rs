//! Conditions whose types have been checked, of rules, filters or selectors.

use crate::filter::{IntegerField, TextField, ValueField};
use crate::scheme::{Word, WordField};
use crate::selector::{self, FieldTest, PathGlob, SelectorCondition, SelectorField};
use crate::{
    Condition, Elements, Integer, KnobNetns, KnobPattern, ListTest, Mask, Operand, Range, Relation, Text,
    TextGlob, TextOperand, TextTest, Value, ValueText,
};

/// A condition. [`Condition`] has the meaning of each part.
#[derive(Debug)]
pub(crate) enum Typed {
    All(Vec<Typed>),
    Any(Vec<Typed>),
    Not(Box<Typed>),
    Chain(Number, Vec<(Relation, Number)>),
    InRange(Number, Range),
    InSet(Number, Vec<Range>),
    List(ValueField, ListTest),
    Ranges(ValueField, Vec<Range>),
    Text(Subject, Predicate),
    /// The field is one of the words, or none of them if `negated`.
    Word {
        field: WordField,
        words: Vec<Word>,
        negated: bool,
    },
    /// One of the patterns matches the name of the knob, or none of them if `negated`.
    Knob {
        patterns: Vec<KnobPattern>,
        negated: bool,
    },
}

/// An integer in a condition.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Literal(Integer),
    Of(ValueField, Elements, Option<Mask>),
    Count(ValueField),
    Field(IntegerField),
}

/// A text in a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    Value(ValueField),
    Field(TextField),
    /// Of a container or unit.
    Selector(SelectorField),
}

/// A predicate on text.
#[derive(Debug)]
pub(crate) enum Predicate {
    Equals(Text),
    Differs(Text),
    In(Vec<Text>),
    Matches(TextGlob),
    MatchesPath(PathGlob),
    StartsWith(Text),
    Contains(Text),
}

impl Subject {
    /// Whether it is compared with texts that can be a value, as rules do.
    pub(crate) fn takes_value_text(&self) -> bool {
        matches!(self, Self::Value(_) | Self::Field(TextField::Comm))
    }
}

impl Typed {
    /// The same as the condition of a rule. `None` if it looks at a field that only events have.
    pub(crate) fn into_condition(self) -> Option<Condition> {
        let all = |parts: Vec<Self>| parts.into_iter().map(Self::into_condition).collect::<Option<Vec<_>>>();
        match self {
            Self::All(parts) => Condition::all(all(parts)?).ok(),
            Self::Any(parts) => Condition::any(all(parts)?).ok(),
            Self::Not(negated) => Some(Condition::Not(Box::new(negated.into_condition()?))),
            Self::Chain(first, links) => {
                let link = |(relation, number): (Relation, Number)| Some((relation, number.operand()?));
                let links: Vec<_> = links.into_iter().map(link).collect::<Option<_>>()?;
                Condition::chain(first.operand()?, links).ok()
            }
            Self::InRange(number, range) => Condition::in_range(number.operand()?, range).ok(),
            Self::InSet(number, members) => Condition::in_set(number.operand()?, members).ok(),
            Self::List(value, test) => Some(Condition::List(of_rule(value)?, test)),
            Self::Ranges(value, members) => Condition::in_ranges(of_rule(value)?, members).ok(),
            Self::Text(subject, predicate) => {
                let operand = match subject {
                    Subject::Value(value) => TextOperand::Value(of_rule(value)?),
                    Subject::Field(TextField::Comm) => TextOperand::Comm,
                    Subject::Field(_) | Subject::Selector(_) => return None,
                };
                Some(Condition::Text(operand, predicate.test()?))
            }
            Self::Word { field: WordField::Netns, negated, .. } => {
                Some(Condition::Netns(if negated { KnobNetns::Other } else { KnobNetns::Host }))
            }
            Self::Word { .. } | Self::Knob { .. } => None,
        }
    }
}

impl Typed {
    /// The same as the condition of a selector. `None` if it looks at something else than containers and units.
    pub(crate) fn into_selector(self) -> Option<SelectorCondition> {
        let all = |parts: Vec<Self>| parts.into_iter().map(Self::into_selector).collect::<Option<Vec<_>>>();
        match self {
            Self::All(parts) => SelectorCondition::all(all(parts)?).ok(),
            Self::Any(parts) => SelectorCondition::any(all(parts)?).ok(),
            Self::Not(negated) => Some(SelectorCondition::Not(Box::new(negated.into_selector()?))),
            Self::Text(Subject::Selector(field), predicate) => {
                FieldTest::new(field, predicate.of_selector()?).ok().map(SelectorCondition::Test)
            }
            Self::Word { field: WordField::Engine, words, negated } => engine_test(&words, negated),
            Self::Text(..)
            | Self::Word { .. }
            | Self::Knob { .. }
            | Self::Chain(..)
            | Self::InRange(..)
            | Self::InSet(..)
            | Self::List(..)
            | Self::Ranges(..) => None,
        }
    }
}

/// `engine == docker`, `engine != docker`, `engine in {docker, podman}`, or not that.
fn engine_test(words: &[Word], negated: bool) -> Option<SelectorCondition> {
    let name = |word: &Word| match word {
        Word::Engine(engine) => Some(Text::from(engine.name())),
        _ => None,
    };
    let names = words.iter().map(name).collect::<Option<Vec<_>>>()?;
    let test = |predicate| FieldTest::new(SelectorField::Engine, predicate).ok().map(SelectorCondition::Test);
    match (<[Text; 1]>::try_from(names), negated) {
        (Ok([name]), false) => test(selector::Predicate::Equals(name)),
        (Ok([name]), true) => test(selector::Predicate::Differs(name)),
        (Err(names), false) => test(selector::Predicate::one_of(names).ok()?),
        (Err(names), true) => {
            let one_of = test(selector::Predicate::one_of(names).ok()?)?;
            Some(SelectorCondition::Not(Box::new(one_of)))
        }
    }
}

impl Number {
    /// The value of which it is each number.
    pub(crate) fn each_of(self) -> Option<ValueField> {
        match self {
            Self::Of(value, Elements::Each, _) => Some(value),
            _ => None,
        }
    }

    fn operand(self) -> Option<Operand> {
        Some(match self {
            Self::Literal(integer) => Operand::Literal(integer),
            Self::Of(value, elements, mask) => Operand::Number(of_rule(value)?, elements, mask),
            Self::Count(value) => Operand::Count(of_rule(value)?),
            Self::Field(IntegerField::Pos) => Operand::Pos,
            Self::Field(IntegerField::Uid) => Operand::Uid,
            Self::Field(IntegerField::Gid) => Operand::Gid,
            Self::Field(_) => return None,
        })
    }
}

impl Predicate {
    fn of_selector(self) -> Option<selector::Predicate> {
        Some(match self {
            Self::Equals(text) => selector::Predicate::Equals(text),
            Self::Differs(text) => selector::Predicate::Differs(text),
            Self::In(members) => selector::Predicate::one_of(members).ok()?,
            Self::Matches(glob) => selector::Predicate::Matches(glob),
            Self::MatchesPath(glob) => selector::Predicate::MatchesPath(glob),
            Self::StartsWith(start) => selector::Predicate::StartsWith(start),
            Self::Contains(part) => selector::Predicate::Contains(part),
        })
    }

    fn test(self) -> Option<TextTest> {
        let text = |text: Text| ValueText::new(text.into_bytes()).ok();
        Some(match self {
            Self::Equals(other) => TextTest::Equals(text(other)?),
            Self::Differs(other) => TextTest::Differs(text(other)?),
            Self::In(members) => {
                TextTest::one_of(members.into_iter().map(text).collect::<Option<Vec<_>>>()?).ok()?
            }
            Self::Matches(glob) => TextTest::Matches(glob),
            Self::MatchesPath(_) => return None,
            Self::StartsWith(start) => TextTest::StartsWith(text(start)?),
            Self::Contains(part) => TextTest::Contains(text(part)?),
        })
    }
}

/// The value in a rule.
fn of_rule(value: ValueField) -> Option<Value> {
    match value {
        ValueField::New => Some(Value::New),
        ValueField::Old => Some(Value::Old),
        ValueField::Stored => None,
    }
}
