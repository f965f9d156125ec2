//! Warnings about numbers in rules that knobs store as other numbers, or that no write may contain.

use knobgate_catalogue::Normalisation;

use super::Checker;
use crate::filter::ValueField;
use crate::syntax::{
    ActionSyntax, ConditionSyntax, ListVerb, Member, RangeSyntax, RuleSyntax, Spanned, Term,
};
use crate::value::numbers;
use crate::width::{Width, known_normalisation};
use crate::{AccessKind, Diagnostic, Integer, KnobPattern, Relation, Span, Text, Value};

/// A literal that is compared with a number of the new value.
#[derive(Debug, Clone, Copy)]
struct Bound {
    literal: Integer,
    span: Span,
    lets_pass: LetsPass,
    /// It is in a list of numbers in ascending order, none of them negative.
    is_ascending: bool,
}

/// Which numbers a bound lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LetsPass {
    /// None below this one.
    From(i128),
    /// None above this one.
    UpTo(i128),
    /// This one.
    Exactly(i128),
    /// All others.
    Others,
}

/// The numbers that the handlers of the knobs of a pattern take.
struct Handler<'a> {
    pattern: &'a Spanned<KnobPattern>,
    low: i128,
    high: i128,
}

impl LetsPass {
    fn of(relation: Relation, literal: i128) -> Self {
        match relation {
            Relation::Less => Self::UpTo(literal - 1),
            Relation::LessOrEqual => Self::UpTo(literal),
            Relation::Equal => Self::Exactly(literal),
            Relation::NotEqual => Self::Others,
            Relation::GreaterOrEqual => Self::From(literal),
            Relation::Greater => Self::From(literal + 1),
        }
    }

    fn negated(self) -> Self {
        match self {
            Self::From(least) => Self::UpTo(least - 1),
            Self::UpTo(most) => Self::From(most + 1),
            Self::Exactly(_) => Self::Others,
            // For the literal, either end is the same.
            Self::Others => Self::Others,
        }
    }

    /// Whether one of the numbers from `low` to `high` passes.
    fn any_in(self, low: i128, high: i128) -> bool {
        match self {
            Self::From(least) => least <= high,
            Self::UpTo(most) => most >= low,
            Self::Exactly(number) => (low..=high).contains(&number),
            Self::Others => true,
        }
    }
}

impl Checker {
    /// Warns of numbers in a rule that do not mean what they seem to.
    pub(super) fn numbers_of_new(&mut self, syntax: &RuleSyntax) {
        if !syntax.kinds.node.contains(AccessKind::Write) {
            return;
        }
        let denies = matches!(syntax.action.node, ActionSyntax::Deny(_));
        let mut bounds = Vec::new();
        if let Some(condition) = &syntax.condition {
            collect(condition, denies, &mut bounds);
            let is_text = |pattern: &Spanned<KnobPattern>| {
                known_normalisation(&pattern.node).is_some_and(Normalisation::is_text)
            };
            if !syntax.patterns.iter().all(is_text) {
                self.texts_that_are_numbers(condition, denies);
            }
        }
        if let ActionSyntax::Clamp(ranges) = &syntax.action.node {
            ranges.node.iter().for_each(|range| of_range(&range.node, range.span, false, &mut bounds));
        }
        self.written_number(syntax);
        let handlers = self.handlers(&syntax.patterns, &bounds);
        for bound in bounds {
            let beyond = |pattern: &&Spanned<KnobPattern>| !self.may_be_stored(&pattern.node, bound.literal);
            if let Some(pattern) = syntax.patterns.iter().find(beyond) {
                let warning = self.beyond_width(&pattern.node, bound);
                self.report(warning.also(pattern.span, "this knob"));
                continue;
            }
            let rejects = |handler: &&Handler<'_>| !bound.lets_pass.any_in(handler.low, handler.high);
            if let Some(handler) = handlers.iter().find(rejects) {
                self.report(out_of_bounds(handler, bound));
                continue;
            }
            let normalised = |pattern: &Spanned<KnobPattern>| {
                known_normalisation(&pattern.node)
                    .and_then(|how| normalised(how, bound))
                    .map(|why| (why, pattern.span))
            };
            if let Some(((message, help), knob)) = syntax.patterns.iter().find_map(normalised) {
                let warning = Diagnostic::warning("stored-as-another", bound.span, message);
                self.report(warning.also(knob, "this knob").help(help));
            }
        }
    }

