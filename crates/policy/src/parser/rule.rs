//! `ACTION KINDS PATTERN, … [to …] [if CONDITION] [log|nolog]`

use super::{Parse, Parser, Reported, STATEMENTS};
use crate::lexer::{Mark, TokenKind};
use crate::nearest::nearest;
use crate::spelling::SpellingErrorKind;
use crate::syntax::{ActionSyntax, At, RangeSyntax, RuleSyntax};
use crate::{Diagnostic, Errno, Kinds, KnobPattern, Span, SpellingError, Text, limits};

/// What stands behind the patterns of a rule.
const CLAUSES: &[&str] = &["to", "if", "log", "nolog"];

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
        if self.peek_mark(Mark::ParenOpen) {
            let help = "only `deny` takes an errno in parentheses";
            return Err(self.unexpected("`read` or `write`", Some(help)));
        }
        let head_span = Span::new(keyword.start, self.end);
        let kinds = self.kinds(word)?;
        let (patterns, broken) = self.patterns(word)?;
        let action = At::new(self.action(head, word)?, head_span);
        let mut condition = None;
        if self.peek_word("if") {
            self.next();
            condition = Some(self.condition()?);
        }
        let log = self.log();
        self.end_of_rule(condition.is_some(), log.is_some(), patterns.last().map(|last| last.span))?;
        if broken {
            return Err(Reported);
        }
        let span = Span::new(keyword.start, self.end);
        Ok(RuleSyntax { action, kinds, patterns, condition, log, span })
    }

    /// `read`, `write` or `read write`
    fn kinds(&mut self, action: &str) -> Parse<At<Kinds>> {
        let start = self.peek_span().start;
        let (mut read, mut write) = (false, false);
        loop {
            let span = self.peek_span();
            let slot = if self.peek_word("read") {
                &mut read
            } else if self.peek_word("write") {
                &mut write
            } else {
                break;
            };
            if std::mem::replace(slot, true) {
                let error = Diagnostic::error(
                    "duplicate-kind",
                    span,
                    format!("`{}` is stated twice", self.slice(span)),
                );
                self.report(error);
            }
            self.next();
        }
        let kinds = match (read, write) {
            (true, true) => Kinds::Both,
            (true, false) => Kinds::Read,
            (false, true) => Kinds::Write,
            (false, false) => return Err(self.missing_kinds(action)),
        };
        if self.peek_mark(Mark::Comma) {
            let help = "`read write` has no comma";
            return Err(self.unexpected("a pattern for the names of knobs", Some(help)));
        }
        Ok(At::new(kinds, Span::new(start, self.end)))
    }

    fn missing_kinds(&mut self, action: &str) -> Reported {
        let span = self.peek_span();
        if self.peek().kind == TokenKind::Word {
            let word = self.slice(span);
            let whole = !self.text[span.end..].starts_with(['.', '/', '*', '{', '[']);
            let foreign = match word {
                "rw" | "any" | "all" => Some("read write"),
                "r" | "reads" => Some("read"),
                "w" | "writes" => Some("write"),
                _ => None,
            };
            if let Some(near) = foreign.or_else(|| nearest(word, ["read", "write"])).filter(|_| whole) {
                let error =
                    Diagnostic::error("unknown-kind", span, format!("there is no kind of access `{word}`"))
                        .help(format!("did you mean `{near}`?"))
                        .suggest(span, near);
                return self.report(error);
            }
        }
        let help = format!(
            "say which accesses are meant: `{action} read …`, `{action} write …` or `{action} read write …`"
        );
        self.unexpected("`read` or `write`", Some(&help))
    }

    /// The patterns, and whether one of them was wrong.
    pub(super) fn patterns(&mut self, action: &str) -> Parse<(Vec<At<KnobPattern>>, bool)> {
        let mut patterns: Vec<At<KnobPattern>> = Vec::new();
        let mut broken = false;
        let mut comma = None;
        loop {
            let token = self.next_name();
            let (span, spelling) = (token.span, self.slice(token.span));
            if spelling.is_empty() {
                return Err(self.no_pattern(action, comma));
            }
            if let Some(error) = reserved_word(span, spelling, comma) {
                // The next statement stands where the pattern should.
                let next_statement = STATEMENTS.contains(&spelling)
                    && self.text[..span.start].trim_end_matches([' ', '\t']).ends_with('\n');
                if next_statement {
                    self.lexer.go_to(span.start);
                }
                return Err(self.report(error));
            }
            match KnobPattern::parse(spelling) {
                Ok(pattern) => patterns.push(At::new(pattern, span)),
                Err(error) => {
                    let ends_early = matches!(
                        error.kind,
                        SpellingErrorKind::UnclosedAlternatives | SpellingErrorKind::UnclosedClass
                    );
                    let mut diagnostic = spelling_diagnostic(error, span.start);
                    if ends_early && self.text[span.end..].starts_with([' ', '\t']) {
                        diagnostic = diagnostic.help("white space ends a pattern: write `{a,b}` without any");
                    }
                    self.report(diagnostic);
                    if ends_early {
                        return Err(Reported);
                    }
                    broken = true;
                }
            }
            if !self.peek_mark(Mark::Comma) {
                self.check_for_missing_comma(span)?;
                return Ok((patterns, broken));
            }
            comma = Some(self.next().span);
            self.skip_newlines();
        }
    }

    fn no_pattern(&mut self, action: &str, comma: Option<Span>) -> Reported {
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
            None if STATEMENTS.contains(&action) => {
                format!("such as `{action} write net.core.*`, or `**` for every knob")
            }
            None => format!("such as `{action} net.core.*`"),
        };
        self.unexpected("a pattern for the names of knobs", Some(&help))
    }

    /// Two patterns with nothing but a blank between them.
    fn check_for_missing_comma(&mut self, before: Span) -> Parse<()> {
        let next = self.peek().clone();
        if matches!(next.kind, TokenKind::Newline | TokenKind::End) || next.span.start == before.end {
            return Ok(());
        }
        if next.kind == TokenKind::Word {
            let word = self.slice(next.span);
            if CLAUSES.contains(&word) {
                return Ok(());
            }
            let whole = !self.text[next.span.end..].starts_with(['.', '/', '*', '?', '{', '[', '-']);
            let foreign = match word {
                "when" | "where" | "iff" | "with" => Some("if"),
                "unless" => Some("if not"),
                "logged" => Some("log"),
                _ => None,
            };
            if let Some(near) = foreign.or_else(|| nearest(word, CLAUSES.iter().copied())).filter(|_| whole) {
                let error = Diagnostic::error(
                    "unknown-word",
                    next.span,
                    format!("`{word}` behind the names of knobs"),
                )
                .help(format!("did you mean `{near}`?"))
                .suggest(next.span, near);
                return Err(self.report(error));
            }
        } else if !matches!(
            next.kind,
            TokenKind::Mark(Mark::BraceOpen | Mark::BracketOpen) | TokenKind::Stray('*')
        ) {
            return Ok(());
        }
        let place = Span::new(before.end, before.end);
        let error = Diagnostic::error("missing-comma", next.span, "there is no comma between two patterns")
            .help("separate patterns with commas")
            .suggest(place, ",");
        Err(self.report(error))
    }

    fn action(&mut self, head: Head, word: &str) -> Parse<ActionSyntax> {
        let takes_value = matches!(head, Head::Set | Head::Clamp);
        if self.peek_mark(Mark::Assign) && takes_value {
            let span = self.peek_span();
            let error = Diagnostic::error("missing-to", span, "`=` where `to` is needed")
                .help("write `to`")
                .suggest(span, " to ");
            return Err(self.report(error));
        }
        if !self.peek_word("to") {
            return match head {
                Head::Allow => Ok(ActionSyntax::Allow),
                Head::Deny(errno) => Ok(ActionSyntax::Deny(errno)),
                Head::Ignore => Ok(ActionSyntax::Ignore),
                Head::Set => {
                    Err(self.missing_to("`to \"text\"`", "`set` needs what to write, such as `to \"1\"`"))
                }
                Head::Clamp => {
                    Err(self.missing_to("`to A..B`", "`clamp` needs bounds, such as `to 128..65535`"))
                }
            };
        }
        let to = self.next().span;
        match head {
            Head::Set => {
                if let TokenKind::Integer(_) = self.peek().kind {
                    let span = self.peek_span();
                    let text = Text::from(self.slice(span)).to_string();
                    let error = Diagnostic::error(
                        "unquoted-text",
                        span,
                        "`set` writes a text, which stands in quotes",
                    )
                    .help(format!("write {text}"))
                    .suggest(span, text);
                    self.report(error);
                    self.next();
                    return Ok(ActionSyntax::Set(At::new(Text::default(), span)));
                }
                Ok(ActionSyntax::Set(self.text("the text to write", Some("such as `to \"1\"`"))?))
            }
            Head::Clamp => Ok(ActionSyntax::Clamp(self.clamp_ranges()?)),
            Head::Allow | Head::Deny(_) | Head::Ignore => {
                let error = Diagnostic::error("stray-to", to, format!("`{word}` takes no `to`"))
                    .help("only `set` and `clamp` say what is written instead");
                Err(self.report(error))
            }
        }
    }

    fn missing_to(&mut self, expected: &str, help: &str) -> Reported {
        self.unexpected(expected, Some(help))
    }

    /// `A..B` or `[A..B, C..D]`
    fn clamp_ranges(&mut self) -> Parse<Vec<At<RangeSyntax>>> {
        if !self.peek_mark(Mark::BracketOpen) {
            return Ok(vec![self.range("a range of integers")?]);
        }
        let open = self.next().span;
        self.joined += 1;
        let mut ranges = Vec::new();
        while !self.peek_mark(Mark::BracketClose) {
            ranges.push(self.range("a range of integers, or `]`")?);
            if !self.peek_mark(Mark::Comma) {
                break;
            }
            self.next();
        }
        if !self.peek_mark(Mark::BracketClose) {
            return Err(self.unexpected("`,` or `]`", None));
        }
        self.next();
        self.joined -= 1;
        let span = Span::new(open.start, self.end);
        if ranges.is_empty() {
            let error = Diagnostic::error("empty-clamp", span, "there are no ranges here")
                .help("such as `[1..10, 1..10]`");
            self.report(error);
        }
        if ranges.len() > limits::ELEMENTS_MAX {
            let message = format!("a clamp has at most {} ranges", limits::ELEMENTS_MAX);
            self.report(Diagnostic::error("too-many-elements", span, message));
        }
        Ok(ranges)
    }

    /// `A..B`, `A..`, `..B` or `..`
    pub(super) fn range(&mut self, expected: &str) -> Parse<At<RangeSyntax>> {
        let start = self.peek_span().start;
        let help = Some("ranges are written `1..10`, both ends included");
        let mut low = None;
        if let TokenKind::Integer(integer) = self.peek().kind {
            self.next();
            low = Some(integer);
        } else if !matches!(self.peek().kind, TokenKind::Mark(Mark::Range | Mark::RangeEqual)) {
            return Err(self.unexpected(expected, help));
        }
        let touching = self.peek_span().start == self.end;
        match self.peek().kind {
            TokenKind::Mark(Mark::Range) => self.skip(),
            TokenKind::Mark(Mark::RangeEqual) => {
                let span = self.peek_span();
                let error = Diagnostic::error("range-equal", span, "`..=` is not a range of this language")
                    .help("`..` includes both ends")
                    .suggest(span, "..");
                self.report(error);
                self.next();
            }
            TokenKind::Integer(high) if high.is_negative() && touching => {
                let span = self.peek_span();
                let error = Diagnostic::error(
                    "range-dash",
                    Span::new(start, span.end),
                    "a range is written with `..`",
                )
                .help(format!("write `{}..{}`", self.slice(Span::new(start, self.end)), -high.get()))
                .suggest(Span::new(span.start, span.start + 1), "..");
                return Err(self.report(error));
            }
            _ => return Err(self.unexpected("`..`", help)),
        }
        let mut high = None;
        let operand = matches!(self.peek_slice(), "new" | "old" | "count");
        match self.peek().kind {
            TokenKind::Integer(integer) => {
                self.next();
                high = Some(integer);
            }
            TokenKind::Word if operand => {
                let help = "the ends of a range are literals; compare instead: `1 <= new <= old`";
                return Err(self.unexpected("an integer", Some(help)));
            }
            _ => {}
        }
        Ok(At::new(RangeSyntax { low, high }, Span::new(start, self.end)))
    }

    /// The end of the line behind a rule, with a word on what may have been meant.
    fn end_of_rule(&mut self, condition: bool, log: bool, pattern: Option<Span>) -> Parse<()> {
        let expected = match (condition, log) {
            (_, true) => "the end of the line",
            (true, false) => "`and`, `or`, `log`, `nolog` or the end of the line",
            (false, false) => "`if`, `log`, `nolog` or the end of the line",
        };
        let span = self.peek_span();
        if self.peek().kind == TokenKind::Word {
            let word = self.slice(span);
            if log && matches!(word, "log" | "nolog") {
                let error = Diagnostic::error("duplicate-log", span, "`log` or `nolog` is stated once");
                return Err(self.report(error));
            }
            if matches!(word, "if" | "to") && (log || condition) {
                let error = Diagnostic::error("misplaced-clause", span, format!("`{word}` comes too late"))
                    .help("the order is: names of knobs, `to`, `if`, `log` or `nolog`");
                return Err(self.report(error));
            }
            let candidates: &[&str] =
                if condition { &["and", "or", "log", "nolog"] } else { &["if", "log", "nolog"] };
            let near = nearest(word, candidates.iter().copied()).filter(|_| !log);
            if let Some(near) = near {
                let error =
                    Diagnostic::error("unknown-word", span, format!("expected {expected}, found `{word}`"))
                        .help(format!("did you mean `{near}`?"))
                        .suggest(span, near);
                return Err(self.report(error));
            }
        }
        let touching = pattern.is_some_and(|pattern| pattern.end == span.start);
        if touching
            && !matches!(
                self.peek().kind,
                TokenKind::Newline | TokenKind::End | TokenKind::Mark(Mark::Semicolon)
            )
        {
            let help = "escape a character with `\\` if it belongs to the name";
            return Err(self.unexpected(expected, Some(help)));
        }
        self.end_of_line(expected)
    }
}

