//! The types of conditions: numbers are compared with numbers, and texts with texts.

use super::Checker;
use crate::filter::{TextField, ValueField};
use crate::model::ends_text;
use crate::scheme::{Field, WordField, listed};
use crate::selector::{Comparison, SelectorField};
use crate::syntax::{ConditionSyntax, ListVerb, Member, Spanned, Term, TextVerb};
use crate::typed::{Number, Predicate, Subject, Typed};
use crate::{
    Condition, Diagnostic, ElementIndex, Elements, Integer, ListTest, Mask, NotationErrorKind, PolicyError,
    Range, Relation, Span, Text, TextGlob, ValueText,
};

/// The first place where the condition looks at the new value.
pub(super) fn first_new(condition: &Spanned<ConditionSyntax>) -> Option<Span> {
    first(condition, |term| term.value() == Some(ValueField::New))
}

/// The first place where the condition looks at the current value.
pub(super) fn first_old(condition: &Spanned<ConditionSyntax>) -> Option<Span> {
    first(condition, |term| term.value() == Some(ValueField::Old))
}

/// The first place where the condition takes a value as a set of numbers.
pub(super) fn first_ranges(condition: &Spanned<ConditionSyntax>) -> Option<Span> {
    first(condition, |term| matches!(term, Term::Ranges(_)))
}

/// The first place where the condition looks at the name of the task.
pub(super) fn first_comm(condition: &Spanned<ConditionSyntax>) -> Option<Span> {
    first(condition, |term| *term == Term::TextField(TextField::Comm))
}

/// The first place where the condition looks at the network namespace of the knob.
pub(super) fn first_netns(condition: &Spanned<ConditionSyntax>) -> Option<Span> {
    match &condition.node {
        ConditionSyntax::All(parts) | ConditionSyntax::Any(parts) => parts.iter().find_map(first_netns),
        ConditionSyntax::Not(negated) => first_netns(negated),
        ConditionSyntax::Word { field: WordField::Netns, .. } => Some(condition.span),
        _ => None,
    }
}

fn first(condition: &Spanned<ConditionSyntax>, wanted: impl Fn(&Term) -> bool + Copy) -> Option<Span> {
    let in_term = |term: &Spanned<Term>| wanted(&term.node).then_some(term.span);
    match &condition.node {
        ConditionSyntax::All(parts) | ConditionSyntax::Any(parts) => {
            parts.iter().find_map(|part| first(part, wanted))
        }
        ConditionSyntax::Not(negated) => first(negated, wanted),
        ConditionSyntax::Chain(left, links) => {
            in_term(left).or_else(|| links.iter().find_map(|(_, term)| in_term(term)))
        }
        ConditionSyntax::InRange(subject, _)
        | ConditionSyntax::InSet(subject, _)
        | ConditionSyntax::List(subject, ..)
        | ConditionSyntax::Text(subject, ..) => in_term(subject),
        ConditionSyntax::Word { .. } | ConditionSyntax::Knob { .. } => None,
    }
}

/// The diagnostic about a text that no value can have.
fn never_true(error: &PolicyError, span: Span) -> Diagnostic {
    let diagnostic = Diagnostic::invalid(error, span);
    if *error == PolicyError::NotOneLine {
        diagnostic.label("it holds a newline or a NUL")
    } else {
        diagnostic
    }
}

/// The integer, if a text literal is nothing but an integer.
fn unquoted(term: &Spanned<Term>) -> Option<String> {
    let Term::Text(text) = &term.node else { return None };
    let text = std::str::from_utf8(text.as_bytes()).ok()?;
    text.parse().ok().and_then(Integer::new).map(|_| text.to_owned())
}

/// One side of a comparison of texts.
enum TextSide {
    Subject(Subject),
    Literal(Spanned<Text>),
}

impl Checker {
    /// The condition of a rule, if it is valid; errors are reported.
    pub(super) fn rule_condition(&mut self, syntax: &Spanned<ConditionSyntax>) -> Option<Condition> {
        let condition = self.condition(syntax)?.into_condition();
        if condition.is_none() {
            // The scheme of rules has no such fields. If it had, a rule must not go missing.
            self.report(Diagnostic::error("unknown-operand", syntax.span, "a rule cannot look at this"));
        }
        condition
    }