    /// Warns of a text that a rule writes, if the kernel does not take it.
    fn written_number(&mut self, syntax: &RuleSyntax) {
        let ActionSyntax::Set(text) = &syntax.action.node else { return };
        let Ok(written) = numbers(text.node.as_bytes(), Value::New) else { return };
        let exactly = |&literal: &Integer| Bound {
            literal,
            span: text.span,
            lets_pass: LetsPass::Exactly(literal.get()),
            is_ascending: false,
        };
        let bounds: Vec<Bound> = written.iter().map(exactly).collect();
        let handlers = self.handlers(&syntax.patterns, &bounds);
        let pairs = bounds.iter().flat_map(|bound| handlers.iter().map(move |handler| (handler, *bound)));
        let outside =
            |(handler, bound): &(&Handler<'_>, Bound)| !bound.lets_pass.any_in(handler.low, handler.high);
        if let Some((handler, bound)) = pairs.into_iter().find(outside) {
            self.report(out_of_bounds(handler, bound));
        }
    }

    /// What is known about the handlers of these knobs, if there are bounds to compare it with.
    fn handlers<'a>(&mut self, patterns: &'a [Spanned<KnobPattern>], bounds: &[Bound]) -> Vec<Handler<'a>> {
        let known = patterns.iter().filter(|_| !bounds.is_empty()).filter_map(|pattern| {
            let (low, high) = self.handler_bounds(&pattern.node)?;
            Some(Handler { pattern, low, high })
        });
        known.collect()
    }

    /// Warns of a rule that denies a number as a text, since the same number can be written differently.
    fn texts_that_are_numbers(&mut self, condition: &Spanned<ConditionSyntax>, denied: bool) {
        match &condition.node {
            ConditionSyntax::All(parts) | ConditionSyntax::Any(parts) => {
                parts.iter().for_each(|part| self.texts_that_are_numbers(part, denied));
            }
            ConditionSyntax::Not(part) => self.texts_that_are_numbers(part, !denied),
            ConditionSyntax::Chain(first, links) => {
                let [(relation, second)] = links.as_slice() else { return };
                let denied = match relation.node {
                    Relation::Equal => denied,
                    Relation::NotEqual => !denied,
                    _ => return,
                };
                let is_denied =
                    |subject: &Spanned<Term>| denied && matches!(subject.node, Term::Value(ValueField::New));
                for (subject, literal) in [(first, second), (second, first)] {
                    if let (true, Term::Text(text)) = (is_denied(subject), &literal.node) {
                        self.text_that_is_a_number(text, literal.span);
                    }
                }
            }
            ConditionSyntax::InSet(subject, members) => {
                if denied && matches!(subject.node, Term::Value(ValueField::New)) {
                    for member in &members.node {
                        if let Member::Text(text) = &member.node {
                            self.text_that_is_a_number(text, member.span);
                        }
                    }
                }
            }
            ConditionSyntax::InRange(..)
            | ConditionSyntax::List(..)
            | ConditionSyntax::Text(..)
            | ConditionSyntax::Word { .. }
            | ConditionSyntax::Knob { .. } => {}
        }
    }

    fn text_that_is_a_number(&mut self, text: &Text, span: Span) {
        let Ok(&[number]) = numbers(text.as_bytes(), Value::New).as_deref() else { return };
        let message = format!("{text} is only one way to write the number {number}");
        let warning = Diagnostic::warning("number-as-text", span, message)
            .help("the same number written differently passes: compare with the number, without quotes");
        self.report(warning);
    }

    /// Whether a knob that `pattern` matches may store `number` unchanged.
    fn may_be_stored(&self, pattern: &KnobPattern, number: Integer) -> bool {
        self.widths_of(pattern).any(|width| width.contains(number))
    }

    /// The widths of the knobs that `pattern` matches, as far as known.
    fn widths_of(&self, pattern: &KnobPattern) -> impl Iterator<Item = Width> {
        if let Some(name) = pattern.literal() {
            return vec![Width::of(name, &self.width_64)].into_iter();
        }
        // A declared pattern counts even if it does not overlap.
        let mut widths: Vec<Width> = self.width_64.first().map(|_| Width::Bits64).into_iter().collect();
        if let Some((_, width)) = Width::all_known().iter().find(|(known, _)| known == pattern) {
            widths.push(*width);
        } else {
            let matched = |known: &KnobPattern| known.literal().is_some_and(|name| pattern.matches(name));
            let known = Width::all_known().iter().filter(|(known, _)| matched(known));
            widths.extend(known.map(|(_, width)| *width).chain([Width::default()]));
        }
        widths.into_iter()
    }

    fn beyond_width(&self, pattern: &KnobPattern, bound: Bound) -> Diagnostic {
        let widths: Vec<Width> = self.widths_of(pattern).collect();
        let width = widths.first().copied().unwrap_or_default();
        let (low, high) = width.bounds();
        let message = format!("a write of {} is denied here, whatever this rule says", bound.literal);
        let warning = Diagnostic::warning("beyond-width", bound.span, message)
            .label(format!("`{pattern}` stores {low} to {high} unchanged"));
        if width == Width::Bits32 {
            warning.help(format!("if its handler keeps 64 bits, declare it: `width 64 {pattern}`"))
        } else {
            warning
        }
    }
}

