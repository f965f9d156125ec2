//! What may come at the end of an unfinished text, for completion.
//!
//! The parser notes it wherever it looks at a token: a word that it would take there may come there. So a new word of the language
//! is a candidate as soon as the parser knows it.

use super::{Parser, STATEMENTS, test_block};
use crate::Span;
use crate::editor::Candidate;
use crate::lexer::{Token, TokenKind};
use crate::scheme::WordField;

/// What may come at the end of the text.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// In the order in which the parser looked for them.
    all: Vec<Candidate>,
    /// Where the word or name begins that the text ends with.
    start: usize,
    /// Whether the token at the end has been used, so that something else would have to follow it.
    pub(super) is_complete: bool,
}

impl Parser<'_> {
    /// Notes that `candidate` may come next.
    pub(super) fn expect(&mut self, candidate: Candidate) {
        if self.candidates.as_ref().is_none_or(|candidates| candidates.is_complete) {
            return;
        }
        let span = self.peek_span();
        let at_end = match self.peek().kind {
            TokenKind::End => true,
            TokenKind::Word => span.end == self.text.len(),
            _ => false,
        };
        if at_end {
            self.note(candidate, span.start);
        }
    }

    pub(super) fn expect_words(&mut self, words: &[&'static str]) {
        for word in words {
            self.expect(Candidate::Word(word));
        }
    }

    /// Notes the operands that conditions can have here.
    pub(super) fn expect_operands(&mut self) {
        let scheme = self.scheme;
        for word in scheme.operand_words() {
            self.expect(Candidate::Word(word));
        }
    }

    pub(super) fn expect_words_of(&mut self, field: WordField) {
        for (word, _) in field.words() {
            self.expect(Candidate::Word(word));
        }
    }

    /// Notes that a statement may come next, if its line is blank so far.
    pub(super) fn expect_statement(&mut self) {
        if self.candidates.is_some() && self.line_begins() {
            let has_header = self.parsed.header.is_some();
            for word in STATEMENTS.iter().filter(|word| !has_header || **word != "policy") {
                self.expect(Candidate::Word(word));
            }
        }
    }

    /// Notes that a step of a test may come next, if its line is blank so far or has the `{` of the test.
    pub(super) fn expect_step(&mut self) {
        if self.candidates.is_some() && (self.line_begins() || self.follows_brace()) {
            self.expect_words(test_block::STEPS);
        }
        // The parser leaves the test here, and what may come after it does not come.
        let is_end = self.peek().kind == TokenKind::End;
        if let Some(candidates) = &mut self.candidates {
            candidates.is_complete |= is_end;
        }
    }

    /// Notes what a step may state that it does not yet.
    pub(super) fn expect_properties(&mut self, seen: &[&str]) {
        for word in test_block::PROPERTIES.iter().filter(|word| !seen.contains(word)) {
            self.expect(Candidate::Word(word));
        }
    }

    /// The kind of the next token, where an errno may be left out.
    pub(super) fn peek_for_errno(&mut self) -> TokenKind {
        self.expect(Candidate::Errno);
        self.peek().kind.clone()
    }

    /// Notes that `candidate` may be in the text between quotes that comes next and is not closed yet.
    pub(super) fn expect_in_text(&mut self, candidate: Candidate) {
        let Token { kind, span, problem } = self.peek().clone();
        let is_open = problem.is_some_and(|problem| problem.code == "unclosed-text");
        if matches!(kind, TokenKind::Text(_)) && is_open && span.end == self.text.len() {
            self.note(candidate, span.start + 1);
        }
    }

    /// Uses the next name, which may be empty and for which there are candidates.
    pub(super) fn next_candidate(&mut self, candidate: Candidate) -> Token {
        let is_complete = self.candidates.as_ref().is_none_or(|candidates| candidates.is_complete);
        let token = self.next_name();
        if !is_complete && token.span.end == self.text.len() {
            self.note(candidate, token.span.start);
        }
        token
    }

    fn note(&mut self, candidate: Candidate, start: usize) {
        if let Some(candidates) = &mut self.candidates {
            candidates.start = start;
            if !candidates.all.contains(&candidate) {
                candidates.all.push(candidate);
            }
        }
    }

    /// Whether the next token is the first one on its line.
    fn line_begins(&mut self) -> bool {
        let start = self.peek_span().start;
        let line = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        self.text[line..start].trim_start_matches('\u{feff}').trim().is_empty()
    }

    /// Whether the next token is the first one after a `{`.
    fn follows_brace(&mut self) -> bool {
        let start = self.peek_span().start;
        self.text[..start].trim_end_matches([' ', '\t']).ends_with('{')
    }

    /// Where what may come at the end of the text begins, and what it may be. Nothing may come in a comment.
    pub(super) fn into_candidates(mut self) -> (usize, Vec<Candidate>) {
        let Some(Candidates { all, start, .. }) = self.candidates.take() else {
            return (self.text.len(), Vec::new());
        };
        let line = self.text.rfind('\n').map_or(0, |newline| newline + 1);
        let gap = Span::new(self.end.max(line).min(start), start);
        let in_comment = self.slice(gap).contains('#');
        if in_comment || all.is_empty() { (self.text.len(), Vec::new()) } else { (start, all) }
    }
}
