//! `apply if CONDITION`, and `label("KEY")`, which only selectors have.

use super::{Parse, Parser, Reported};
use crate::lexer::{Punct, TokenKind};
use crate::scheme::SELECTORS;
use crate::syntax::{ConditionSyntax, SelectorSyntax, Spanned, Term};
use crate::{Diagnostic, Span};

/// Parses `text`, which is what comes after `apply if`. There is no condition after an error in the grammar.
pub(crate) fn parse_selector(text: &str) -> (Option<Spanned<ConditionSyntax>>, Vec<Diagnostic>) {
    // The end of a line ends nothing.
    let mut parser = Parser { joined: 1, ..Parser::new(text, &SELECTORS) };
    let condition = parser.selector_alone().ok();
    (condition, parser.parsed.errors)
}

impl Parser<'_> {
    /// `apply if CONDITION`
    pub(super) fn apply(&mut self) -> Parse<()> {
        let keyword = self.next().span;
        let condition = self.within_apply(keyword)?;
        if !matches!(self.peek().kind, TokenKind::Newline | TokenKind::End) {
            return Err(self.no_connective("`and`, `or` or the end of the line"));
        }
        let span = Span::new(keyword.start, self.end);
        self.parsed.apply_if.push(SelectorSyntax { condition, span });
        Ok(())
    }

    /// What comes after `apply`, which is at `keyword`.
    fn within_apply(&mut self, keyword: Span) -> Parse<Spanned<ConditionSyntax>> {
        if self.peek_word("if") {
            self.next();
            self.skip_separators();
        } else {
            let span = self.peek_span();
            let word = self.slice(span);
            let place = Span::new(keyword.end, keyword.end);
            if matches!(word, "when" | "where" | "to" | "IF" | "If") {
                let error = Diagnostic::error("apply-without-if", span, format!("`{word}` after `apply`"));
                return Err(self.report(error.help("write `apply if …`").suggest(span, "if")));
            }
            if SELECTORS.is_operand(word) || matches!(word, "not" | "(") {
                let error = Diagnostic::error("apply-without-if", span, "`apply` without `if`");
                return Err(self.report(error.help("write `apply if …`").suggest(place, " if")));
            }
            return Err(self.unexpected("`if`", Some("such as `apply if namespace == \"prod\"`")));
        }
        let rules = std::mem::replace(&mut self.scheme, &SELECTORS);
        let condition = self.condition();
        self.scheme = rules;
        condition
    }

    fn selector_alone(&mut self) -> Parse<Spanned<ConditionSyntax>> {
        let start = self.peek_span();
        if self.peek().kind == TokenKind::End {
            let error = Diagnostic::error("empty-selector", start, "the selector is empty");
            return Err(self.report(error.help("such as `namespace == \"prod\"`")));
        }
        if self.peek_foreign("apply") || self.peek_foreign("if") {
            while self.peek_foreign("apply") || self.peek_foreign("if") {
                self.next();
            }
            let error =
                Diagnostic::error("stray-word", start, "only what comes after `apply if` is written here")
                    .help(format!("drop the `{}`", self.slice(Span::new(start.start, self.end))))
                    .suggest(Span::new(start.start, self.peek_span().start), "");
            return Err(self.report(error));
        }
        let condition = self.condition()?;
        match self.peek().kind {
            TokenKind::End => Ok(condition),
            _ => Err(self.no_connective("`and`, `or` or the end of the selector")),
        }
    }

    /// `label("KEY")`
    pub(super) fn label(&mut self) -> Parse<Spanned<Term>> {
        let start = self.next().span;
        if !self.peek_punct(Punct::ParenOpen) {
            return Err(self.no_key(start));
        }
        self.next();
        self.joined += 1;
        let key = self.text("the key of the label", Some("such as `label(\"app\")`"))?;
        if !self.peek_punct(Punct::ParenClose) {
            return Err(self.unexpected("`)`", None));
        }
        self.next();
        self.joined -= 1;
        Ok(Spanned::new(Term::Label(key.node), Span::new(start.start, self.end)))
    }

    /// Reports that `label`, which is at `word`, is not followed by a key in parentheses.
    fn no_key(&mut self, word: Span) -> Reported {
        let help = "the key goes in parentheses: `label(\"app\")`";
        let mut ahead = self.ahead();
        let (open, key, close) = (ahead.token(), ahead.token(), ahead.token());
        let key = match (&open.kind, &key.kind, &close.kind) {
            (TokenKind::Text(key), ..) => Some((open.span, key)),
            (
                TokenKind::Punct(Punct::BracketOpen),
                TokenKind::Text(key),
                TokenKind::Punct(Punct::BracketClose),
            ) => Some((Span::new(open.span.start, close.span.end), key)),
            _ => None,
        };
        let Some((span, key)) = key else { return self.unexpected("`(`", Some(help)) };
        let error = Diagnostic::error("label-without-key", span, "the key of a label goes in parentheses");
        self.report(
            error
                .help(format!("write `label({key})`"))
                .suggest(Span::new(word.end, span.end), format!("({key})")),
        )
    }
}
