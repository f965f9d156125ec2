//! `ACTION KINDS PATTERN, … [to …] [if CONDITION] [LOGGING]`

use super::foreign::ForeignRange;
use super::{Parse, Parser, Reported, STATEMENTS};
use crate::did_you_mean::did_you_mean;
use crate::editor::Candidate;
use crate::lexer::{Punct, TokenKind};
use crate::notation::NotationErrorKind;
use crate::syntax::{ActionSyntax, RangeSyntax, RuleSyntax, Spanned};
use crate::{Diagnostic, Errno, Integer, Kinds, KnobPattern, NotationError, Span};

/// What can follow the patterns of a rule.
pub(crate) const CLAUSES: &[&str] = &["to", "if", "log", "nolog"];

/// A placeholder for a range with an error that has been reported.
fn unknown_range() -> RangeSyntax {
    RangeSyntax { low: None, high: Some(Integer::from(0)) }
}

enum Head {
    Allow,
    Deny(Errno),
    Set,
    Clamp,
    Ignore,
}

impl Parser<'_> {
    pub(super) fn rule(&mut self) -> Parse<RuleSyntax> {
        let keyword = self.next().span;
        let word = self.slice(keyword);
        let head = match word {
            "allow" => Head::Allow,
            "deny" => Head::Deny(self.errno_in_parens()?),
            "set" => Head::Set,
            "clamp" => Head::Clamp,
            _ => Head::Ignore,
        };
        if self.peek_punct(Punct::ParenOpen) {
            let help = "only `deny` takes an errno in parentheses";
            return Err(self.unexpected("`read` or `write`", Some(help)));
        }
        let head_span = Span::new(keyword.start, self.end);
        let kinds = self.kinds(word)?;
        self.no_errno_here()?;
        self.skip_prepositions();
        let (patterns, broken) = self.patterns(word, kinds.node)?;
        let action = Spanned::new(self.action(head, word)?, head_span);
        let mut condition = None;
        if self.peek_word("if") {
            self.next();
            condition = Some(self.condition()?);
        }
        let log = self.logging()?;
        self.no_errno_here()?;
        if self.peek_foreign("else") || self.peek_foreign("otherwise") {
            return Err(self.no_else(kinds.node, &patterns));
        }
        let log_span = log.as_ref().map(|log| log.span);
        self.end_of_rule(condition.is_some(), log_span, patterns.last().map(|last| last.span))?;
        if broken {
            return Err(Reported);
        }
        let span = Span::new(keyword.start, self.end);
        let log = log.map(|log| log.node);
        Ok(RuleSyntax { action, kinds, patterns, condition, log, span })
    }

    /// `read`, `write` or `read write`
    fn kinds(&mut self, action: &str) -> Parse<Spanned<Kinds>> {
        let start = self.peek_span().start;
        let (mut read, mut write) = (false, false);
        loop {
            let span = self.peek_span();
            let slot = if self.peek_kind("read", read) {
                &mut read
            } else if self.peek_kind("write", write) {
                &mut write
            } else {
                break;
            };
            if std::mem::replace(slot, true) {
                let message = format!("`{}` is stated twice", self.slice(span));
                let error = Diagnostic::error("duplicate-kind", span, message)
                    .suggest(Span::new(self.end, span.end), "");
                self.report(error);
            }
            self.next();
            self.joined_kinds();
        }
        let kinds = match (read, write) {
            (true, true) => Kinds::Both,
            (true, false) => Kinds::Read,
            (false, true) => Kinds::Write,
            (false, false) => return Err(self.missing_kinds(action)),
        };
        Ok(Spanned::new(kinds, Span::new(start, self.end)))
    }

    /// Whether `kind` comes next, which is an error if it is stated already.
    fn peek_kind(&mut self, kind: &'static str, is_stated: bool) -> bool {
        if is_stated { self.peek_foreign(kind) } else { self.peek_word(kind) }
    }

    /// The patterns, and whether one of them was wrong.
    pub(super) fn patterns(
        &mut self,
        action: &str,
        kinds: Kinds,
    ) -> Parse<(Vec<Spanned<KnobPattern>>, bool)> {
        let mut patterns: Vec<Spanned<KnobPattern>> = Vec::new();
        let mut broken = false;
        let mut comma = None;
        loop {
            let token = self.next_candidate(Candidate::Pattern);
            let (span, name) = (token.span, self.slice(token.span));
            if name.is_empty() {
                return Err(self.no_pattern(action, comma));
            }
            if let Some(error) = reserved_word(span, name, comma) {
                // The next statement comes instead of a pattern.
                let next_statement = STATEMENTS.contains(&name)
                    && self.text[..span.start].trim_end_matches([' ', '\t']).ends_with('\n');
                if next_statement {
                    self.lexer.go_to(span.start);
                }
                return Err(self.report(error));
            }
            match KnobPattern::parse(name) {
                Ok(pattern) => patterns.push(Spanned::new(pattern, span)),
                Err(error) => {
                    let ends_early = matches!(
                        error.kind,
                        NotationErrorKind::UnclosedAlternatives | NotationErrorKind::UnclosedClass
                    );
                    let mut diagnostic = notation_diagnostic(error, span.start, name);
                    if ends_early && self.text[span.end..].starts_with([' ', '\t']) {
                        diagnostic = diagnostic.help("white space ends a pattern: write `{a,b}` without any");
                        if let Some((blanks, without)) = self.without_blanks(span.start) {
                            diagnostic = diagnostic.suggest(blanks, without);
                        }
                    }
                    self.report(diagnostic);
                    if ends_early {
                        return Err(Reported);
                    }
                    broken = true;
                }
            }
            if !self.peek_punct(Punct::Comma) {
                self.check_after_pattern(span, action, kinds)?;
                return Ok((patterns, broken));
            }
            comma = Some(self.next().span);
            self.skip_newlines();
        }
    }

    fn action(&mut self, head: Head, word: &str) -> Parse<ActionSyntax> {
        let takes_to = matches!(head, Head::Set | Head::Clamp);
        if !(if takes_to { self.peek_word("to") } else { self.peek_foreign("to") }) {
            return match head {
                Head::Allow => Ok(ActionSyntax::Allow),
                Head::Deny(errno) => Ok(ActionSyntax::Deny(errno)),
                Head::Ignore => Ok(ActionSyntax::Ignore),
                Head::Set => {
                    Err(self.missing_to("`to \"text\"`", "`set` needs the text to write, such as `to \"1\"`"))
                }
                Head::Clamp => {
                    Err(self.missing_to("`to A..B`", "`clamp` needs bounds, such as `to 128..65535`"))
                }
            };
        }
        let to = self.next().span;
        match head {
            Head::Set => Ok(ActionSyntax::Set(self.text("the text to write", Some("such as `to \"1\"`"))?)),
            Head::Clamp => Ok(ActionSyntax::Clamp(self.clamp_ranges()?)),
            Head::Allow | Head::Deny(_) | Head::Ignore => {
                let error = Diagnostic::error("stray-to", to, format!("`{word}` takes no `to`"))
                    .help("only `set` and `clamp` say what is written instead");
                Err(self.report(error))
            }
        }
    }

    /// `A..B` or `[A..B, C..D]`
    pub(super) fn clamp_ranges(&mut self) -> Parse<Spanned<Vec<Spanned<RangeSyntax>>>> {
        if !self.peek_punct(Punct::BracketOpen) {
            let range = self.range("a range of integers")?;
            let span = range.span;
            return Ok(Spanned::new(vec![range], span));
        }
        let open = self.next().span;
        self.joined += 1;
        let mut ranges = Vec::new();
        while !self.peek_punct(Punct::BracketClose) {
            ranges.push(self.range("a range of integers, or `]`")?);
            if !self.peek_punct(Punct::Comma) {
                break;
            }
            self.next();
        }
        if !self.peek_punct(Punct::BracketClose) {
            return Err(self.unexpected("`,` or `]`", None));
        }
        self.next();
        self.joined -= 1;
        Ok(Spanned::new(ranges, Span::new(open.start, self.end)))
    }

    /// `A..B`, `A..`, `..B` or `..`
    pub(super) fn range(&mut self, expected: &str) -> Parse<Spanned<RangeSyntax>> {
        if let Some(ForeignRange { code, span, replacement }) = self.foreign_range() {
            let error =
                Diagnostic::error(code, span, "a range is written with `..`, and both ends are in it")
                    .help(format!("write `{replacement}`"))
                    .suggest(span, replacement);
            self.report(error);
            self.peeked = None;
            self.lexer.go_to(span.end);
            self.end = span.end;
            return Ok(Spanned::new(unknown_range(), span));
        }
        let start = self.peek_span().start;
        let help = Some("ranges are written `1..10`, both ends included");
        let (mut low, mut broken) = (None, false);
        if let TokenKind::Integer(integer) = self.peek().kind {
            broken = self.next_is_broken();
            low = Some(integer);
        } else if !matches!(self.peek().kind, TokenKind::Punct(Punct::Range | Punct::RangeEqual)) {
            return Err(self.unexpected(expected, help));
        }
        match self.peek().kind {
            TokenKind::Punct(Punct::Range) => self.skip(),
            TokenKind::Punct(Punct::RangeEqual) => {
                let span = self.peek_span();
                let error = Diagnostic::error("range-equal", span, "`..=` is not a range of this language")
                    .help("`..` includes both ends")
                    .suggest(span, "..");
                self.report(error);
                self.next();
            }
            _ => return Err(self.unexpected("`..`", help)),
        }
        let mut high = None;
        let operand = matches!(self.peek_slice(), "new" | "old" | "count" | "each");
        match self.peek().kind {
            TokenKind::Integer(integer) => {
                broken |= self.next_is_broken();
                high = Some(integer);
            }
            TokenKind::Word if operand => {
                let help = "the ends of a range are literals; compare instead: `1 <= new <= old`";
                return Err(self.unexpected("an integer", Some(help)));
            }
            _ => {}
        }
        let range = if broken { unknown_range() } else { RangeSyntax { low, high } };
        Ok(Spanned::new(range, Span::new(start, self.end)))
    }

    /// Uses the next token; returns whether it has an error.
    pub(super) fn next_is_broken(&mut self) -> bool {
        let broken = self.peek().problem.is_some();
        self.skip();
        broken
    }

    /// The end of the line after a rule. The error suggests what may have been meant.
    fn end_of_rule(&mut self, condition: bool, log: Option<Span>, pattern: Option<Span>) -> Parse<()> {
        let expected = match (condition, log) {
            (_, Some(_)) => "the end of the line",
            (true, None) => "`and`, `or`, `log`, `nolog` or the end of the line",
            (false, None) => "`if`, `log`, `nolog` or the end of the line",
        };
        let span = self.peek_span();
        if self.peek().kind == TokenKind::Word {
            let word = self.slice(span);
            if let Some(log) = log
                && matches!(word, "log" | "nolog")
            {
                let error = Diagnostic::error("duplicate-log", span, "`log` or `nolog` is stated once");
                let same = self.slice(log) == word && !self.text[span.end..].starts_with('(');
                let error = if same { error.suggest(Span::new(self.end, span.end), "") } else { error };
                return Err(self.report(error));
            }
            if let (Some(log), "if", false) = (log, word, condition) {
                return Err(self.late_if(log));
            }
            if matches!(word, "if" | "to") && (log.is_some() || condition) {
                let error = Diagnostic::error("misplaced-clause", span, format!("`{word}` comes too late"))
                    .help("the order is: names of knobs, `to`, `if`, `log` or `nolog`");
                return Err(self.report(error));
            }
            let candidates: &[&str] =
                if condition { &["and", "or", "log", "nolog"] } else { &["if", "log", "nolog"] };
            let near = did_you_mean(word, candidates.iter().copied())
                .filter(|_| log.is_none() && !matches!(word, "xor" | "nor"))
                .filter(|&near| near != "if" || self.operand_follows());
            if let Some(near) = near {
                let error =
                    Diagnostic::error("unknown-word", span, format!("expected {expected}, found `{word}`"))
                        .help(format!("did you mean `{near}`?"))
                        .suggest(span, near);
                return Err(self.report(error));
            }
        }
        if self.peek_punct(Punct::Comma)
            && let Some((span, number)) = self.grouped_digits()
        {
            let error = Diagnostic::error("bad-integer", span, "digits are not grouped with commas")
                .help(format!("write `{number}`"))
                .suggest(span, number);
            return Err(self.report(error));
        }
        let touching = pattern.is_some_and(|pattern| pattern.end == span.start);
        if touching
            && !matches!(
                self.peek().kind,
                TokenKind::Newline | TokenKind::End | TokenKind::Punct(Punct::Semicolon)
            )
        {
            let help = "escape a character with `\\` if it is part of the name";
            return Err(self.unexpected(expected, Some(help)));
        }
        self.end_of_line(expected)
    }
}

