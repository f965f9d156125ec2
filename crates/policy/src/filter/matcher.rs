//! Deciding whether a filter holds for an event.

use knobgate_glob::{Budget, Dfa, Partition, Piece, TextEnd, text_dfa};

use super::{Fields, ValueField};
use crate::evaluate::is_in_ranges;
use crate::scheme::{Word, WordField};
use crate::selector::PathGlob;
use crate::typed::{Number, Predicate, Subject, Typed};
use crate::value::{self, Numbers, contains};
use crate::{Elements, Integer, KnobPattern, ListTest, Range, Relation, TextGlob, Value};

/// The work that one automaton may take: a fraction of a second.
const STEPS_MAX: usize = 1 << 22;

/// A [`Typed`] condition with automata for its patterns.
#[derive(Debug, Clone)]
pub(super) enum Matcher {
    All(Vec<Matcher>),
    Any(Vec<Matcher>),
    Not(Box<Matcher>),
    Chain(Number, Vec<(Relation, Number)>),
    InRange(Number, Range),
    InSet(Number, Vec<Range>),
    List(ValueField, ListTest),
    Ranges(ValueField, Vec<Range>),
    Text(Subject, TextTest),
    Word { field: WordField, words: Vec<Word>, negated: bool },
    Knob { names: Names, negated: bool },
}

#[derive(Debug, Clone)]
pub(super) enum TextTest {
    /// One of these, or none of them if `negated`.
    OneOf {
        texts: Vec<Vec<u8>>,
        negated: bool,
    },
    Matches(Glob),
    MatchesPath(PathGlob),
    StartsWith(Vec<u8>),
    Contains(Vec<u8>),
}

/// A glob for texts, with its automaton unless that is too large.
#[derive(Debug, Clone)]
pub(super) struct Glob {
    glob: TextGlob,
    dfa: Option<Box<Dfa>>,
}

/// Patterns for names of knobs, with their automaton unless that is too large.
#[derive(Debug, Clone)]
pub(super) struct Names {
    patterns: Vec<KnobPattern>,
    partition: Option<Box<Partition<bool>>>,
}

impl Matcher {
    pub(super) fn new(typed: Typed) -> Self {
        let all = |parts: Vec<Typed>| parts.into_iter().map(Self::new).collect();
        match typed {
            Typed::All(parts) => Self::All(all(parts)),
            Typed::Any(parts) => Self::Any(all(parts)),
            Typed::Not(negated) => Self::Not(Box::new(Self::new(*negated))),
            Typed::Chain(first, links) => Self::Chain(first, links),
            Typed::InRange(number, range) => Self::InRange(number, range),
            Typed::InSet(number, members) => Self::InSet(number, members),
            Typed::List(value, test) => Self::List(value, test),
            Typed::Ranges(value, members) => Self::Ranges(value, members),
            Typed::Text(subject, predicate) => Self::Text(subject, TextTest::new(predicate)),
            Typed::Word { field, words, negated } => Self::Word { field, words, negated },
            Typed::Knob { patterns, negated } => Self::Knob { names: Names::new(patterns), negated },
        }
    }

    /// Whether it holds; `None` if it cannot be evaluated. Parts are evaluated as in [`holds`](crate::holds()).
    pub(super) fn holds(&self, event: &dyn Fields) -> Option<bool> {
        match self {
            Self::All(parts) => {
                for part in parts {
                    if !part.holds(event)? {
                        return Some(false);
                    }
                }
                Some(true)
            }
            Self::Any(parts) => {
                for part in parts {
                    if part.holds(event)? {
                        return Some(true);
                    }
                }
                Some(false)
            }
            Self::Not(negated) => Some(!negated.holds(event)?),
            Self::Chain(first, links) => {
                let numbers = links.iter().map(|(_, number)| *number);
                let each = std::iter::once(*first).chain(numbers).find_map(Number::each_of);
                holds_for(each, event, |at| {
                    let mut left = integer(*first, at, event)?;
                    for (relation, number) in links {
                        let right = integer(*number, at, event)?;
                        if !relation.holds(left, right) {
                            return Some(false);
                        }
                        left = right;
                    }
                    Some(true)
                })
            }
            Self::InRange(number, range) => {
                holds_for(number.each_of(), event, |at| Some(range.contains(integer(*number, at, event)?)))
            }
            Self::InSet(number, members) => holds_for(number.each_of(), event, |at| {
                let number = integer(*number, at, event)?;
                Some(members.iter().any(|member| member.contains(number)))
            }),
            Self::List(value, test) => {
                let numbers = numbers(*value, event)?;
                test.holds(&numbers)
            }
            Self::Ranges(field, members) => {
                let ranges = value::ranges(bytes(*field, event)?, which(*field)).ok()?;
                Some(is_in_ranges(members, &ranges))
            }
            Self::Text(Subject::Value(field), test) => {
                Some(test.holds(value::text(bytes(*field, event)?, which(*field)).ok()?))
            }
            Self::Text(Subject::Field(field), test) => Some(test.holds(event.text(*field)?)),
            // No event has one.
            Self::Text(Subject::Selector(_), _) => None,
            Self::Word { field, words, negated } => {
                let is_one = match field {
                    // Only a denial has an errno.
                    WordField::Errno if event.outcome().is_some_and(|outcome| !outcome.is_denial()) => false,
                    _ => words.contains(&word(*field, event)?),
                };
                Some(is_one != *negated)
            }
            Self::Knob { names, negated } => Some(names.match_name(event.knob()?) != *negated),
        }
    }
}

