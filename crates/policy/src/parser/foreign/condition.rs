//! Conditions in notations of other languages.

use crate::did_you_mean::did_you_mean;
use crate::filter::IntegerField;
use crate::lexer::{Punct, TokenKind};
use crate::parser::condition::PREDICATES;
use crate::parser::{Parse, Parser};
use crate::syntax::{ConditionSyntax, Spanned, Term};
use crate::{Diagnostic, Relation, Span, Text};

/// Words for predicates and relations in other languages.
pub(in crate::parser) const FOREIGN_PREDICATES: &[(&str, &str)] = &[
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
    ("within", "in"),
];

/// Words for numbers.
const FOREIGN_NUMBERS: &[(&str, &str)] =
    &[("true", "1"), ("yes", "1"), ("on", "1"), ("false", "0"), ("no", "0"), ("off", "0")];

impl Parser<'_> {
    /// The right operand of a comparison.
    pub(in crate::parser) fn right_term(&mut self, left: &Term) -> Parse<Spanned<Term>> {
        let span = self.peek_span();
        let word = self.slice(span);
        let is_text = matches!(left, Term::TextField(_) | Term::Name(_) | Term::Label(_));
        if is_text
            && matches!(self.peek().kind, TokenKind::Punct(Punct::Slash) | TokenKind::Stray('*'))
            && let Some((span, quoted)) = self.quoted_ahead()
        {
            let error = Diagnostic::error("unquoted-text", span, "texts are written between double quotes")
                .help(format!("write `{quoted}`"))
                .suggest(span, quoted);
            return Err(self.report(error));
        }
        if self.peek().kind != TokenKind::Word || self.scheme.is_operand(word) {
            return self.term("an operand");
        }
        let number = FOREIGN_NUMBERS.iter().find(|(foreign, _)| foreign.eq_ignore_ascii_case(word));
        let is_value =
            matches!(left, Term::Value(_)) && did_you_mean(word, self.scheme.operand_words()).is_none();
        let is_id = matches!(left, Term::IntegerField(IntegerField::Uid | IntegerField::Gid));
        let (span, replacement) = match number.filter(|_| !is_text) {
            Some((_, number)) => (span, (*number).to_owned()),
            None if is_id && word == "root" => (span, "0".to_owned()),
            None if is_text || is_value => match self.quoted_ahead() {
                Some(quoted) => quoted,
                None => return self.term("an operand"),
            },
            None => return self.term("an operand"),
        };
        let message = format!("there is no operand `{}`", self.slice(span));
        let error = Diagnostic::error("unknown-operand", span, message)
            .help(format!("write `{replacement}`"))
            .suggest(span, replacement);
        Err(self.report(error))
    }

    /// Whether a set or a range comes next.
    pub(in crate::parser) fn members_come_next(&mut self) -> bool {
        let mut ahead = self.ahead();
        let is_integer = matches!(ahead.token().kind, TokenKind::Integer(_));
        let is_range = is_integer && ahead.token().kind == TokenKind::Punct(Punct::Range);
        is_range || self.peek_punct(Punct::BraceOpen) || self.foreign_range().is_some()
    }

    /// `new == {1, 2}` and `new == 1..5`, after the operand and the relation.
    pub(in crate::parser) fn equal_members(
        &mut self,
        first: Spanned<Term>,
        relation: Spanned<Relation>,
    ) -> Parse<Spanned<ConditionSyntax>> {
        if !matches!(relation.node, Relation::Equal | Relation::NotEqual) {
            return Err(self.unexpected("an operand", Some("a relation compares two operands")));
        }
        self.report_equal_members(first.span, &relation);
        let start = first.span.start;
        let node = self.membership(first, relation.span)?;
        Ok(Spanned::new(node, Span::new(start, self.end)))
    }

    /// Reports `==` or `!=` before a set or a range; `operand` is what is compared.
    pub(in crate::parser) fn report_equal_members(&mut self, operand: Span, relation: &Spanned<Relation>) {
        let (span, replacement) = match relation.node {
            Relation::NotEqual => (operand.to(relation.span), format!("not {} in", self.slice(operand))),
            _ => (relation.span, self.apart(relation.span, "in")),
        };
        let error =
            Diagnostic::error("equal-members", relation.span, "a number is not equal to a set or a range")
                .help(format!("write `{}`", replacement.trim()))
                .suggest(span, replacement);
        self.report(error);
    }

    /// `word` as a replacement of `span`, with blanks to keep it apart from its neighbours.
    pub(in crate::parser) fn apart(&self, span: Span, word: &str) -> String {
        let blank = |touches: bool| if touches { " " } else { "" };
        let before = self.text[..span.start].ends_with(|c: char| !c.is_whitespace() && c != '(');
        let after = self.text[span.end..].starts_with(|c: char| !c.is_whitespace());
        format!("{}{word}{}", blank(before), blank(after))
    }

    /// Whether a relation, in any notation, or a predicate comes next.
    pub(in crate::parser) fn relation_ahead(&mut self) -> bool {
        let mut ahead = self.ahead();
        let span = ahead.token().span;
        let operand = ahead.token();
        let is_operand = matches!(
            operand.kind,
            TokenKind::Integer(_) | TokenKind::Text(_) | TokenKind::Word | TokenKind::Punct(Punct::BraceOpen)
        );
        let word = self.slice(span);
        let is_predicate = PREDICATES.contains(&word)
            || word == "between"
            || FOREIGN_PREDICATES.iter().any(|(foreign, _)| *foreign == word);
        is_operand && (self.relation_comes_next() || is_predicate && self.is_whole(span))
    }

    pub(in crate::parser) fn relation_comes_next(&mut self) -> bool {
        matches!(
            self.peek().kind,
            TokenKind::Stray('≤' | '≥' | '≠')
                | TokenKind::Punct(
                    Punct::Less
                        | Punct::LessOrEqual
                        | Punct::Equal
                        | Punct::NotEqual
                        | Punct::GreaterOrEqual
                        | Punct::Greater
                        | Punct::Assign
                        | Punct::Arrow
                        | Punct::TripleEqual
                        | Punct::EqualOrLess
                        | Punct::LessOrGreater
                )
        )
    }

    /// Whether a condition can begin after the next token.
    pub(in crate::parser) fn operand_follows(&mut self) -> bool {
        let mut ahead = self.ahead();
        ahead.token();
        let token = ahead.token();
        match token.kind {
            TokenKind::Integer(_) | TokenKind::Text(_) | TokenKind::Punct(Punct::ParenOpen | Punct::Bang) => {
                true
            }
            TokenKind::Word => {
                let word = self.slice(token.span);
                let operand = self.scheme.is_operand(word) || self.scheme.foreign(word).is_some();
                (operand || word == "not") && self.is_whole_operand(token.span)
            }
            _ => false,
        }
    }

    /// Whether the word at `span` is not just the beginning of a knob's name.
    fn is_whole_operand(&self, span: Span) -> bool {
        !self.text[span.end..].starts_with(['.', '/', '*'])
    }

    /// Reports a relation in another notation, which comes next.
    pub(in crate::parser) fn foreign_relation(&mut self, relation: Relation) -> Relation {
        let span = self.peek_span();
        let message = format!("`{}` is written `{relation}`", self.slice(span));
        let error = Diagnostic::error("foreign-operator", span, message)
            .help(format!("write `{relation}`"))
            .suggest(span, relation.to_string());
        self.report(error);
        relation
    }

    /// The error about `word`, which comes next instead of a predicate, if what follows shows what is meant.
    pub(in crate::parser) fn foreign_predicate(&mut self, word: &str) -> Option<Diagnostic> {
        let span = self.peek_span();
        let mut ahead = self.ahead();
        ahead.token();
        let next = ahead.token();
        let following = self.slice(next.span);
        let (span, replacement) = match (word, following) {
            ("between", _) => {
                let range = self.foreign_range()?;
                (range.span, format!("in {}", range.replacement))
            }
            ("is", "not") => (span.to(next.span), "!=".to_owned()),
            ("is", _) if PREDICATES.contains(&following) || following == "between" => {
                (Span::new(span.start, next.span.start), String::new())
            }
            ("equals" | "equal", "to") => (span.to(next.span), "==".to_owned()),
            ("begins" | "starting", "with") => (span, "starts".to_owned()),
            ("ends" | "ending", "with") => {
                let text = ahead.token();
                (span.to(text.span), ends_with(&text.kind)?)
            }
            ("endswith" | "ends_with", _) => (span.to(next.span), ends_with(&next.kind)?),
            ("like", _) => match &next.kind {
                // `%` and `_` are the wildcards of SQL.
                TokenKind::Text(text) if text.as_bytes().iter().any(|byte| matches!(byte, b'%' | b'_')) => {
                    let help = "write `matches`; in a glob, `*` is any text and `?` one byte";
                    let message = "expected a comparison, found `like`";
                    return Some(Diagnostic::error("unknown-word", span, message).help(help));
                }
                _ => return None,
            },
            _ => return None,
        };
        let message = format!("expected a comparison, found `{word}`");
        let help = match replacement.as_str() {
            "" => format!("drop `{word}`"),
            replacement => format!("write `{replacement}`"),
        };
        Some(Diagnostic::error("unknown-word", span, message).help(help).suggest(span, replacement))
    }

    /// The error about a set or a range in another notation; `in` is at `word`.
    pub(in crate::parser) fn foreign_members(&mut self, word: Span) -> Option<Diagnostic> {
        let mut ahead = self.ahead();
        let first = ahead.token();
        let is_literal = |kind: &TokenKind| matches!(kind, TokenKind::Integer(_) | TokenKind::Text(_));
        let (open, close) = match first.kind {
            TokenKind::Punct(Punct::ParenOpen) => (first.span, Some(Punct::ParenClose)),
            TokenKind::Punct(Punct::BracketOpen) => (first.span, Some(Punct::BracketClose)),
            TokenKind::Punct(Punct::BraceOpen) => return None,
            _ if is_literal(&first.kind) => {
                ahead.go_to(first.span.start);
                (Span::new(first.span.start, first.span.start), None)
            }
            _ => return None,
        };
        // `(1..5)`
        if close.is_some() {
            let mut inside = ahead.clone();
            let (low, dots, high, end) = (inside.token(), inside.token(), inside.token(), inside.token());
            let is_range = matches!(low.kind, TokenKind::Integer(_))
                && matches!(dots.kind, TokenKind::Punct(Punct::Range))
                && matches!(high.kind, TokenKind::Integer(_))
                && close.map(TokenKind::Punct) == Some(end.kind);
            if is_range {
                let range = self.slice(low.span.to(high.span));
                let span = open.to(end.span);
                let error = Diagnostic::error("foreign-range", span, "a range is written without brackets");
                return Some(error.help(format!("write `in {range}`")).suggest(span, range));
            }
        }
        let mut members = Vec::new();
        let mut end = open;
        loop {
            let member = ahead.token();
            if !is_literal(&member.kind) || member.problem.is_some() {
                return None;
            }
            members.push(self.slice(member.span));
            let next = ahead.clone().token();
            if next.kind == TokenKind::Punct(Punct::Comma) {
                ahead.token();
                continue;
            }
            end = match close {
                Some(close) if next.kind == TokenKind::Punct(close) => end.to(next.span),
                None if !matches!(
                    next.kind,
                    TokenKind::Punct(Punct::Range | Punct::RangeEqual | Punct::Ellipsis)
                ) =>
                {
                    end.to(member.span)
                }
                _ => return None,
            };
            break;
        }
        if close.is_none() && self.foreign_range().is_some() {
            return None;
        }
        let set = format!("{{{}}}", members.join(", "));
        let error = Diagnostic::error("foreign-set", end, "expected a range or a set");
        Some(match (&members[..], close) {
            ([one], None) => error
                .help(format!("compare with one number: `== {one}`"))
                .suggest(word.to(end), format!("== {one}")),
            // In mathematics, that is a range.
            ([_, _], Some(Punct::BracketClose)) => {
                error.help(format!("a set is written `{set}`, a range `1..2`"))
            }
            _ => error.help(format!("write `{set}`")).suggest(end, set),
        })
    }
}

/// `matches "*text"`, for a text that is not a pattern.
fn ends_with(text: &TokenKind) -> Option<String> {
    let TokenKind::Text(text) = text else { return None };
    let is_plain = !text.as_bytes().iter().any(|byte| b"*?[]{}\\".contains(byte));
    let glob = [b"*", text.as_bytes()].concat();
    is_plain.then(|| format!("matches {}", Text::from(&glob[..])))
}
