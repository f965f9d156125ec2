//! Rules in notations of other languages.

use crate::did_you_mean::did_you_mean;
use crate::lexer::{Punct, TokenKind};
use crate::parser::rule::CLAUSES;
use crate::parser::{ACTIONS, Parse, Parser, Reported};
use crate::syntax::{ConditionSyntax, Spanned};
use crate::{Diagnostic, Kinds, KnobPattern, Span};

impl Parser<'_> {
    pub(in crate::parser) fn missing_kinds(&mut self, action: &str) -> Reported {
        let span = self.peek_span();
        if self.peek().kind == TokenKind::Word {
            let word = self.slice(span);
            let whole = !self.text[span.end..].starts_with(['.', '/', '*', '{', '[']);
            let foreign = match word {
                "rw" | "wr" | "any" | "all" | "both" | "readwrite" | "read_write" => Some("read write"),
                "r" | "reads" => Some("read"),
                "w" | "writes" => Some("write"),
                _ => None,
            };
            if let Some(near) = foreign.or_else(|| did_you_mean(word, ["read", "write"])).filter(|_| whole) {
                let error =
                    Diagnostic::error("unknown-kind", span, format!("there is no kind of access `{word}`"))
                        .help(format!("did you mean `{near}`?"))
                        .suggest(span, near);
                return self.report(error);
            }
            if matches!(action, "set" | "clamp" | "ignore") && Self::looks_like_name(self.name_ahead()) {
                let message = format!("expected `write`, found `{word}`");
                let error = Diagnostic::error("missing-kind", span, message)
                    .help(format!("write `{action} write …`"))
                    .suggest(Span::new(span.start, span.start), "write ");
                return self.report(error);
            }
        }
        let help = format!(
            "state the kind of access: `{action} read …`, `{action} write …` or `{action} read write …`"
        );
        self.unexpected("`read` or `write`", Some(&help))
    }

    /// The text from `start` to the brace that closes the first one, without blanks.
    pub(in crate::parser) fn without_blanks(&self, start: usize) -> Option<(Span, String)> {
        let line = self.text[start..].lines().next()?;
        let mut open = 0usize;
        let mut end = None;
        for (at, c) in line.char_indices() {
            match c {
                '{' => open += 1,
                '}' if open == 1 => {
                    end = Some(at + 1);
                    break;
                }
                '}' => open = open.checked_sub(1)?,
                '\\' | '#' => return None,
                _ => {}
            }
        }
        let pattern = &line[..end?];
        let without = pattern.replace([' ', '\t'], "");
        KnobPattern::parse(&without).ok()?;
        Some((Span::new(start, start + pattern.len()), without))
    }

    pub(in crate::parser) fn no_pattern(&mut self, action: &str, comma: Option<Span>) -> Reported {
        if let TokenKind::Text(text) = self.peek().kind.clone() {
            let span = self.peek_span();
            let error = Diagnostic::error("quoted-pattern", span, "names are written without quotes");
            let error = match KnobPattern::parse(text.as_bytes()) {
                Ok(_) => {
                    error.help("drop the quotes").suggest(span, String::from_utf8_lossy(text.as_bytes()))
                }
                Err(_) => error,
            };
            return self.report(error);
        }
        let help = match comma {
            Some(_) => "drop the comma, or add a pattern".to_owned(),
            None if ACTIONS.contains(&action) => {
                format!("such as `{action} write net.core.*`, or `**` for every knob")
            }
            None => format!("such as `{action} net.core.*`"),
        };
        self.unexpected("a pattern for the names of knobs", Some(&help))
    }

    /// Checks that the next token can follow a pattern.
    pub(in crate::parser) fn check_after_pattern(
        &mut self,
        before: Span,
        action: &str,
        kinds: Kinds,
    ) -> Parse<()> {
        let next = self.peek().clone();
        let end = Span::new(before.end, before.end);
        // Nothing follows the patterns of a width.
        if matches!(next.kind, TokenKind::Newline | TokenKind::End) || !ACTIONS.contains(&action) {
            return Ok(());
        }
        self.no_errno_here()?;
        let word = self.slice(next.span);
        let takes_value = matches!(action, "set" | "clamp");
        if !takes_value && self.relation_ahead() {
            let value = if kinds == Kinds::Read { "old" } else { "new" };
            let message = format!("`{word}` after the names of knobs");
            let error = Diagnostic::error("missing-if", next.span, message)
                .help(format!("a condition is written `if {value} {word} …`"))
                .suggest(Span::new(before.end, next.span.start), format!(" if {value} "));
            return Err(self.report(error));
        }
        if next.span.start == before.end || CLAUSES.contains(&word) {
            return Ok(());
        }
        if takes_value && self.value_ahead().is_some() {
            return Ok(());
        }
        let mut ahead = self.ahead();
        ahead.token();
        ahead.skip_blanks();
        let following = self.slice(ahead.name().span);
        let joins = matches!(next.kind, TokenKind::Word) && matches!(word, "and" | "or")
            || matches!(
                next.kind,
                TokenKind::Stray('|' | '+')
                    | TokenKind::Punct(Punct::Ampersand | Punct::DoubleAnd | Punct::DoubleOr)
            );
        if joins && Self::looks_like_name(following) {
            let message = format!("`{word}` between two patterns");
            let error = Diagnostic::error("missing-comma", next.span, message)
                .help("separate patterns with commas")
                .suggest(Span::new(before.end, next.span.end), ",");
            return Err(self.report(error));
        }
        if next.kind == TokenKind::Word && self.is_whole(next.span) {
            if word == "unless" {
                return Err(self.unless());
            }
            let foreign = match word {
                "when" | "where" | "iff" | "with" => Some("if"),
                "logged" => Some("log"),
                _ => None,
            };
            let near = foreign.or_else(|| did_you_mean(word, CLAUSES.iter().copied()));
            // Only an operand can follow `if`.
            if let Some(near) = near.filter(|&near| near != "if" || self.operand_follows()) {
                let message = format!("`{word}` after the names of knobs");
                let error = Diagnostic::error("unknown-word", next.span, message)
                    .help(format!("did you mean `{near}`?"))
                    .suggest(next.span, near);
                return Err(self.report(error));
            }
        }
        if Self::looks_like_name(self.name_ahead()) && Self::looks_like_name(self.slice(before)) {
            let error =
                Diagnostic::error("missing-comma", next.span, "there is no comma between two patterns")
                    .help("separate patterns with commas")
                    .suggest(end, ",");
            return Err(self.report(error));
        }
        Ok(())
    }

    /// `unless …`, which comes next; the fix is `if not …`.
    fn unless(&mut self) -> Reported {
        let word = self.next().span;
        let condition = match self.condition() {
            Ok(condition) => condition,
            Err(reported) => return reported,
        };
        let text = self.slice(condition.span);
        let negated = match condition.node {
            ConditionSyntax::All(_) | ConditionSyntax::Any(_) => format!("if not ({text})"),
            _ => format!("if not {text}"),
        };
        let error = Diagnostic::error("no-unless", word, "`unless` after the names of knobs")
            .help("write `if not …`")
            .suggest(word.to(condition.span), negated);
        self.report(error)
    }

    /// `else allow`, which comes next; the fix is a second rule.
    pub(in crate::parser) fn no_else(&mut self, kinds: Kinds, patterns: &[Spanned<KnobPattern>]) -> Reported {
        let before = self.end;
        let word = self.next().span;
        let error = Diagnostic::error("no-else", word, "a rule has no `else`")
            .help("the first rule that matches decides: a second one for the same names decides the rest");
        if !(self.peek_foreign("allow") || self.peek_foreign("deny")) {
            return self.report(error);
        }
        let start = self.next().span.start;
        if self.slice(Span::new(start, self.end)) == "deny" && self.errno_in_parens().is_err() {
            return Reported;
        }
        let action = self.slice(Span::new(start, self.end));
        let names = patterns.iter().map(|pattern| self.slice(pattern.span)).collect::<Vec<_>>().join(", ");
        let rule = format!("\n{action} {kinds} {names}");
        self.report(error.suggest(Span::new(before, self.end), rule))
    }

    /// If the value of a `set` or `clamp` comes next without `to`: the place for `to`, which may be empty.
    fn value_ahead(&mut self) -> Option<Span> {
        let start = self.peek_span().start;
        let mut ahead = self.ahead();
        let token = ahead.token();
        let replaced = match token.kind {
            TokenKind::Integer(_)
            | TokenKind::Text(_)
            | TokenKind::Punct(Punct::Range | Punct::BracketOpen) => false,
            TokenKind::Punct(Punct::Assign | Punct::Equal | Punct::Arrow | Punct::ThinArrow)
            | TokenKind::Stray(':') => true,
            TokenKind::Word => match self.slice(token.span) {
                "between" => false,
                "in" | "as" | "is" | "within" | "with" => true,
                _ => return None,
            },
            _ => return None,
        };
        ahead.skip_blanks();
        Some(Span::new(start, if replaced { ahead.at() } else { start }))
    }

    pub(in crate::parser) fn missing_to(&mut self, expected: &str, help: &str) -> Reported {
        let span = self.peek_span();
        if let Some(place) = self.value_ahead() {
            let message = format!("expected {expected}, found `{}`", self.slice(span));
            let error = Diagnostic::error("missing-to", span, message)
                .help(help)
                .suggest(Span::new(self.end, place.end), " to ");
            return self.report(error);
        }
        if self.peek_foreign("if")
            && let Some(error) = self.late_to()
        {
            return self.report(error);
        }
        self.unexpected(expected, Some(help))
    }

    /// `if … to …`, where `to` belongs before `if`.
    fn late_to(&mut self) -> Option<Diagnostic> {
        let start = self.next().span.start;
        self.condition().ok()?;
        let condition = self.slice(Span::new(start, self.end));
        if !self.peek_foreign("to") {
            return None;
        }
        let to = self.next().span;
        match self.peek().kind {
            TokenKind::Text(_) => self.skip(),
            _ => drop(self.clamp_ranges().ok()?),
        }
        let value = self.slice(Span::new(to.start, self.end));
        let error = Diagnostic::error("misplaced-clause", to, "`to` comes too late")
            .help("the order is: names of knobs, `to`, `if`, `log` or `nolog`")
            .suggest(Span::new(start, self.end), format!("{value} {condition}"));
        Some(error)
    }

    /// `log if …`, after `log`, which is at `log` and belongs after the condition.
    pub(in crate::parser) fn late_if(&mut self, log: Span) -> Reported {
        let word = self.next().span;
        if self.condition().is_err() {
            return Reported;
        }
        let condition = self.slice(Span::new(word.start, self.end));
        let error = Diagnostic::error("misplaced-clause", word, "`if` comes too late")
            .help("the order is: names of knobs, `to`, `if`, `log` or `nolog`")
            .suggest(Span::new(log.start, self.end), format!("{condition} {}", self.slice(log)));
        self.report(error)
    }

    /// `1,000,000`, after the first digits, and the same number in our notation.
    pub(in crate::parser) fn grouped_digits(&self) -> Option<(Span, String)> {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let before = &self.text[..self.end];
        let start = before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let mut end = self.end;
        while let Some(group) = self.text[end..].strip_prefix(',')
            && digits(group) == 3
        {
            end += 4;
        }
        let fits = (1..=3).contains(&(self.end - start)) && end > self.end;
        fits.then(|| (Span::new(start, end), self.text[start..end].replace(',', "_")))
    }
}