    /// The condition, if it is valid; errors are reported.
    pub(crate) fn condition(&mut self, syntax: &Spanned<ConditionSyntax>) -> Option<Typed> {
        match &syntax.node {
            ConditionSyntax::All(parts) => Some(Typed::All(self.parts(parts)?)),
            ConditionSyntax::Any(parts) => Some(Typed::Any(self.parts(parts)?)),
            ConditionSyntax::Not(negated) => Some(Typed::Not(Box::new(self.condition(negated)?))),
            ConditionSyntax::Chain(first, links) => self.chain(first, links),
            ConditionSyntax::InRange(subject, range) => {
                let checked = self.range(range);
                if let Term::Ranges(value) = subject.node {
                    let member = [Spanned::new(checked?, range.span)];
                    return self.ranges_in(value, &member);
                }
                let number = self.number(subject);
                let (number, checked) = (number?, checked?);
                if subject.node.is_literal() {
                    self.report_literals(subject.span);
                    return None;
                }
                if checked == Range::ALL {
                    self.report(Diagnostic::invalid(&PolicyError::EndlessRange, range.span));
                    return None;
                }
                Some(Typed::InRange(number, checked))
            }
            ConditionSyntax::InSet(subject, members) => self.set(subject, members),
            ConditionSyntax::List(subject, verb, members) => self.list(subject, *verb, members),
            ConditionSyntax::Text(subject, verb, text) => {
                let checked = self.text_subject(subject);
                let predicate = self.predicate(*verb, text, checked.as_ref());
                Some(Typed::Text(checked?, predicate?))
            }
            ConditionSyntax::Word { field, words, negated } => {
                Some(Typed::Word { field: *field, words: words.clone(), negated: *negated })
            }
            ConditionSyntax::Knob { patterns, negated } => {
                for pattern in patterns {
                    if let Err(error) = pattern.node.check_is_sysctl() {
                        let error = Diagnostic::error("not-a-sysctl", pattern.span, error.to_string());
                        self.report(error.help("no event is about it"));
                    }
                }
                let patterns = patterns.iter().map(|pattern| pattern.node.clone()).collect();
                Some(Typed::Knob { patterns, negated: *negated })
            }
        }
    }

    /// All of them. Every part is checked, even after an error.
    fn parts(&mut self, parts: &[Spanned<ConditionSyntax>]) -> Option<Vec<Typed>> {
        let checked: Vec<Option<Typed>> = parts.iter().map(|part| self.condition(part)).collect();
        checked.into_iter().collect()
    }

    fn chain(
        &mut self,
        first: &Spanned<Term>,
        links: &[(Spanned<Relation>, Spanned<Term>)],
    ) -> Option<Typed> {
        let is_text = |term: &Spanned<Term>| {
            matches!(term.node, Term::Text(_) | Term::TextField(_) | Term::Name(_) | Term::Label(_))
        };
        if is_text(first) || links.iter().any(|(_, term)| is_text(term)) {
            return self.text_comparison(first, links);
        }
        let number = self.number(first);
        let checked: Vec<Option<(Relation, Number)>> =
            links.iter().map(|(relation, term)| Some((relation.node, self.number(term)?))).collect();
        let checked = checked.into_iter().collect::<Option<Vec<_>>>()?;
        let terms = || std::iter::once(first).chain(links.iter().map(|(_, term)| term));
        let literals = terms().zip(terms().skip(1)).find(|(a, b)| a.node.is_literal() && b.node.is_literal());
        if let Some((a, b)) = literals {
            self.report_literals(a.span.to(b.span));
            return None;
        }
        let number = number?;
        let each = |(number, _): &(Number, Span)| number.each_of().is_some();
        let numbers = std::iter::once(number).chain(checked.iter().map(|(_, number)| *number));
        let spans = terms().map(|term| term.span);
        if let Some((_, span)) = numbers.zip(spans).filter(each).nth(1) {
            self.report(Diagnostic::invalid(&PolicyError::EachTwice, span));
            return None;
        }
        Some(Typed::Chain(number, checked))
    }

    fn report_literals(&mut self, span: Span) {
        self.report(Diagnostic::invalid(&PolicyError::OnlyLiterals, span));
    }