/// The error about `spelling` as the name of a knob where it is a word of the language.
pub(super) fn reserved_word(span: Span, spelling: &str, comma: Option<Span>) -> Option<Diagnostic> {
    if !crate::spelling::is_keyword(spelling.as_bytes()) {
        return None;
    }
    let error =
        Diagnostic::error("reserved-name", span, format!("expected the name of a knob, found `{spelling}`"));
    Some(match comma {
        Some(comma) => {
            error.also(comma, "a name has to follow this comma").help("drop the comma, or add a name")
        }
        None => error.help(format!(
            "a knob of this name is written `\\x{:02x}{}`",
            spelling.as_bytes()[0],
            &spelling[1..]
        )),
    })
}

/// An error in a name or pattern that begins at `start`.
pub(super) fn spelling_diagnostic(error: SpellingError, start: usize) -> Diagnostic {
    let span = Span::new(start + error.span.start, start + error.span.end);
    let code = match error.kind {
        SpellingErrorKind::TooLong => "pattern-too-long",
        SpellingErrorKind::TooDeep => "nesting-too-deep",
        _ => "bad-name",
    };
    let mut diagnostic = Diagnostic::error(code, span, error.kind.to_string());
    if let Some(help) = error.kind.help() {
        diagnostic = diagnostic.help(help);
    }
    if error.kind == SpellingErrorKind::Prefix {
        diagnostic = diagnostic.suggest(span, "");
    }
    diagnostic
}
