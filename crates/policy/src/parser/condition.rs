//! Conditions: `or` binds loosest, then `and`, then `not`, then comparisons.

use super::{Parse, Parser, Reported};
use crate::lexer::{Mark, TokenKind};
use crate::nearest::nearest;
use crate::syntax::{At, ConditionSyntax, Term, TextVerb};
use crate::{Diagnostic, Relation, Span, Value, limits};

/// The words that are operands.
const OPERANDS: &[&str] = &["new", "old", "comm", "pos", "uid", "gid", "count"];

/// The words that stand behind an operand.
const PREDICATES: &[&str] = &["in", "matches", "starts", "contains"];

/// Words of other languages for our predicates and relations.
const FOREIGN_PREDICATES: &[(&str, &str)] = &[
    ("like", "matches"),
    ("glob", "matches"),
    ("startswith", "starts with"),
    ("starts_with", "starts with"),
    ("begins", "starts with"),
    ("includes", "contains"),
    ("has", "contains"),
    ("is", "=="),
    ("equals", "=="),
    ("eq", "=="),
    ("ne", "!="),
    ("lt", "<"),
    ("le", "<="),
    ("gt", ">"),
    ("ge", ">="),
    ("between", "in"),
];

impl Parser<'_> {
    pub(super) fn condition(&mut self) -> Parse<At<ConditionSyntax>> {
        self.any(0)
    }

    /// `… or …`
    fn any(&mut self, nesting: usize) -> Parse<At<ConditionSyntax>> {
        let first = self.all(nesting)?;
        let mut terms = vec![first];
        while self.connective("or", Mark::DoubleOr) {
            terms.push(self.all(nesting)?);
        }
        Ok(joined(terms, ConditionSyntax::Any))
    }

    /// `… and …`
    fn all(&mut self, nesting: usize) -> Parse<At<ConditionSyntax>> {
        let first = self.not(nesting)?;
        let mut terms = vec![first];
        while self.connective("and", Mark::DoubleAnd) {
            terms.push(self.not(nesting)?);
        }
        Ok(joined(terms, ConditionSyntax::All))
    }

    /// Uses `and` or `or`, or what other languages write for it, which is an error.
    fn connective(&mut self, word: &str, foreign: Mark) -> bool {
        if self.peek_mark(foreign) {
            let span = self.peek_span();
            let error = Diagnostic::error(
                "foreign-operator",
                span,
                format!("`{}` is written `{word}`", self.slice(span)),
            )
            .help(format!("write `{word}`"))
            .suggest(span, word);
            self.report(error);
        } else if !self.peek_word(word) {
            return false;
        }
        self.next();
        self.skip_newlines();
        true
    }

    /// `not …`, a condition in parentheses, or a comparison.
    fn not(&mut self, nesting: usize) -> Parse<At<ConditionSyntax>> {
        let start = self.peek_span();
        let is_bang = self.peek_mark(Mark::Bang);
        let is_not = is_bang || self.peek_word("not");
        if !is_not && !self.peek_mark(Mark::ParenOpen) {
            return self.comparison();
        }
        if nesting >= limits::NESTING_MAX {
            let message = format!("conditions are nested more than {} deep", limits::NESTING_MAX);
            return Err(self.report(Diagnostic::error("nesting-too-deep", start, message)));
        }
        if is_bang {
            let error = Diagnostic::error("foreign-operator", start, "`!` is written `not`")
                .help("write `not`")
                .suggest(start, "not ");
            self.report(error);
        }
        self.next();
        if is_not {
            let negated = self.not(nesting + 1)?;
            let span = start.to(negated.span);
            return Ok(At::new(ConditionSyntax::Not(Box::new(negated)), span));
        }
        self.joined += 1;
        let inner = self.any(nesting + 1)?;
        if !self.peek_mark(Mark::ParenClose) {
            return Err(self.unexpected("`and`, `or` or `)`", None));
        }
        self.next();
        self.joined -= 1;
        Ok(At::new(inner.is, Span::new(start.start, self.end)))
    }

    fn comparison(&mut self) -> Parse<At<ConditionSyntax>> {
        let first = self.term("an operand")?;
        let start = first.span;
        let is = if let TokenKind::Word = self.peek().kind {
            self.predicate(first)?
        } else {
            let mut links = Vec::new();
            while let Some(relation) = self.relation() {
                links.push((relation, self.term("an operand")?));
            }
            if links.is_empty() {
                return Err(self.no_comparison(&first));
            }
            ConditionSyntax::Chain(first, links)
        };
        Ok(At::new(is, Span::new(start.start, self.end)))
    }

    fn relation(&mut self) -> Option<At<Relation>> {
        let span = self.peek_span();
        let relation = match self.peek().kind {
            TokenKind::Mark(Mark::Less) => Relation::Less,
            TokenKind::Mark(Mark::LessOrEqual) => Relation::LessOrEqual,
            TokenKind::Mark(Mark::Equal) => Relation::Equal,
            TokenKind::Mark(Mark::NotEqual) => Relation::NotEqual,
            TokenKind::Mark(Mark::GreaterOrEqual) => Relation::GreaterOrEqual,
            TokenKind::Mark(Mark::Greater) => Relation::Greater,
            TokenKind::Mark(Mark::Assign) => {
                let error = Diagnostic::error("assignment", span, "`=` compares nothing")
                    .help("equality is written `==`")
                    .suggest(span, "==");
                self.report(error);
                Relation::Equal
            }
            _ => return None,
        };
        self.next();
        Some(At::new(relation, span))
    }

    fn no_comparison(&mut self, operand: &At<Term>) -> Reported {
        let help = format!("such as `{0} == 1` or `{0} in 1..10`", self.slice(operand.span));
        self.unexpected("a comparison", Some(&help))
    }

    /// `in …`, `matches …`, `starts with …`, `contains …`
    fn predicate(&mut self, subject: At<Term>) -> Parse<ConditionSyntax> {
        let span = self.peek_span();
        let verb = match self.slice(span) {
            "in" => {
                self.next();
                return self.membership(subject);
            }
            "matches" => TextVerb::Matches,
            "contains" => TextVerb::Contains,
            "starts" => {
                self.next();
                if !self.peek_word("with") {
                    return Err(self.unexpected("`with`", Some("write `starts with \"text\"`")));
                }
                TextVerb::StartsWith
            }
            "not" => {
                let operand = self.slice(subject.span);
                let error = Diagnostic::error("misplaced-not", span, "`not` stands before what it negates")
                    .help(format!("write `not {operand} in …`"));
                return Err(self.report(error));
            }
            "and" | "or" | "log" | "nolog" | "if" | "to" => return Err(self.no_comparison(&subject)),
            word => {
                let foreign =
                    FOREIGN_PREDICATES.iter().find(|(foreign, _)| *foreign == word).map(|(_, ours)| *ours);
                let Some(near) = foreign.or_else(|| nearest(word, PREDICATES.iter().copied())) else {
                    return Err(self.no_comparison(&subject));
                };
                let error =
                    Diagnostic::error("unknown-word", span, format!("expected a comparison, found `{word}`"))
                        .help(format!("did you mean `{near}`?"))
                        .suggest(span, near);
                return Err(self.report(error));
            }
        };
        self.next();
        let text = self.text("a text", Some("texts stand between double quotes"))?;
        Ok(ConditionSyntax::Text(subject, verb, text))
    }

    /// What stands behind `in`.
    fn membership(&mut self, subject: At<Term>) -> Parse<ConditionSyntax> {
        if self.peek_mark(Mark::ParenOpen) || self.peek_mark(Mark::BracketOpen) {
            let help = "sets are written `{1, 2}`, ranges `1..2`";
            return Err(self.unexpected("a range or a set", Some(help)));
        }
        if !self.peek_mark(Mark::BraceOpen) {
            let range = self.range("a range such as `1..10`, or a set such as `{1, 2}`")?;
            return Ok(ConditionSyntax::InRange(subject, range));
        }
        let open = self.next().span;
        self.joined += 1;
        let mut members = Vec::new();
        while !self.peek_mark(Mark::BraceClose) {
            members.push(self.member()?);
            if !self.peek_mark(Mark::Comma) {
                break;
            }
            self.next();
        }
        if self.peek_mark(Mark::Range) {
            let help = "a range stands without braces: `in 1..10`";
            return Err(self.unexpected("`,` or `}`", Some(help)));
        }
        if !self.peek_mark(Mark::BraceClose) {
            return Err(self.unexpected("`,` or `}`", None));
        }
        self.next();
        self.joined -= 1;
        Ok(ConditionSyntax::InSet(subject, At::new(members, Span::new(open.start, self.end))))
    }

    fn member(&mut self) -> Parse<At<Term>> {
        if !matches!(self.peek().kind, TokenKind::Integer(_) | TokenKind::Text(_)) {
            let help = "the members of a set are integers or texts: `{1, 2}`, `{\"a\", \"b\"}`";
            return Err(self.unexpected("an integer or a text", Some(help)));
        }
        self.term("an integer or a text")
    }

    fn term(&mut self, expected: &str) -> Parse<At<Term>> {
        let span = self.peek_span();
        let term = match self.peek().kind.clone() {
            TokenKind::Integer(integer) => Term::Integer(integer),
            TokenKind::Text(text) => Term::Text(text),
            TokenKind::Word => match self.slice(span) {
                "new" => return self.value(Value::New),
                "old" => return self.value(Value::Old),
                "count" => return self.count(),
                "pos" => Term::Pos,
                "uid" => Term::Uid,
                "gid" => Term::Gid,
                "comm" => Term::Comm,
                word => return Err(self.unknown_operand(word)),
            },
            _ => {
                let help = "operands are `new`, `old`, `comm`, `pos`, `uid`, `gid`, `new[0]`, `count(new)` and literals";
                return Err(self.unexpected(expected, Some(help)));
            }
        };
        self.next();
        Ok(At::new(term, span))
    }

    fn unknown_operand(&mut self, word: &str) -> Reported {
        let span = self.peek_span();
        let error = Diagnostic::error("unknown-operand", span, format!("there is no operand `{word}`"));
        let foreign = match word {
            "value" | "val" | "this" => Some("new"),
            "current" | "cur" | "previous" => Some("old"),
            "len" | "length" | "size" => Some("count"),
            "user" => Some("uid"),
            "group" => Some("gid"),
            "offset" | "position" => Some("pos"),
            "process" | "command" | "name" | "task" => Some("comm"),
            _ => None,
        };
        let error = if let Some(near) = foreign.or_else(|| nearest(word, OPERANDS.iter().copied())) {
            error.help(format!("did you mean `{near}`?")).suggest(span, near)
        } else if self.text[span.end..].starts_with(['.', '/']) {
            error.help("a condition looks at the values of the knob that is accessed, `new` and `old`, and not at other knobs")
        } else {
            error.help("operands are `new`, `old`, `comm`, `pos`, `uid`, `gid`, `new[0]`, `count(new)` and literals; texts stand in quotes")
        };
        self.report(error)
    }

    /// `new` or `new[i]`
    fn value(&mut self, value: Value) -> Parse<At<Term>> {
        let start = self.next().span;
        if !self.peek_mark(Mark::BracketOpen) {
            return Ok(At::new(Term::Value(value), start));
        }
        self.next();
        self.joined += 1;
        let index = self.integer("the index of an element", Some("elements count from 0: `new[0]`"))?;
        if !self.peek_mark(Mark::BracketClose) {
            return Err(self.unexpected("`]`", None));
        }
        self.next();
        self.joined -= 1;
        Ok(At::new(Term::Element(value, index), Span::new(start.start, self.end)))
    }

    /// `count(new)`
    fn count(&mut self) -> Parse<At<Term>> {
        let start = self.next().span;
        if !self.peek_mark(Mark::ParenOpen) {
            return Err(self.unexpected("`(`", Some("write `count(new)` or `count(old)`")));
        }
        self.next();
        self.joined += 1;
        let value = match self.choice(&["new", "old"], "`new` or `old`")? {
            "new" => Value::New,
            _ => Value::Old,
        };
        if !self.peek_mark(Mark::ParenClose) {
            return Err(self.unexpected("`)`", None));
        }
        self.next();
        self.joined -= 1;
        Ok(At::new(Term::Count(value), Span::new(start.start, self.end)))
    }
}

/// The only one, or all of them as one condition.
fn joined(
    mut terms: Vec<At<ConditionSyntax>>,
    condition: impl FnOnce(Vec<At<ConditionSyntax>>) -> ConditionSyntax,
) -> At<ConditionSyntax> {
    match (terms.pop(), terms.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            terms.extend(last);
            let span = terms[0].span.to(terms[terms.len() - 1].span);
            At::new(condition(terms), span)
        }
    }
}