/// The warning about a bound that lets only numbers pass which the kernel does not store.
fn out_of_bounds(handler: &Handler<'_>, bound: Bound) -> Diagnostic {
    let Handler { pattern, low, high } = handler;
    let what = match bound.lets_pass {
        LetsPass::From(least) => format!("{least} or more"),
        LetsPass::UpTo(most) => format!("{most} or less"),
        LetsPass::Exactly(number) => number.to_string(),
        LetsPass::Others => format!("a number other than {}", bound.literal),
    };
    let takes = if low == high { format!("only {low}") } else { format!("{low} to {high}") };
    Diagnostic::warning("out-of-bounds", bound.span, format!("the kernel never stores {what} here"))
        .label(format!("`{}` takes {takes}", pattern.node))
        .also(pattern.span, "this knob")
}

/// The literals that are compared with numbers of the new value. If `negated`, numbers for which the condition holds do
/// not pass.
fn collect(condition: &Spanned<ConditionSyntax>, negated: bool, bounds: &mut Vec<Bound>) {
    match &condition.node {
        ConditionSyntax::All(parts) | ConditionSyntax::Any(parts) => {
            parts.iter().for_each(|part| collect(part, negated, bounds));
        }
        ConditionSyntax::Not(part) => collect(part, !negated, bounds),
        ConditionSyntax::Chain(first, links) => {
            let mut left = first;
            for (relation, right) in links {
                if let (true, Term::Integer(literal)) = (is_new(left), &right.node) {
                    push(*literal, right.span, LetsPass::of(relation.node, literal.get()), negated, bounds);
                }
                if let (Term::Integer(literal), true) = (&left.node, is_new(right)) {
                    let mirrored = LetsPass::of(relation.node.mirrored(), literal.get());
                    push(*literal, left.span, mirrored, negated, bounds);
                }
                left = right;
            }
        }
        ConditionSyntax::InRange(subject, range) if is_new(subject) => {
            of_range(&range.node, range.span, negated, bounds);
        }
        ConditionSyntax::InSet(subject, members) if is_new(subject) => {
            members.node.iter().for_each(|member| of_member(member, negated, bounds));
        }
        ConditionSyntax::List(subject, verb, members) if is_new(subject) => {
            let negated = negated != (*verb == ListVerb::Differs);
            let first = bounds.len();
            members.node.iter().for_each(|member| of_member(member, negated, bounds));
            if is_ascending(&members.node) {
                bounds[first..].iter_mut().for_each(|bound| bound.is_ascending = true);
            }
        }
        ConditionSyntax::InRange(..)
        | ConditionSyntax::InSet(..)
        | ConditionSyntax::List(..)
        | ConditionSyntax::Text(..)
        | ConditionSyntax::Word { .. }
        | ConditionSyntax::Knob { .. } => {}
    }
}

/// Whether a list has only integers, in ascending order and none of them negative.
fn is_ascending(members: &[Spanned<Member>]) -> bool {
    let integers = members.iter().map(|member| match member.node {
        Member::Integer(integer) => Some(integer),
        Member::Range(_) | Member::Text(_) => None,
    });
    let integers: Option<Vec<Integer>> = integers.collect();
    // A list of one number says no more than the number.
    integers
        .filter(|integers| integers.len() > 1)
        .is_some_and(|integers| integers.is_sorted() && !integers.iter().any(|integer| integer.is_negative()))
}

fn of_member(member: &Spanned<Member>, negated: bool, bounds: &mut Vec<Bound>) {
    match &member.node {
        Member::Integer(literal) => {
            push(*literal, member.span, LetsPass::Exactly(literal.get()), negated, bounds);
        }
        Member::Range(range) => of_range(range, member.span, negated, bounds),
        Member::Text(_) => {}
    }
}

