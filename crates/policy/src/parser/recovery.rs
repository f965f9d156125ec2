//! Reporting errors, and continuing after them.

use super::{ERRORS_MAX, Parser, Reported, STATEMENTS};
use crate::lexer::{Punct, Token, TokenKind};
use crate::{Diagnostic, Span};

impl Parser<'_> {
    pub(super) fn report(&mut self, error: Diagnostic) -> Reported {
        if self.parsed.errors.len() < ERRORS_MAX {
            self.parsed.errors.push(error);
        } else if !self.stopped {
            let message = format!("there are more than {ERRORS_MAX} errors");
            self.parsed.errors.push(
                Diagnostic::error("too-many-errors", error.primary.span, message)
                    .label("the rest is not checked"),
            );
            self.stopped = true;
        }
        Reported
    }

    /// Reports that the next token is not the expected one.
    pub(super) fn unexpected(&mut self, expected: &str, help: Option<&str>) -> Reported {
        if let Some(problem) = self.peek().problem.clone() {
            return self.report(*problem);
        }
        let Token { kind, mut span, .. } = self.peek().clone();
        if matches!(kind, TokenKind::Newline | TokenKind::End) {
            // Point after the last token, not at the next line.
            span = Span::new(self.end.min(span.start), self.end.min(span.start));
        }
        let found = match &kind {
            TokenKind::Newline => "the end of the line".to_owned(),
            TokenKind::End => format!("the end of the {}", self.what),
            TokenKind::Text(_) => "a text".to_owned(),
            TokenKind::Stray(c) if c.is_control() || c.is_whitespace() => {
                format!("the character U+{:04X}", u32::from(*c))
            }
            _ => format!("`{}`", self.slice(span)),
        };
        let message = format!("expected {expected}, found {found}");
        let mut error = Diagnostic::error("unexpected", span, message).label(format!("expected {expected}"));
        let own = match kind {
            TokenKind::Punct(Punct::Semicolon) => Some(self.scheme.semicolon),
            TokenKind::Punct(Punct::Slash) if self.slice(Span::new(span.start, span.end + 1)) == "//" => {
                Some("a comment begins with `#`")
            }
            TokenKind::Stray('“' | '”' | '„') => {
                Some("texts are written between straight double quotes")
            }
            TokenKind::Stray('\u{a0}') => Some("this is a no-break space; use a plain one"),
            TokenKind::Stray('\r') => Some("lines end with LF or CRLF; this carriage return has no LF"),
            TokenKind::Stray('\0') => Some("is this a text file?"),
            _ => None,
        };
        // If something is missing before the token, dropping the token does not fix the line.
        let ends = expected.contains("the end of the line") || expected == "a statement";
        let is_end = matches!(kind, TokenKind::Punct(Punct::Semicolon | Punct::Slash));
        if let Some((span, replacement)) = self.plain(&kind, span).filter(|_| ends || !is_end) {
            error = error.suggest(span, replacement);
        }
        if let Some(help) = own.or(help) {
            error = error.help(help);
        }
        self.report(error)
    }

    /// What `kind`, which is at `span` and has no meaning, is written as here.
    fn plain(&self, kind: &TokenKind, span: Span) -> Option<(Span, String)> {
        let line = self.text[span.end..].lines().next().unwrap_or_default();
        let replace = |length: usize, replacement: &str| {
            Some((Span::new(span.start, span.end + length), replacement.to_owned()))
        };
        match kind {
            TokenKind::Punct(Punct::Semicolon) if without_comment(line).trim().is_empty() => replace(0, ""),
            TokenKind::Punct(Punct::Semicolon) => {
                let blanks = line.len() - line.trim_start().len();
                if self.begins_statement(span.end + blanks) { replace(blanks, "\n") } else { replace(0, "#") }
            }
            TokenKind::Punct(Punct::Slash) if line.starts_with('/') => replace(1, "#"),
            TokenKind::Stray('\u{a0}') => replace(0, " "),
            TokenKind::Stray('“' | '”' | '„') => {
                let length = line.find(['“', '”'])?;
                let text = crate::Text::from(&line[..length]).to_string();
                let quote = line[length..].chars().next().map_or(0, char::len_utf8);
                replace(length + quote, &text)
            }
            _ => None,
        }
    }

    /// Skips to where the next statement may begin: after the wrong line, and after all lines of the statement.
    pub(super) fn recover(&mut self) {
        let in_brackets = std::mem::take(&mut self.joined) > 0;
        let mut at = match self.peeked.take() {
            Some(token) => token.span.start,
            None => self.lexer.at(),
        };
        loop {
            let line = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
            let fresh = self.text[line..at].trim().is_empty() && line > self.statement;
            if fresh && self.begins_statement(at) {
                break;
            }
            let Some(length) = self.text[at..].find('\n') else {
                at = self.text.len();
                break;
            };
            let before = without_comment(&self.text[line..at + length]).trim_end();
            let goes_on = before.ends_with(',') || before.ends_with(" and") || before.ends_with(" or");
            at += length + 1;
            if !in_brackets && !goes_on {
                break;
            }
            at += self.text[at..].len() - self.text[at..].trim_start_matches([' ', '\t']).len();
        }
        self.lexer.go_to(at);
    }

    pub(super) fn begins_statement(&self, at: usize) -> bool {
        let rest = &self.text[at..];
        let word =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(rest, |end| &rest[..end]);
        STATEMENTS.contains(&word)
            || (self.in_test && (matches!(word, "read" | "write") || rest.starts_with('}')))
    }
}

/// `line` up to a `#` that is not in a text.
fn without_comment(line: &str) -> &str {
    let mut in_text = false;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_text = !in_text,
            '#' if !in_text => return &line[..at],
            _ => {}
        }
    }
    line
}