    /// `new == "text"` and `new != "text"`, in either order.
    fn text_comparison(
        &mut self,
        first: &Spanned<Term>,
        links: &[(Spanned<Relation>, Spanned<Term>)],
    ) -> Option<Typed> {
        let [(relation, second)] = links else {
            let span = links.last().map_or(first.span, |(_, last)| first.span.to(last.span));
            let error = Diagnostic::error("text-in-chain", span, "a chain of comparisons is for numbers");
            self.report(error.help("compare texts two at a time, joined with `and`"));
            return None;
        };
        let sides = (self.text_side(first, second)?, self.text_side(second, first)?);
        let (subject, literal) = match sides {
            (TextSide::Subject(subject), TextSide::Literal(literal))
            | (TextSide::Literal(literal), TextSide::Subject(subject)) => (subject, literal),
            (TextSide::Literal(_), TextSide::Literal(_)) => {
                self.report_literals(first.span.to(second.span));
                return None;
            }
            (TextSide::Subject(_), TextSide::Subject(_)) => {
                let span = first.span.to(second.span);
                let error =
                    Diagnostic::error("text-operands", span, "a text can only be compared with a literal");
                self.report(error.help(format!("such as `{}`", self.scheme.text_test)));
                return None;
            }
        };
        let text = self.whole_text(&literal, Some(&subject));
        let predicate = match relation.node {
            Relation::Equal => Predicate::Equals(text?),
            Relation::NotEqual => Predicate::Differs(text?),
            _ => {
                let error = Diagnostic::error("order-of-texts", relation.span, "texts have no order");
                let integer = [first, second].into_iter().find_map(|term| Some((term.span, unquoted(term)?)));
                self.report(match integer.filter(|_| matches!(subject, Subject::Value(_))) {
                    Some((span, integer)) => {
                        error.help("an integer is written without quotes").suggest(span, integer)
                    }
                    None => error
                        .help("texts compare with `==`, `!=`, `in`, `matches`, `starts with` and `contains`"),
                });
                return None;
            }
        };
        Some(Typed::Text(subject, predicate))
    }

    fn text_side(&mut self, term: &Spanned<Term>, other: &Spanned<Term>) -> Option<TextSide> {
        match &term.node {
            Term::Text(text) => Some(TextSide::Literal(Spanned::new(text.clone(), term.span))),
            Term::Value(value) => Some(TextSide::Subject(Subject::Value(*value))),
            Term::TextField(field) => Some(TextSide::Subject(Subject::Field(*field))),
            Term::Name(field) => Some(TextSide::Subject(Subject::Selector(field.of_selector()))),
            Term::Label(key) => Some(TextSide::Subject(Subject::Selector(SelectorField::Label(key.clone())))),
            number => {
                let error = Diagnostic::error("text-and-number", term.span, "this is a number")
                    .label("a number")
                    .also(other.span, "a text");
                let error = match number {
                    Term::Integer(integer) => {
                        let text = Text::from(integer.to_string().as_str()).to_string();
                        error.help(format!("as a text, write {text}")).suggest(term.span, text)
                    }
                    _ => {
                        let error = error.help("compare it with an integer, without quotes");
                        unquoted(other)
                            .into_iter()
                            .fold(error, |error, integer| error.suggest(other.span, integer))
                    }
                };
                self.report(error);
                None
            }
        }
    }

    /// A text literal that part of `subject` is compared with.
    fn literal(&mut self, text: &Spanned<Text>, subject: Option<&Subject>) -> Option<Text> {
        if subject.is_none_or(Subject::takes_value_text) {
            let checked = ValueText::new(text.node.as_bytes());
            checked.map_err(|error| self.report(never_true(&error, text.span))).ok()?;
        }
        Some(text.node.clone())
    }

    /// A text literal that the whole of `subject` is compared with.
    fn whole_text(&mut self, text: &Spanned<Text>, subject: Option<&Subject>) -> Option<Text> {
        if let Some(Subject::Selector(field)) = subject {
            return self.selector_text(field, Comparison::Whole, text);
        }
        if !subject.is_none_or(Subject::takes_value_text) {
            return Some(text.node.clone());
        }
        let bytes = text.node.as_bytes();
        let checked = ValueText::new(bytes).map_err(|error| {
            let line = bytes.split(|byte| ends_text(*byte)).next().unwrap_or_default();
            let mut rest = bytes[line.len()..].iter();
            let diagnostic = never_true(&error, text.span);
            let cut =
                error == PolicyError::NotOneLine && rest.all(|byte| byte.is_ascii_whitespace() || *byte == 0);
            self.report(if cut {
                diagnostic.suggest(text.span, Text::from(line).to_string())
            } else {
                diagnostic
            });
        });
        checked.ok().map(|_| text.node.clone())
    }

