//! The parser's position in its text: looking at the next token, and using it.

use super::Parser;
use crate::Span;
use crate::lexer::{Lexer, Punct, Token, TokenKind};

impl<'a> Parser<'a> {
    pub(super) fn peek(&mut self) -> &Token {
        let (lexer, joined) = (&mut self.lexer, self.joined);
        self.peeked.get_or_insert_with(|| {
            loop {
                let token = lexer.token();
                if joined == 0 || token.kind != TokenKind::Newline {
                    return token;
                }
            }
        })
    }

    pub(super) fn peek_span(&mut self) -> Span {
        self.peek().span
    }

    pub(super) fn peek_slice(&mut self) -> &'a str {
        let span = self.peek_span();
        self.slice(span)
    }

    pub(super) fn peek_punct(&mut self, punct: Punct) -> bool {
        self.peek().kind == TokenKind::Punct(punct)
    }

    /// Whether the next token is this word of the language, which may come here.
    pub(super) fn peek_word(&mut self, word: &'static str) -> bool {
        self.expect_words(&[word]);
        self.peek_foreign(word)
    }

    /// Whether the next token is this word, which is wrong here.
    pub(super) fn peek_foreign(&mut self, word: &str) -> bool {
        let span = self.peek_span();
        self.peek().kind == TokenKind::Word && self.slice(span) == word
    }

    /// Uses the next token.
    pub(super) fn next(&mut self) -> Token {
        self.peek();
        match self.peeked.take() {
            Some(token) => self.used(token),
            None => self.lexer.token(),
        }
    }

    pub(super) fn skip(&mut self) {
        self.next();
    }

    /// Uses the next name, which may be empty.
    pub(super) fn next_name(&mut self) -> Token {
        self.next_as_name(Lexer::name)
    }

    /// Uses the next name in a set, which may be empty.
    pub(super) fn next_name_in_set(&mut self) -> Token {
        self.next_as_name(Lexer::name_in_set)
    }

    fn next_as_name(&mut self, name: impl FnOnce(&mut Lexer<'a>) -> Token) -> Token {
        if let Some(peeked) = self.peeked.take() {
            self.lexer.go_to(peeked.span.start);
        }
        let token = name(&mut self.lexer);
        if token.span.is_empty() { token } else { self.used(token) }
    }

    pub(super) fn used(&mut self, mut token: Token) -> Token {
        if token.kind != TokenKind::Newline {
            self.end = token.span.end;
        }
        if let Some(candidates) = &mut self.candidates {
            let can_go_on = matches!(token.kind, TokenKind::Punct(_) | TokenKind::Newline);
            candidates.is_complete |= token.span.end == self.text.len() && !can_go_on;
        }
        if let Some(problem) = token.problem.take() {
            self.report(*problem);
        }
        if self.keep_tokens {
            self.parsed.tokens.push(token.clone());
        }
        token
    }

    /// Skips the ends of lines where they are ignored.
    pub(super) fn skip_newlines(&mut self) {
        while self.peek().kind == TokenKind::Newline {
            self.peeked.take();
        }
    }

    pub(super) fn slice(&self, span: Span) -> &'a str {
        self.text.get(span.range()).unwrap_or_default()
    }
}