/// The text or numbers of a value. As in a rule, an empty one is none.
fn bytes(field: ValueField, event: &dyn Fields) -> Option<&[u8]> {
    event.value(field).filter(|bytes| !bytes.is_empty())
}

/// What errors, which are not shown, call the value.
fn which(field: ValueField) -> Value {
    if field == ValueField::New { Value::New } else { Value::Old }
}

fn numbers(field: ValueField, event: &dyn Fields) -> Option<Numbers> {
    value::numbers(bytes(field, event)?, which(field)).ok()
}

/// Whether a comparison holds, if `each` for every number of this value, of which there has to be one.
fn holds_for(
    each: Option<ValueField>,
    event: &dyn Fields,
    test: impl Fn(usize) -> Option<bool>,
) -> Option<bool> {
    let Some(value) = each else { return test(0) };
    let count = numbers(value, event)?.len();
    for index in 0..count {
        if !test(index)? {
            return Some(false);
        }
    }
    Some(count > 0)
}

/// The integer; `each` number of a value is the one at this index.
fn integer(number: Number, each: usize, event: &dyn Fields) -> Option<Integer> {
    match number {
        Number::Literal(integer) => Some(integer),
        Number::Of(field, elements, mask) => {
            let numbers = numbers(field, event)?;
            let number = match elements {
                Elements::Only => numbers.first().filter(|_| numbers.len() == 1)?,
                Elements::At(index) => numbers.get(usize::from(index))?,
                Elements::Each => numbers.get(each)?,
            };
            mask.map_or(Some(*number), |mask| mask.of(*number))
        }
        Number::Count(field) => Some(Integer::from(numbers(field, event)?.len() as u32)),
        Number::Field(field) => event.integer(field).map(Integer::from_u64),
    }
}

fn word(field: WordField, event: &dyn Fields) -> Option<Word> {
    match field {
        WordField::Verdict => event.verdict().map(Word::Verdict),
        WordField::Outcome => event.outcome().map(Word::Outcome),
        WordField::Access => event.access().map(Word::Access),
        WordField::Errno => event.errno().map(Word::Errno),
        WordField::Mode => event.mode().map(Word::Mode),
        WordField::Type => Some(Word::Type(event.event_type())),
        // No event has one.
        WordField::Engine | WordField::Netns => None,
    }
}

impl TextTest {
    fn new(predicate: Predicate) -> Self {
        match predicate {
            Predicate::Equals(text) => Self::OneOf { texts: vec![text.into_bytes()], negated: false },
            Predicate::Differs(text) => Self::OneOf { texts: vec![text.into_bytes()], negated: true },
            Predicate::In(texts) => {
                let texts = texts.into_iter().map(crate::Text::into_bytes).collect();
                Self::OneOf { texts, negated: false }
            }
            Predicate::Matches(glob) => Self::Matches(Glob::new(glob)),
            Predicate::MatchesPath(glob) => Self::MatchesPath(glob),
            Predicate::StartsWith(text) => Self::StartsWith(text.into_bytes()),
            Predicate::Contains(text) => Self::Contains(text.into_bytes()),
        }
    }

    fn holds(&self, subject: &[u8]) -> bool {
        match self {
            Self::OneOf { texts, negated } => texts.iter().any(|text| text == subject) != *negated,
            Self::Matches(glob) => glob.matches(subject),
            Self::MatchesPath(glob) => glob.matches(subject),
            Self::StartsWith(text) => subject.starts_with(text),
            Self::Contains(text) => contains(subject, text),
        }
    }
}

impl Glob {
    fn new(glob: TextGlob) -> Self {
        let dfa = text_dfa(glob.pieces(), TextEnd::Nul, &mut Budget::steps(STEPS_MAX)).ok().map(Box::new);
        Self { glob, dfa }
    }

    fn matches(&self, subject: &[u8]) -> bool {
        match &self.dfa {
            // To the automaton, a NUL is the end.
            Some(dfa) if !subject.contains(&0) => dfa.run(subject) == 1,
            _ => self.glob.matches(subject),
        }
    }
}

impl Names {
    fn new(patterns: Vec<KnobPattern>) -> Self {
        let pieces: Vec<&[Piece]> = patterns.iter().map(KnobPattern::pieces).collect();
        let budget = &mut Budget::steps(STEPS_MAX);
        let partition = Partition::new(&pieces, budget, |matching| !matching.is_empty(), |_, _, _| true).ok();
        Self { partition: partition.map(Box::new), patterns }
    }

    fn match_name(&self, name: &[u8]) -> bool {
        match &self.partition {
            Some(partition) => *partition.class_of(name),
            None => self.patterns.iter().any(|pattern| pattern.matches(name)),
        }
    }
}
