//! `apply if CONDITION`

use super::{Parse, Parser};
use crate::lexer::TokenKind;
use crate::scheme::SELECTORS;
use crate::syntax::{ConditionSyntax, SelectorSyntax, Spanned};
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
        if self.peek_word("apply") || self.peek_word("if") {
            while self.peek_word("apply") || self.peek_word("if") {
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
}