fn of_range(range: &RangeSyntax, span: Span, negated: bool, bounds: &mut Vec<Bound>) {
    if let Some(low) = range.low {
        push(low, span, LetsPass::From(low.get()), negated, bounds);
    }
    if let Some(high) = range.high {
        push(high, span, LetsPass::UpTo(high.get()), negated, bounds);
    }
}

fn push(literal: Integer, span: Span, lets_pass: LetsPass, negated: bool, bounds: &mut Vec<Bound>) {
    let lets_pass = if negated { lets_pass.negated() } else { lets_pass };
    bounds.push(Bound { literal, span, lets_pass, is_ascending: false });
}

fn is_new(term: &Spanned<Term>) -> bool {
    matches!(
        term.node,
        Term::Value(ValueField::New) | Term::Element(ValueField::New, _) | Term::Each(ValueField::New)
    )
}

/// What a knob with this normalisation stores for a number that passes, and what to do about it.
fn normalised(how: Normalisation, bound: Bound) -> Option<(String, String)> {
    // At 100, 250 or 1000 ticks a second, a multiple of 20 ms is a whole number of ticks.
    const MILLISECONDS: i128 = 20;
    let (most, least) = match bound.lets_pass {
        LetsPass::UpTo(number) => (Some(number), None),
        LetsPass::From(number) => (None, Some(number)),
        LetsPass::Exactly(number) => (Some(number), Some(number)),
        LetsPass::Others => (None, None),
    };
    let positive = |number: Option<i128>| number.filter(|number| *number > 0);
    match how {
        Normalisation::Milliseconds => {
            let most = positive(most).filter(|most| most % MILLISECONDS != 0)?;
            let next = most - most % MILLISECONDS + MILLISECONDS;
            Some((
                format!("{most} can be stored as a larger number"),
                format!(
                    "the knob counts ticks of the timer, and rounds up: a multiple of {MILLISECONDS}, such as {next}, does not change"
                ),
            ))
        }
        Normalisation::UserTicks => {
            let least = positive(least).filter(|least| least % 2 != 0)?;
            Some((
                format!("{least} can be stored as {}", least - 1),
                "the knob counts ticks of the timer, and rounds down: an even number does not change"
                    .to_owned(),
            ))
        }
        Normalisation::PowersOfTwo { least: smallest } => {
            // 0 does not change where there is no least value.
            let most = u64::try_from(most?).ok().filter(|most| *most > 0 || smallest > 0)?;
            let stays = |number: u64| number.is_power_of_two() && number >= smallest.into();
            let stored = most.max(smallest.into()).checked_next_power_of_two();
            (!stays(most)).then(|| {
                let stored = stored.map_or_else(|| "more".to_owned(), |stored| stored.to_string());
                let from = if smallest > 0 { format!(" of {smallest} and more") } else { String::new() };
                (
                    format!("{most} is stored as {stored}"),
                    format!("the knob rounds up to powers of two{from}: give one"),
                )
            })
        }
        Normalisation::Booleans => {
            let number = most.or(least).filter(|number| *number > 1)?;
            Some((
                format!("{number} is stored as 1"),
                "the knob stores every number but 0 as 1: compare with these two".to_owned(),
            ))
        }
        Normalisation::CpuMask => Some((
            format!(
                "{} is not a CPU mask: the knob reads hexadecimal digits without a prefix",
                bound.literal
            ),
            "compare it as a text, and list what is allowed".to_owned(),
        )),
        Normalisation::Text | Normalisation::WordSet => Some((
            format!("{} is a text for this knob, and not a number", bound.literal),
            "compare it as a text, and list what is allowed".to_owned(),
        )),
        Normalisation::AtMost(how) => least.filter(|_| most.is_none()).map(|least| {
            (
                format!("this knob can store less than {least}: {how}"),
                "a lower bound on what is written says nothing certain about what it holds".to_owned(),
            )
        }),
        // Handlers of lists have their own ways with negative numbers and with the order.
        Normalisation::Own(_) if bound.is_ascending => None,
        Normalisation::Own(how) => (bound.lets_pass != LetsPass::Others).then(|| {
            (
                format!("this knob can store another number: {how}"),
                "a bound on what is written says nothing certain about what it holds".to_owned(),
            )
        }),
    }
}
