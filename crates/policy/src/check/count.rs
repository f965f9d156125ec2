//! Warns of rules about another count of numbers than their knobs have: they cannot be evaluated for what is normally written.

use knobgate_catalogue::Knob;

use super::Checker;
use crate::catalogue::{self, common_count};
use crate::filter::ValueField;
use crate::limits::ELEMENTS_MAX;
use crate::syntax::{ActionSyntax, ConditionSyntax, Member, RuleSyntax, Spanned, Term};
use crate::value::numbers;
use crate::{Diagnostic, ElementIndex, KnobPattern, Span, Value};

/// A place where a rule takes a value for numbers.
#[derive(Debug, Clone, Copy)]
struct Place {
    value: ValueField,
    span: Span,
    needed: Needed,
}

/// How many numbers a value needs at a place, so that the rule can be evaluated.
#[derive(Debug, Clone, Copy)]
enum Needed {
    /// One.
    One,
    /// As many as a list has members.
    Members(usize),
    /// As many as a `clamp` has ranges.
    Ranges(usize),
    /// More than this index.
    Above(ElementIndex),
}

impl Checker {
    /// Warns of places where a rule takes a value for more or fewer numbers than the knob has.
    pub(super) fn counts(&mut self, syntax: &RuleSyntax) {
        let mut places = Places::default();
        if let Some(condition) = &syntax.condition {
            places.collect(condition);
        }
        if let ActionSyntax::Clamp(ranges) = &syntax.action.node {
            places.add(ValueField::New, Needed::Ranges(ranges.node.len()), ranges.span);
        }
        let set = match &syntax.action.node {
            ActionSyntax::Set(text) => numbers(text.node.as_bytes(), Value::New)
                .ok()
                .map(|numbers| (numbers.len(), text.span))
                .filter(|(count, _)| *count > 1),
            _ => None,
        };
        if places.found.is_empty() && set.is_none() {
            return;
        }
        for pattern in &syntax.patterns {
            let Ok(found) = catalogue::matches(&pattern.node, &mut self.catalogue) else { return };
            let Some(count) = common_count(found.iter().map(|found| found.knob)) else { continue };
            // There is another warning about writes of what nobody can write.
            let is_written = |knob: &Knob| knob.variants().iter().any(|variant| variant.mode().is_writable());
            let is_writable = found.iter().any(|found| is_written(found.knob));
            if let Some((_, span)) = set.filter(|(written, _)| *written > count) {
                let warning = warning(pattern, count, span);
                return self.report(warning.label("the kernel drops the others"));
            }
            let mut places =
                places.found.iter().filter(|place| is_writable || place.value != ValueField::New);
            if let Some(place) = places.find(|place| !place.needed.is_met_by(count)) {
                return self.report(place.warning(pattern, count));
            }
        }
    }
}

impl Needed {
    fn is_met_by(self, count: usize) -> bool {
        match self {
            Self::One => count == 1,
            Self::Members(needed) | Self::Ranges(needed) => needed == count,
            Self::Above(index) => usize::from(index) < count,
        }
    }
}

impl Place {
    fn warning(self, pattern: &Spanned<KnobPattern>, count: usize) -> Diagnostic {
        let name = if self.value == ValueField::New { "new" } else { "old" };
        let warning = warning(pattern, count, self.span);
        let warning = match (self.value, count) {
            (ValueField::New, 1) => {
                warning.label("no write of one number gets past this: it cannot be evaluated")
            }
            (ValueField::New, _) => {
                warning.label(format!("no write of {count} numbers gets past this: it cannot be evaluated"))
            }
            _ => warning.label("no access gets past this: it cannot be evaluated"),
        };
        match self.needed {
            Needed::Above(_) => warning.help(format!("its last number is `{name}[{}]`", count - 1)),
            Needed::One => {
                warning.help(format!("`each({name})` is about every number, `{name}[0]` about the first"))
            }
            Needed::Members(needed) if needed < count && self.value == ValueField::New => {
                let numbers = if needed == 1 { "number" } else { "numbers" };
                warning.help(format!(
                    "for writes of the first {needed} {numbers} alone, which keep the others, add `count(new) == {needed}`"
                ))
            }
            Needed::Ranges(needed) if needed < count => {
                warning.help("a list has a range for each number: `..` for one that may be anything")
            }
            Needed::Members(_) | Needed::Ranges(_) => warning,
        }
    }
}

fn warning(pattern: &Spanned<KnobPattern>, count: usize, span: Span) -> Diagnostic {
    let has = match (pattern.node.literal(), count) {
        (Some(_), 1) => "has one number".to_owned(),
        (Some(_), count) => format!("has {count} numbers"),
        (None, 1) => "matches knobs of one number each".to_owned(),
        (None, count) => format!("matches knobs of {count} numbers each"),
    };
    Diagnostic::warning("count-of-numbers", span, format!("`{}` {has}", pattern.node))
        .also(pattern.span, if pattern.node.literal().is_some() { "this knob" } else { "these knobs" })
}

/// The places of a rule, except for values whose numbers it counts itself.
#[derive(Debug, Default)]
struct Places {
    found: Vec<Place>,
    counted: Vec<ValueField>,
}

impl Places {
    fn collect(&mut self, condition: &Spanned<ConditionSyntax>) {
        match &condition.node {
            ConditionSyntax::All(parts) | ConditionSyntax::Any(parts) => {
                parts.iter().for_each(|part| self.collect(part));
            }
            ConditionSyntax::Not(part) => self.collect(part),
            ConditionSyntax::Chain(first, links) => {
                let terms = || std::iter::once(first).chain(links.iter().map(|(_, term)| term));
                // A value that is compared with a text is one.
                if !terms().any(|term| matches!(term.node, Term::Text(_))) {
                    terms().for_each(|term| self.number(term));
                }
            }
            ConditionSyntax::InRange(subject, _) => self.number(subject),
            ConditionSyntax::InSet(subject, members) => {
                if !members.node.iter().any(|member| matches!(member.node, Member::Text(_))) {
                    self.number(subject);
                }
            }
            ConditionSyntax::List(subject, _, members) => {
                if let Term::Value(value) = subject.node {
                    self.add(value, Needed::Members(members.node.len()), members.span);
                }
            }
            ConditionSyntax::Text(..) | ConditionSyntax::Word { .. } | ConditionSyntax::Knob { .. } => {}
        }
    }

    fn number(&mut self, term: &Spanned<Term>) {
        match &term.node {
            Term::Value(value) => self.add(*value, Needed::One, term.span),
            Term::Element(value, index) => {
                if let Ok(index) = ElementIndex::new(index.node.get()) {
                    self.add(*value, Needed::Above(index), term.span);
                }
            }
            Term::Masked(masked, _) => self.number(&Spanned::new((**masked).clone(), term.span)),
            Term::Count(value) => {
                self.counted.push(*value);
                self.found.retain(|place| place.value != *value);
            }
            _ => {}
        }
    }

    fn add(&mut self, value: ValueField, needed: Needed, span: Span) {
        // Too short and too long lists are errors.
        let is_valid = match needed {
            Needed::Members(needed) | Needed::Ranges(needed) => (1..=ELEMENTS_MAX).contains(&needed),
            Needed::One | Needed::Above(_) => true,
        };
        if is_valid && !self.counted.contains(&value) {
            self.found.push(Place { value, span, needed });
        }
    }
}