    fn predicate(
        &mut self,
        verb: TextVerb,
        text: &Spanned<Text>,
        subject: Option<&Subject>,
    ) -> Option<Predicate> {
        match (verb, subject) {
            (TextVerb::StartsWith, Some(Subject::Selector(field))) => {
                self.selector_text(field, Comparison::Start, text).map(Predicate::StartsWith)
            }
            (TextVerb::StartsWith, _) => self.literal(text, subject).map(Predicate::StartsWith),
            (TextVerb::Contains, _) => self.literal(text, subject).map(Predicate::Contains),
            (TextVerb::Matches, Some(Subject::Selector(SelectorField::Cgroup))) => {
                self.path_glob(text).map(Predicate::MatchesPath)
            }
            (TextVerb::Matches, _) => {
                let glob = TextGlob::parse(text.node.as_bytes());
                let glob = glob.map_err(|error| self.report_glob(error.kind, text)).ok()?;
                if let Some(Subject::Selector(field)) = subject {
                    self.check_selector_glob(field, &glob, text)?;
                }
                Some(Predicate::Matches(glob))
            }
        }
    }

    /// Reports that `text` is not a glob.
    pub(super) fn report_glob(&mut self, kind: NotationErrorKind, text: &Spanned<Text>) {
        if kind == NotationErrorKind::NotOneLine {
            return self.report(never_true(&PolicyError::NotOneLine, text.span));
        }
        // With escapes in the text, the place inside it is unknown.
        let mut diagnostic = Diagnostic::error("bad-glob", text.span, kind.to_string());
        if let Some(help) = kind.help() {
            diagnostic = diagnostic.help(format!("{help} (in a text, a `\\` itself is written `\\\\`)"));
        }
        self.report(diagnostic);
    }

    fn set(&mut self, subject: &Spanned<Term>, members: &Spanned<Vec<Spanned<Member>>>) -> Option<Typed> {
        let Some(first) = members.node.first() else {
            self.report(Diagnostic::invalid(&PolicyError::EmptySet, members.span));
            return None;
        };
        let texts = matches!(first.node, Member::Text(_));
        if let Some(other) =
            members.node.iter().find(|member| matches!(member.node, Member::Text(_)) != texts)
        {
            let error = Diagnostic::error(
                "mixed-set",
                other.span,
                "a set contains either integers or texts, not both",
            );
            self.report(error.also(first.span, if texts { "a text" } else { "an integer" }));
            return None;
        }
        if !texts {
            let ranges = self.ranges(members);
            if let Term::Ranges(value) = subject.node {
                let spans = members.node.iter().map(|member| member.span);
                let members: Vec<_> =
                    ranges?.into_iter().zip(spans).map(|(range, span)| Spanned::new(range, span)).collect();
                return self.ranges_in(value, &members);
            }
            let number = self.number(subject)?;
            if subject.node.is_literal() {
                self.report_literals(subject.span);
                return None;
            }
            let ranges = ranges?;
            if let Some(endless) = ranges.iter().position(|range| *range == Range::ALL) {
                self.report(Diagnostic::invalid(&PolicyError::EndlessRange, members.node[endless].span));
                return None;
            }
            return Some(Typed::InSet(number, ranges));
        }
        let checked = self.text_subject(subject);
        let mut literals = Vec::new();
        for member in &members.node {
            if let Member::Text(text) = &member.node {
                literals.push(self.whole_text(&Spanned::new(text.clone(), member.span), checked.as_ref()));
            }
        }
        let literals = literals.into_iter().collect::<Option<Vec<_>>>()?;
        Some(Typed::Text(checked?, Predicate::In(literals)))
    }

    /// The integers and ranges among the members, none of which is a text.
    fn ranges(&mut self, members: &Spanned<Vec<Spanned<Member>>>) -> Option<Vec<Range>> {
        let ranges: Vec<Option<Range>> = members
            .node
            .iter()
            .map(|member| match &member.node {
                Member::Integer(integer) => Some(Range::only(*integer)),
                Member::Range(range) => self.range(&Spanned::new(*range, member.span)),
                Member::Text(_) => None,
            })
            .collect();
        ranges.into_iter().collect()
    }

