//! `include "FILE"` and `include preset "NAME@VERSION"`

use super::{Parse, Parser, Reported};
use crate::editor::Candidate;
use crate::lexer::TokenKind;
use crate::syntax::{IncludeSyntax, Included};
use crate::{Diagnostic, Span, Text};

impl Parser<'_> {
    pub(super) fn include(&mut self) -> Parse<()> {
        let before = self.parsed.errors.len();
        let keyword = self.next().span;
        let word = self.peek_span();
        let is_preset = self.peek_word("preset") && self.is_whole(word);
        let (expected, help) = if is_preset {
            self.next();
            ("the name of a preset", "such as `include preset \"docker-default@1\"`")
        } else {
            ("the path of a file", "such as `include \"common.knob\"`")
        };
        self.expect_in_text(if is_preset { Candidate::Preset } else { Candidate::File });
        match self.peek().kind {
            TokenKind::Text(_) => {}
            TokenKind::Newline | TokenKind::End => return Err(self.unexpected(expected, Some(help))),
            _ => return Err(self.unquoted_name(expected)),
        }
        let name = self.text(expected, Some(help))?;
        let text = match String::from_utf8(name.node.into_bytes()) {
            Ok(text) if !text.is_empty() && !text.contains('\0') => text,
            _ => {
                let error = Diagnostic::error("bad-include", name.span, format!("expected {expected}"));
                return Err(self.report(error.help("it is not empty, and it is UTF-8 without a NUL")));
            }
        };
        let what = if is_preset { Included::Preset(text) } else { Included::File(text) };
        let span = keyword.to(name.span);
        // The line will be a comment, so nothing may be wrong with it.
        self.end_of_line("the end of the line")?;
        if self.parsed.errors.len() == before && !self.stopped {
            self.parsed.includes.push(IncludeSyntax { what, name: name.span, span });
        }
        Ok(())
    }

    /// Reports a name without quotes, which is the rest of the line.
    fn unquoted_name(&mut self, expected: &str) -> Reported {
        let start = self.peek_span().start;
        let line = self.text[start..].lines().next().unwrap_or_default();
        let name = line.split(" #").next().unwrap_or_default().trim_end();
        let span = Span::new(start, start + name.len());
        let error = Diagnostic::error("unquoted-text", span, format!("expected {expected} between quotes"));
        let plain = name.trim_matches(['<', '>', '"']);
        self.report(
            error
                .help("texts are written between double quotes")
                .suggest(span, Text::from(plain).to_string()),
        )
    }

    /// Reports a statement that only a policy has.
    pub(super) fn not_in_included(&mut self, word: &str) -> Reported {
        let span = self.peek_span();
        let error =
            Diagnostic::error("not-in-included", span, format!("an included file does not state `{word}`"));
        self.report(error.help(
            "it has rules, tests and `include` statements; the policy that includes it states the rest",
        ))
    }
}