/// The error about `name` as the name of a knob, if it is a keyword.
pub(super) fn reserved_word(span: Span, name: &str, comma: Option<Span>) -> Option<Diagnostic> {
    if !crate::notation::is_keyword(name.as_bytes()) {
        return None;
    }
    let error =
        Diagnostic::error("reserved-name", span, format!("expected the name of a knob, found `{name}`"));
    Some(match comma {
        Some(comma) => {
            let error =
                error.also(comma, "a name has to follow this comma").help("drop the comma, or add a name");
            if CLAUSES.contains(&name) { error.suggest(comma, "") } else { error }
        }
        None => error.help(format!(
            "a knob of this name is written `\\x{:02x}{}`",
            name.as_bytes()[0],
            &name[1..]
        )),
    })
}

/// The diagnostic for an error in a name or pattern that begins at `start`.
pub(super) fn notation_diagnostic(error: NotationError, start: usize, name: &str) -> Diagnostic {
    let span = Span::new(start + error.span.start, start + error.span.end);
    let code = match error.kind {
        NotationErrorKind::TooLong => "pattern-too-long",
        NotationErrorKind::TooDeep => "nesting-too-deep",
        _ => "bad-name",
    };
    let mut diagnostic = Diagnostic::error(code, span, error.kind.to_string());
    if let Some(help) = error.kind.help() {
        diagnostic = diagnostic.help(help);
    }
    let replacement = match error.kind {
        NotationErrorKind::Prefix | NotationErrorKind::LeadingSeparator => Some(""),
        NotationErrorKind::Caret => Some("!"),
        _ => None,
    };
    let fixed =
        |replacement: &str| [&name[..error.span.start], replacement, &name[error.span.end..]].concat();
    match replacement.filter(|replacement| KnobPattern::parse(fixed(replacement)).is_ok()) {
        Some(replacement) => diagnostic.suggest(span, replacement),
        None => diagnostic,
    }
}