    /// `ranges(new) in …`, with at least one member.
    fn ranges_in(&mut self, value: ValueField, members: &[Spanned<Range>]) -> Option<Typed> {
        if let Some(endless) = members.iter().find(|member| member.node == Range::ALL) {
            self.report(Diagnostic::invalid(&PolicyError::EndlessRange, endless.span));
            return None;
        }
        Some(Typed::Ranges(value, members.iter().map(|member| member.node).collect()))
    }

    /// `new == [1, 2]`, `new != [1, 2]` or `new in [1..4, ..]`
    fn list(
        &mut self,
        subject: &Spanned<Term>,
        verb: ListVerb,
        members: &Spanned<Vec<Spanned<Member>>>,
    ) -> Option<Typed> {
        let Term::Value(value) = subject.node else {
            let error = Diagnostic::error(
                "list-of-number",
                members.span,
                "only a whole value is compared with a list",
            );
            let values = self.scheme.names(|field| matches!(field, Field::Value(_)));
            self.report(error.also(subject.span, "this is none").help(match listed(values, "and") {
                values if values.is_empty() => "there are no lists here".to_owned(),
                values => format!("the values are {values}"),
            }));
            return None;
        };
        if let Some(text) = members.node.iter().find(|member| matches!(member.node, Member::Text(_))) {
            let error = Diagnostic::error("text-and-number", text.span, "the members of a list are numbers");
            self.report(error.help("a set of texts is written `{\"a\", \"b\"}`"));
            return None;
        }
        let ranges = self.ranges(members)?;
        let integers: Option<Vec<Integer>> = ranges.iter().map(Range::only_member).collect();
        let test = match (verb, integers) {
            (ListVerb::Equals, Some(integers)) => ListTest::equals(integers),
            (ListVerb::Differs, Some(integers)) => ListTest::differs(integers),
            // With a range, the parser takes no other verb.
            _ => ListTest::is_in(ranges),
        };
        Some(Typed::List(value, self.valid(test, members.span)?))
    }

    /// The text that is tested.
    fn text_subject(&mut self, term: &Spanned<Term>) -> Option<Subject> {
        match &term.node {
            Term::Value(value) => Some(Subject::Value(*value)),
            Term::TextField(field) => Some(Subject::Field(*field)),
            Term::Name(field) => Some(Subject::Selector(field.of_selector())),
            Term::Label(key) => Some(Subject::Selector(SelectorField::Label(key.clone()))),
            Term::Text(_) => {
                self.report_literals(term.span);
                None
            }
            _ => {
                let error =
                    Diagnostic::error("text-and-number", term.span, "expected a text, found a number");
                let texts = self
                    .scheme
                    .names(|field| matches!(field, Field::Value(_) | Field::Text(_) | Field::Name(_)));
                self.report(error.help(format!("the texts are {}", listed(texts, "and"))));
                None
            }
        }
    }

    fn number(&mut self, term: &Spanned<Term>) -> Option<Number> {
        Some(match &term.node {
            Term::Integer(integer) => Number::Literal(*integer),
            Term::Value(value) => Number::Of(*value, Elements::Only, None),
            Term::Each(value) => Number::Of(*value, Elements::Each, None),
            Term::Count(value) => Number::Count(*value),
            Term::IntegerField(field) => Number::Field(*field),
            Term::Element(value, index) => {
                let index = self.valid(ElementIndex::new(index.node.get()), index.span)?;
                Number::Of(*value, Elements::At(index), None)
            }
            Term::Masked(masked, mask) => {
                let number = self.number(&Spanned::new((**masked).clone(), term.span));
                let mask = self.valid(Mask::new(mask.node), mask.span);
                match (number?, mask?) {
                    (Number::Of(value, elements, _), mask) => Number::Of(value, elements, Some(mask)),
                    (other, _) => other,
                }
            }
            Term::Ranges(_) => {
                let error = Diagnostic::error(
                    "set-as-number",
                    term.span,
                    "expected a number, found a set of numbers",
                );
                self.report(error.help("a set is tested with `in`, such as `ranges(new) in 30000..32767`"));
                return None;
            }
            Term::Text(_) | Term::TextField(_) | Term::Name(_) | Term::Label(_) => {
                let error =
                    Diagnostic::error("text-and-number", term.span, "expected a number, found a text");
                self.report(error);
                return None;
            }
        })
    }
}
