//! Conditions: `or` binds loosest, then `and`, then `not`, then comparisons.

use super::foreign::FOREIGN_PREDICATES;
use super::{Parse, Parser, Reported};
use crate::did_you_mean::did_you_mean;
use crate::filter::ValueField;
use crate::lexer::{Punct, TokenKind};
use crate::scheme::{Field, JOINED, listed};
use crate::syntax::{ConditionSyntax, ListVerb, Member, Spanned, Term, TextVerb};
use crate::{Diagnostic, Relation, Span, limits};

/// The words that can follow an operand.
pub(crate) const PREDICATES: &[&str] = &["in", "matches", "starts", "contains"];

impl Parser<'_> {
    pub(super) fn condition(&mut self) -> Parse<Spanned<ConditionSyntax>> {
        self.compared = None;
        self.any(0)
    }

    /// `… or …`
    fn any(&mut self, nesting: usize) -> Parse<Spanned<ConditionSyntax>> {
        let first = self.all(nesting)?;
        let mut terms = vec![first];
        while self.connective("or", Punct::DoubleOr) {
            terms.push(self.all(nesting)?);
        }
        Ok(joined(terms, ConditionSyntax::Any))
    }

    /// `… and …`
    fn all(&mut self, nesting: usize) -> Parse<Spanned<ConditionSyntax>> {
        let first = self.not(nesting)?;
        let mut terms = vec![first];
        while self.connective("and", Punct::DoubleAnd) {
            terms.push(self.not(nesting)?);
        }
        Ok(joined(terms, ConditionSyntax::All))
    }

    /// Uses `and` or `or`, or reports its form in another language.
    fn connective(&mut self, word: &'static str, foreign: Punct) -> bool {
        let is_single = match foreign {
            Punct::DoubleAnd => self.peek_punct(Punct::Ampersand),
            _ => self.peek().kind == TokenKind::Stray('|'),
        };
        let uppercase = self.peek_slice().eq_ignore_ascii_case(word) && !self.peek_word(word);
        if self.peek_punct(foreign) || is_single || uppercase {
            let span = self.peek_span();
            let error = Diagnostic::error(
                "foreign-operator",
                span,
                format!("`{}` is written `{word}`", self.slice(span)),
            )
            .help(format!("write `{word}`"))
            .suggest(span, self.apart(span, word));
            self.report(error);
        } else if !self.peek_word(word) {
            return false;
        }
        self.next();
        self.skip_newlines();
        true
    }

    /// Reports that what comes next neither joins another condition nor ends this one.
    pub(super) fn no_connective(&mut self, expected: &str) -> Reported {
        let span = self.peek_span();
        let word = self.slice(span);
        let near = did_you_mean(word, ["and", "or"]).filter(|_| !matches!(word, "xor" | "nor"));
        match near.filter(|_| self.peek().kind == TokenKind::Word) {
            Some(near) => {
                let error =
                    Diagnostic::error("unknown-word", span, format!("expected {expected}, found `{word}`"));
                self.report(error.help(format!("did you mean `{near}`?")).suggest(span, near))
            }
            None => self.unexpected(expected, Some(JOINED)),
        }
    }

    /// `not …`, a condition in parentheses, or a comparison.
    fn not(&mut self, nesting: usize) -> Parse<Spanned<ConditionSyntax>> {
        let start = self.peek_span();
        let is_bang = self.peek_punct(Punct::Bang)
            || (self.peek_slice().eq_ignore_ascii_case("not") && !self.peek_word("not"));
        let is_not = is_bang || self.peek_word("not");
        if !is_not && !self.peek_punct(Punct::ParenOpen) {
            return self.comparison();
        }
        if nesting >= limits::NESTING_MAX {
            let message = format!("conditions are nested more than {} deep", limits::NESTING_MAX);
            return Err(self.report(Diagnostic::error("nesting-too-deep", start, message)));
        }
        if is_bang {
            let message = format!("`{}` is written `not`", self.slice(start));
            let error = Diagnostic::error("foreign-operator", start, message)
                .help("write `not`")
                .suggest(start, self.apart(start, "not"));
            self.report(error);
        }
        self.next();
        if is_not {
            let negated = self.not(nesting + 1)?;
            let span = start.to(negated.span);
            return Ok(Spanned::new(ConditionSyntax::Not(Box::new(negated)), span));
        }
        self.joined += 1;
        let inner = self.any(nesting + 1)?;
        if !self.peek_punct(Punct::ParenClose) {
            return Err(self.unexpected("`and`, `or` or `)`", None));
        }
        self.next();
        self.joined -= 1;
        Ok(Spanned::new(inner.node, Span::new(start.start, self.end)))
    }

    fn comparison(&mut self) -> Parse<Spanned<ConditionSyntax>> {
        let again = self.compared.take();
        if let Some((operand, _)) = again
            && self.relation_comes_next()
        {
            let place = Span::new(self.peek_span().start, self.peek_span().start);
            let operand = self.slice(operand);
            let error = Diagnostic::error("missing-operand", self.peek_span(), "an operand is missing here")
                .help(format!("both comparisons need an operand: `{operand}`"))
                .suggest(place, format!("{operand} "));
            return Err(self.report(error));
        }
        if let Some(test) = self.event_test(again) {
            return test;
        }
        let first = self.term("an operand")?;
        let start = first.span;
        self.expect_words(PREDICATES);
        let node = if let TokenKind::Word = self.peek().kind {
            self.predicate(first, again)?
        } else {
            let mut links = Vec::new();
            while let Some(relation) = self.relation() {
                if self.members_come_next() {
                    return self.equal_members(first, relation);
                }
                if self.peek_punct(Punct::BracketOpen) {
                    if links.is_empty() {
                        return self.equal_list(first, relation);
                    }
                    let help = "compare a list by itself, and join with `and`";
                    return Err(self.unexpected("a number", Some(help)));
                }
                links.push((relation, self.right_term(&first.node)?));
            }
            match &links[..] {
                [] => return Err(self.no_comparison(&first, again)),
                [(relation, literal)] if literal.node.is_literal() => {
                    self.compared = Some((first.span, relation.node));
                }
                _ => {}
            }
            ConditionSyntax::Chain(first, links)
        };
        Ok(Spanned::new(node, Span::new(start.start, self.end)))
    }

    pub(super) fn relation(&mut self) -> Option<Spanned<Relation>> {
        let span = self.peek_span();
        let relation = match self.peek().kind {
            TokenKind::Punct(Punct::Less) => Relation::Less,
            TokenKind::Punct(Punct::LessOrEqual) => Relation::LessOrEqual,
            TokenKind::Punct(Punct::Equal) => Relation::Equal,
            TokenKind::Punct(Punct::NotEqual) => Relation::NotEqual,
            TokenKind::Punct(Punct::GreaterOrEqual) => Relation::GreaterOrEqual,
            TokenKind::Punct(Punct::Greater) => Relation::Greater,
            TokenKind::Punct(Punct::Assign) => {
                let error = Diagnostic::error("assignment", span, "`=` is not a comparison")
                    .help("equality is written `==`")
                    .suggest(span, "==");
                self.report(error);
                Relation::Equal
            }
            TokenKind::Punct(Punct::TripleEqual) => self.foreign_relation(Relation::Equal),
            TokenKind::Punct(Punct::EqualOrLess) | TokenKind::Stray('≤') => {
                self.foreign_relation(Relation::LessOrEqual)
            }
            TokenKind::Punct(Punct::Arrow) | TokenKind::Stray('≥') => {
                self.foreign_relation(Relation::GreaterOrEqual)
            }
            TokenKind::Punct(Punct::LessOrGreater) | TokenKind::Stray('≠') => {
                self.foreign_relation(Relation::NotEqual)
            }
            _ => return None,
        };
        self.next();
        Some(Spanned::new(relation, span))
    }

    /// Reports that `operand` is not compared with anything. `before` is the previous comparison.
    fn no_comparison(&mut self, operand: &Spanned<Term>, before: Option<(Span, Relation)>) -> Reported {
        if let (true, Some((subject, Relation::Equal))) = (operand.node.is_literal(), before) {
            let subject = self.slice(subject);
            let place = Span::new(operand.span.start, operand.span.start);
            let error =
                Diagnostic::error("missing-operand", operand.span, "this is not compared with anything")
                    .help(format!("compare it too: `{subject} == {}`", self.slice(operand.span)))
                    .suggest(place, format!("{subject} == "));
            return self.report(error);
        }
        if self.peek().kind == TokenKind::Punct(Punct::Resembles) {
            let help = "texts are compared with globs: `matches \"web-*\"`";
            return self.unexpected("a comparison", Some(help));
        }
        if self.peek_punct(Punct::Ampersand) {
            let help = "one literal mask follows a number of a value: `new & 0x6 == 0`";
            return self.unexpected("a comparison", Some(help));
        }
        let subject = self.slice(operand.span);
        let help = match operand.node {
            Term::TextField(_) | Term::Name(_) | Term::Label(_) => {
                format!("such as `{subject} == \"a\"` or `{subject} starts with \"a\"`")
            }
            _ => format!("such as `{subject} == 1` or `{subject} in 1..10`"),
        };
        self.unexpected("a comparison", Some(&help))
    }

    /// `in …`, `matches …`, `starts with …`, `contains …`
    fn predicate(
        &mut self,
        subject: Spanned<Term>,
        again: Option<(Span, Relation)>,
    ) -> Parse<ConditionSyntax> {
        let span = self.peek_span();
        let verb = match self.slice(span) {
            "in" => {
                self.next();
                return self.membership(subject, span);
            }
            "matches" => TextVerb::Matches,
            "contains" => TextVerb::Contains,
            "starts" => {
                self.next();
                if !self.peek_word("with") {
                    if let TokenKind::Text(_) = self.peek().kind {
                        let error = Diagnostic::error("missing-with", span, "`starts` without `with`")
                            .help("write `starts with \"text\"`")
                            .suggest(Span::new(span.end, span.end), " with");
                        return Err(self.report(error));
                    }
                    return Err(self.unexpected("`with`", Some("write `starts with \"text\"`")));
                }
                TextVerb::StartsWith
            }
            "not" => return Err(self.misplaced_not(subject.span)),
            "and" | "or" | "log" | "nolog" | "if" | "to" => return Err(self.no_comparison(&subject, again)),
            word => {
                if let Some(error) = self.foreign_predicate(word) {
                    return Err(self.report(error));
                }
                let foreign =
                    FOREIGN_PREDICATES.iter().find(|(foreign, _)| *foreign == word).map(|(_, ours)| *ours);
                let Some(near) = foreign.or_else(|| did_you_mean(word, PREDICATES.iter().copied())) else {
                    return Err(self.no_comparison(&subject, again));
                };
                let error =
                    Diagnostic::error("unknown-word", span, format!("expected a comparison, found `{word}`"))
                        .help(format!("did you mean `{near}`?"))
                        .suggest(span, near);
                return Err(self.report(error));
            }
        };
        self.next();
        let text = self.text("a text", Some("texts are written between double quotes"))?;
        Ok(ConditionSyntax::Text(subject, verb, text))
    }

    /// The right side of `in`, which is at `word`.
    pub(super) fn membership(&mut self, subject: Spanned<Term>, word: Span) -> Parse<ConditionSyntax> {
        if matches!(subject.node, Term::Value(_)) && self.list_comes_next() {
            let list = self.numbers_or_texts(Punct::BracketClose)?;
            return Ok(ConditionSyntax::List(subject, ListVerb::In, list));
        }
        if let Some(error) = self.foreign_members(word) {
            return Err(self.report(error));
        }
        if self.peek_punct(Punct::ParenOpen) || self.peek_punct(Punct::BracketOpen) {
            let help = "sets are written `{1, 2}`, ranges `1..2`, and lists are for `new` and `old`";
            return Err(self.unexpected("a range or a set", Some(help)));
        }
        if !self.peek_punct(Punct::BraceOpen) {
            let range = self.range("a range such as `1..10`, or a set such as `{1, 2}`")?;
            return Ok(ConditionSyntax::InRange(subject, range));
        }
        Ok(ConditionSyntax::InSet(subject, self.numbers_or_texts(Punct::BraceClose)?))
    }

    /// `not` after an operand, which is at `subject`.
    pub(super) fn misplaced_not(&mut self, subject: Span) -> Reported {
        let span = self.peek_span();
        let operand = self.slice(subject);
        let error = Diagnostic::error("misplaced-not", span, "`not` goes before what it negates")
            .help(format!("write `not {operand} in …`"));
        let mut ahead = self.ahead();
        let (_, next) = (ahead.token(), ahead.token());
        self.report(match next.kind {
            TokenKind::Word | TokenKind::Punct(_) => {
                error.suggest(subject.to(span), format!("not {operand}"))
            }
            _ => error,
        })
    }

    /// Whether a list of numbers comes next, and not a set of texts between the wrong brackets.
    fn list_comes_next(&mut self) -> bool {
        let mut ahead = self.ahead();
        ahead.token().kind == TokenKind::Punct(Punct::BracketOpen)
            && !matches!(ahead.token().kind, TokenKind::Text(_))
    }

    /// `new == [1, 2]` and `new != [1, 2]`, after the operand and the relation.
    fn equal_list(
        &mut self,
        first: Spanned<Term>,
        relation: Spanned<Relation>,
    ) -> Parse<Spanned<ConditionSyntax>> {
        let verb = match relation.node {
            Relation::Equal => ListVerb::Equals,
            Relation::NotEqual => ListVerb::Differs,
            _ => {
                let help = "lists have no order: give each number a range, such as `new in [1.., ..5]`";
                return Err(self.unexpected("a number", Some(help)));
            }
        };
        let list = self.numbers_or_texts(Punct::BracketClose)?;
        let span = Span::new(first.span.start, self.end);
        if !list.node.iter().any(|member| matches!(member.node, Member::Range(_))) {
            return Ok(Spanned::new(ConditionSyntax::List(first, verb, list), span));
        }
        self.report_equal_members(first.span, &relation);
        Ok(Spanned::new(ConditionSyntax::List(first, ListVerb::In, list), span))
    }

    /// The members of a set or a list of values, which comes next and ends with `close`.
    fn numbers_or_texts(&mut self, close: Punct) -> Parse<Spanned<Vec<Spanned<Member>>>> {
        self.bracketed(close, Self::member)
    }

    /// `{…}` or `[…]`, which comes next and ends with `close`.
    pub(super) fn bracketed<T>(
        &mut self,
        close: Punct,
        mut member: impl FnMut(&mut Self) -> Parse<T>,
    ) -> Parse<Spanned<Vec<T>>> {
        let open = self.next().span;
        self.joined += 1;
        let mut members = Vec::new();
        while !self.peek_punct(close) {
            members.push(member(self)?);
            if !self.peek_punct(Punct::Comma) {
                break;
            }
            self.next();
        }
        if !self.peek_punct(close) {
            let expected = if close == Punct::BraceClose { "`,` or `}`" } else { "`,` or `]`" };
            return Err(self.unexpected(expected, None));
        }
        self.next();
        self.joined -= 1;
        Ok(Spanned::new(members, Span::new(open.start, self.end)))
    }

    fn member(&mut self) -> Parse<Spanned<Member>> {
        if let Some((span, quoted)) = self.quoted_ahead()
            && self.peek().kind == TokenKind::Word
            && !self.scheme.is_operand(self.slice(span))
        {
            let message = format!("expected an integer or a text, found `{}`", self.slice(span));
            let error = Diagnostic::error("unquoted-text", span, message)
                .help("texts are written between double quotes")
                .suggest(span, quoted);
            return Err(self.report(error));
        }
        if self.range_comes_next() {
            let range = self.range("a range")?;
            return Ok(Spanned::new(Member::Range(range.node), range.span));
        }
        let span = self.peek_span();
        let member = match self.peek().kind.clone() {
            TokenKind::Integer(integer) => Member::Integer(integer),
            TokenKind::Text(text) => Member::Text(text),
            _ => {
                let help = "the members are integers, ranges or texts: `{1, 4..8}`, `{\"a\", \"b\"}`";
                return Err(self.unexpected("an integer, a range or a text", Some(help)));
            }
        };
        self.next();
        Ok(Spanned::new(member, span))
    }

    /// Whether a range comes next, in any notation.
    fn range_comes_next(&mut self) -> bool {
        let is_dots = |kind: &TokenKind| matches!(kind, TokenKind::Punct(Punct::Range | Punct::RangeEqual));
        let mut ahead = self.ahead();
        let first = ahead.token().kind;
        is_dots(&first)
            || matches!(first, TokenKind::Integer(_)) && is_dots(&ahead.token().kind)
            || self.foreign_range().is_some()
    }

    pub(super) fn term(&mut self, expected: &str) -> Parse<Spanned<Term>> {
        self.expect_operands();
        let span = self.peek_span();
        let term = match self.peek().kind.clone() {
            TokenKind::Integer(integer) => Term::Integer(integer),
            TokenKind::Text(text) => Term::Text(text),
            TokenKind::Word => match (self.slice(span), self.scheme.field(self.slice(span))) {
                (word @ ("count" | "each" | "ranges"), _) if self.scheme.is_operand(word) => {
                    return self.call();
                }
                (_, Some(Field::Label)) => return self.label(),
                (_, Some(Field::Name(field))) => Term::Name(field),
                (_, Some(Field::Value(value))) => {
                    let value = self.value(value)?;
                    return self.masked(value);
                }
                (_, Some(Field::Integer(field))) => Term::IntegerField(field),
                (_, Some(Field::Text(field))) => Term::TextField(field),
                (word, Some(Field::Word(_) | Field::Knob)) => return Err(self.misplaced_field(word)),
                (word, None) => return Err(self.unknown_operand(word)),
            },
            TokenKind::Punct(Punct::BracketOpen) => {
                return Err(self.unexpected(expected, Some("a list is on the right: `new == [1, 2]`")));
            }
            _ => {
                let help = self.scheme.operands();
                return Err(self.unexpected(expected, Some(&help)));
            }
        };
        self.next();
        Ok(Spanned::new(term, span))
    }

    fn unknown_operand(&mut self, word: &str) -> Reported {
        let span = self.peek_span();
        let error = Diagnostic::error("unknown-operand", span, format!("there is no operand `{word}`"));
        let scheme = self.scheme;
        let near = scheme.foreign(word).or_else(|| did_you_mean(word, scheme.operand_words()));
        let error = if scheme.absent.contains(&word) {
            error.help(scheme.instead)
        } else if let Some(near) = near {
            error.help(format!("did you mean `{near}`?")).suggest(span, near)
        } else if let Some((field, _)) = self.fields_with_word(word).next() {
            error.help(format!("the field is named first: `{field} == {word}`"))
        } else if self.text[span.end..].starts_with(['.', '/']) {
            error.help(scheme.knob)
        } else {
            error.help(format!("{}; texts are quoted", scheme.operands()))
        };
        self.report(error)
    }

    /// `new` or `new[i]`
    fn value(&mut self, value: ValueField) -> Parse<Spanned<Term>> {
        let start = self.next().span;
        if !self.peek_punct(Punct::BracketOpen) {
            return Ok(Spanned::new(Term::Value(value), start));
        }
        self.next();
        self.joined += 1;
        let index = self.integer("the index of an element", Some("elements count from 0: `new[0]`"))?;
        if !self.peek_punct(Punct::BracketClose) {
            return Err(self.unexpected("`]`", None));
        }
        self.next();
        self.joined -= 1;
        Ok(Spanned::new(Term::Element(value, index), Span::new(start.start, self.end)))
    }

    /// `operand & 0x1f0`, after the operand.
    fn masked(&mut self, operand: Spanned<Term>) -> Parse<Spanned<Term>> {
        let mut ahead = self.ahead();
        let is_mask = ahead.token().kind == TokenKind::Punct(Punct::Ampersand)
            && matches!(ahead.token().kind, TokenKind::Integer(_));
        if !is_mask {
            return Ok(operand);
        }
        self.next();
        let mask = self.integer("a mask", None)?;
        let span = Span::new(operand.span.start, self.end);
        Ok(Spanned::new(Term::Masked(Box::new(operand.node), mask), span))
    }

    /// `count(new)`, `each(new)` or `ranges(new)`
    fn call(&mut self) -> Parse<Spanned<Term>> {
        let start = self.next().span;
        let function = self.slice(start);
        if !self.peek_punct(Punct::ParenOpen) {
            let help = format!("write `{function}(new)` or `{function}(old)`");
            return Err(self.unexpected("`(`", Some(&help)));
        }
        self.next();
        self.joined += 1;
        let values: Vec<_> = self.scheme.names(|field| matches!(field, Field::Value(_))).collect();
        let name = self.choice(&values, &listed(values.iter().copied(), "or"))?;
        // All of these names are values.
        let Some(Field::Value(value)) = self.scheme.field(name) else { return Err(Reported) };
        if !self.peek_punct(Punct::ParenClose) {
            return Err(self.unexpected("`)`", None));
        }
        self.next();
        self.joined -= 1;
        let span = Span::new(start.start, self.end);
        match function {
            "count" => Ok(Spanned::new(Term::Count(value), span)),
            "ranges" => Ok(Spanned::new(Term::Ranges(value), span)),
            _ => self.masked(Spanned::new(Term::Each(value), span)),
        }
    }
}

/// A single condition as it is, or several joined into one.
fn joined(
    mut terms: Vec<Spanned<ConditionSyntax>>,
    condition: impl FnOnce(Vec<Spanned<ConditionSyntax>>) -> ConditionSyntax,
) -> Spanned<ConditionSyntax> {
    match (terms.pop(), terms.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            terms.extend(last);
            let span = terms[0].span.to(terms[terms.len() - 1].span);
            Spanned::new(condition(terms), span)
        }
    }
}
