//! From text to syntax, by recursive descent. All errors are reported together: after an error, the parser continues
//! with the next statement.

mod candidates;
pub(crate) mod condition;
mod cursor;
mod filter;
mod foreign;
mod include;
mod logging;
mod recovery;
pub(crate) mod rule;
mod selector;
pub(crate) mod test_block;

pub(crate) use filter::{ParsedFilter, parse_filter};
pub(crate) use selector::parse_selector;

use self::candidates::Candidates;
use crate::did_you_mean::did_you_mean;
use crate::editor::Candidate;
use crate::lexer::{Lexer, Punct, Token, TokenKind};
use crate::model::is_name_character;
use crate::scheme::{RULES, Scheme};
use crate::syntax::{IncludeSyntax, RuleSyntax, SelectorSyntax, Spanned, TestSyntax};
use crate::{
    AccessKind, Diagnostic, Errno, Fallback, FallbackAction, Integer, Kinds, KnobPattern, Mode, Policy,
    Relation, Span, Text,
};

/// The contents of a file.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// The header.
    pub(crate) header: Option<Spanned<Policy>>,
    pub(crate) mode: Option<Spanned<Mode>>,
    pub(crate) default_read: Option<Spanned<Fallback>>,
    pub(crate) default_write: Option<Spanned<Fallback>>,
    /// What `width 64` declares.
    pub(crate) width_64: Vec<Spanned<KnobPattern>>,
    /// What `apply if` states.
    pub(crate) apply_if: Vec<SelectorSyntax>,
    pub(crate) rules: Vec<RuleSyntax>,
    pub(crate) tests: Vec<TestSyntax>,
    pub(crate) includes: Vec<IncludeSyntax>,
    /// The errors.
    pub(crate) errors: Vec<Diagnostic>,
    /// Every token that was used, if the caller asked for them. Ends of lines are included only if they end a statement.
    pub(crate) tokens: Vec<Token>,
}

/// An error has been reported.
#[derive(Debug)]
struct Reported;

type Parse<T> = Result<T, Reported>;

/// The words that begin a statement.
pub(crate) const STATEMENTS: &[&str] = &[
    "policy", "mode", "width", "default", "apply", "include", "allow", "deny", "set", "clamp", "ignore",
    "test",
];

/// The words that begin a statement of an included text, besides those that begin a rule.
const INCLUDED_STATEMENTS: &[&str] = &["include", "test"];

/// The words that begin a rule.
pub(crate) const ACTIONS: &[&str] = &["allow", "deny", "set", "clamp", "ignore"];

/// The modes of a policy.
pub(crate) const MODES: &[&str] = &["audit", "enforce"];

/// Words for actions in other languages.
const FOREIGN_ACTIONS: &[(&str, &str)] = &[
    ("permit", "allow"),
    ("accept", "allow"),
    ("pass", "allow"),
    ("grant", "allow"),
    ("allowed", "allow"),
    ("denied", "deny"),
    ("reject", "deny"),
    ("block", "deny"),
    ("forbid", "deny"),
    ("disallow", "deny"),
    ("prevent", "deny"),
    ("refuse", "deny"),
    ("prohibit", "deny"),
    ("limit", "clamp"),
    ("bound", "clamp"),
    ("cap", "clamp"),
    ("rewrite", "set"),
    ("replace", "set"),
    ("force", "set"),
    ("import", "include"),
    ("source", "include"),
    ("applies", "apply"),
    ("select", "apply"),
];

/// Words for which the suggestion would be wrong.
const NO_ACTIONS: &[(&str, &str)] = &[
    ("drop", "`deny` fails a write, and `ignore` lets the writer believe that it worked"),
    ("get", "the actions are `allow`, `deny`, `set`, `clamp` and `ignore`"),
    ("let", "the actions are `allow`, `deny`, `set`, `clamp` and `ignore`"),
    ("log", "`log` goes at the end of a rule: `allow write … log`"),
];

/// Words for modes in other languages.
const FOREIGN_MODES: &[(&str, &str)] =
    &[("complain", "audit"), ("permissive", "audit"), ("monitor", "audit"), ("enforcing", "enforce")];

/// How many errors are reported. More are caused by a single mistake, or the file is not a policy.
const ERRORS_MAX: usize = 1000;

/// What a text is, which decides what it may state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextKind {
    /// A policy, which begins with its header.
    Policy,
    /// A text that a policy includes, which has rules and tests alone.
    Included,
    /// One of the two.
    Either,
}

/// A part of a text in which included texts stand where they are included.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) span: Span,
    /// The place of the `include` statement; `None` for the policy's own text.
    pub(crate) included_by: Option<Span>,
}

/// Parses the text of a policy.
pub(crate) fn parse(text: &str) -> Parsed {
    let mut parser = Parser::new(text, &RULES);
    parser.file();
    parser.parsed
}

/// Parses the text of a policy, or one that is for policies to include, and keeps its tokens.
pub(crate) fn parse_tokens(text: &str) -> Parsed {
    let mut parser = Parser { keep_tokens: true, kind: TextKind::Either, ..Parser::new(text, &RULES) };
    parser.file();
    parser.parsed
}

/// Parses a text that is included.
pub(crate) fn parse_included(text: &str) -> Parsed {
    let mut parser = Parser { kind: TextKind::Included, ..Parser::new(text, &RULES) };
    parser.file();
    parser.parsed
}

/// Parses the text of a policy, or one that is for policies to include.
pub(crate) fn parse_either(text: &str) -> Parsed {
    let mut parser = Parser { kind: TextKind::Either, ..Parser::new(text, &RULES) };
    parser.file();
    parser.parsed
}

/// What may come at the end of `text`, which is that of [`parse_tokens`] up to some place: where that begins, and what it may be.
pub(crate) fn parse_candidates(text: &str) -> (usize, Vec<Candidate>) {
    let candidates = Some(Candidates::default());
    let mut parser = Parser { candidates, kind: TextKind::Either, ..Parser::new(text, &RULES) };
    parser.statements();
    parser.into_candidates()
}

/// Parses the parts of `text`. What begins in one part ends there.
pub(crate) fn parse_parts(text: &str, parts: &[Part]) -> Parsed {
    let mut parser = Parser::new("", &RULES);
    for part in parts {
        parser.go_to_part(&text[..part.span.end], part);
        parser.statements();
    }
    parser.check_header();
    parser.parsed
}

struct Parser<'a> {
    text: &'a str,
    /// What conditions can look at.
    scheme: &'static Scheme,
    /// What the text is.
    what: &'static str,
    lexer: Lexer<'a>,
    peeked: Option<Token>,
    /// The open brackets. Inside them, ends of lines are ignored.
    joined: usize,
    /// The end of the last token that was used, not counting ends of lines.
    end: usize,
    /// Where the current statement, or step of a test, begins.
    statement: usize,
    in_test: bool,
    /// The operand and the relation of the last comparison, if it was with a literal.
    compared: Option<(Span, Relation)>,
    /// Whether there were too many errors to continue.
    stopped: bool,
    keep_tokens: bool,
    kind: TextKind,
    /// Whether the policy's own text has begun with a statement.
    begun: bool,
    /// What may come at the end of the text, if the caller asked for that.
    candidates: Option<Candidates>,
    parsed: Parsed,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, scheme: &'static Scheme) -> Self {
        Self {
            text,
            scheme,
            what: scheme.text,
            lexer: Lexer::new(text),
            peeked: None,
            joined: 0,
            end: 0,
            statement: 0,
            in_test: false,
            compared: None,
            stopped: false,
            keep_tokens: false,
            kind: TextKind::Policy,
            begun: false,
            candidates: None,
            parsed: Parsed::default(),
        }
    }

    fn file(&mut self) {
        self.statements();
        self.check_header();
    }

    fn statements(&mut self) {
        while !self.stopped {
            self.expect_statement();
            match self.peek().kind {
                TokenKind::End => break,
                TokenKind::Newline => self.skip(),
                _ => {
                    self.statement = self.peek().span.start;
                    if self.kind == TextKind::Policy && !self.begun {
                        self.begun = true;
                        if !self.peek_foreign("policy") {
                            self.report_missing_header();
                        }
                    }
                    if self.statement().is_err() {
                        self.recover();
                    }
                }
            }
        }
    }

    /// Reports a policy without statements.
    fn check_header(&mut self) {
        if self.kind == TextKind::Policy && !self.begun && !self.stopped {
            self.report_missing_header();
        }
    }

    /// Continues with `part` of a text, which is `text` up to its end.
    fn go_to_part(&mut self, text: &'a str, part: &Part) {
        self.text = text;
        self.lexer = Lexer::new(text);
        self.lexer.go_to(self.lexer.at().max(part.span.start));
        (self.peeked, self.joined, self.end) = (None, 0, part.span.start);
        match part.included_by {
            None => self.kind = TextKind::Policy,
            Some(statement) => {
                if !std::mem::replace(&mut self.begun, true) {
                    self.report(missing_header(statement.start));
                }
                self.kind = TextKind::Included;
            }
        }
    }

    fn report_missing_header(&mut self) {
        let start = self.peek().span.start;
        if let TokenKind::Word = self.peek().kind {
            let word = self.peek_slice();
            if did_you_mean(word, ["policy"]).is_some() {
                return; // It is reported as an unknown word.
            }
        }
        self.report(missing_header(start));
    }

    /// One statement and the end of its line.
    fn statement(&mut self) -> Parse<()> {
        if !matches!(self.peek().kind, TokenKind::Word) {
            return Err(
                self.unexpected("a statement", Some("an action such as `allow` or `deny` begins a rule"))
            );
        }
        let word = self.peek_slice();
        if self.kind == TextKind::Included
            && STATEMENTS.contains(&word)
            && !ACTIONS.contains(&word)
            && !INCLUDED_STATEMENTS.contains(&word)
        {
            return Err(self.not_in_included(word));
        }
        match word {
            "policy" => self.header()?,
            "mode" => self.mode()?,
            "default" => self.default()?,
            "width" => self.width()?,
            "include" => self.include()?,
            "apply" => self.apply()?,
            "test" => self.test_block()?,
            action if ACTIONS.contains(&action) => {
                let rule = self.rule()?;
                self.parsed.rules.push(rule);
            }
            word => return Err(self.unknown_statement(word)),
        }
        self.end_of_line("the end of the line")
    }

    fn unknown_statement(&mut self, word: &str) -> Reported {
        let span = self.peek_span();
        let error = Diagnostic::error("unknown-action", span, format!("there is no action `{word}`"));
        let foreign = FOREIGN_ACTIONS.iter().find(|(foreign, _)| *foreign == word).map(|(_, ours)| *ours);
        let mut ahead = self.ahead();
        let (_, next) = (ahead.token(), ahead.token());
        let error = if let Some((_, help)) = NO_ACTIONS.iter().find(|(other, _)| *other == word) {
            error.help(*help)
        } else if let Some(near) = foreign.or_else(|| did_you_mean(word, STATEMENTS.iter().copied())) {
            error.help(format!("did you mean `{near}`?")).suggest(span, near)
        } else if matches!(word, "read" | "write") {
            let error = error.help(format!("the action comes first: `allow {word} …`"));
            match self.slice(next.span) {
                action if ACTIONS.contains(&action) => {
                    error.suggest(span.to(next.span), format!("{action} {word}"))
                }
                _ => error,
            }
        } else if matches!(word, "audit" | "enforce")
            && matches!(next.kind, TokenKind::Newline | TokenKind::End)
        {
            error.help(format!("the mode is stated as `mode {word}`")).suggest(span, format!("mode {word}"))
        } else {
            error.help("the actions are `allow`, `deny`, `set`, `clamp` and `ignore`")
        };
        self.report(error)
    }

    /// `policy NAME`
    fn header(&mut self) -> Parse<()> {
        let keyword = self.next().span;
        let token = self.next_name();
        let span = token.span;
        let name = self.slice(span);
        if name.is_empty() {
            return Err(self.unexpected("the name of the policy", Some("such as `policy web-tier`")));
        }
        if let Some((at, c)) = name.char_indices().find(|(_, c)| !is_name_character(*c)) {
            let span = Span::new(span.start + at, span.start + at + c.len_utf8());
            let error = Diagnostic::error(
                "bad-policy-name",
                span,
                format!("`{}` in the name of a policy", c.escape_debug()),
            )
            .help("a policy name consists of letters, digits, `-`, `_` and `.`");
            return Err(self.report(error));
        }
        if let TokenKind::Word = self.peek().kind {
            let second = self.peek_span();
            let error = Diagnostic::error("bad-policy-name", second, "the name of a policy is one word")
                .help(format!("write `{name}-{}`", self.slice(second)))
                .suggest(Span::new(span.end, second.start), "-");
            return Err(self.report(error));
        }
        let policy = Policy::new(name).map_err(|error| self.report(Diagnostic::invalid(&error, span)))?;
        if let Some(first) = &self.parsed.header {
            let error = Diagnostic::error("second-header", keyword.to(span), "a file contains one policy")
                .also(first.span, "the first header");
            return Err(self.report(error));
        }
        if !self.parsed.rules.is_empty() || !self.parsed.tests.is_empty() {
            // The missing header has been reported already, at the first statement.
            return Ok(());
        }
        self.parsed.header = Some(Spanned::new(policy, keyword.to(span)));
        Ok(())
    }

    /// `mode audit|enforce`
    fn mode(&mut self) -> Parse<()> {
        let keyword = self.next().span;
        self.skip_separators();
        let mode = match self.choice(MODES, "a mode, `audit` or `enforce`")? {
            "audit" => Mode::Audit,
            _ => Mode::Enforce,
        };
        let span = Span::new(keyword.start, self.end);
        if let Some(first) = &self.parsed.mode {
            let error = Diagnostic::error("duplicate-mode", span, "the mode is stated twice")
                .also(first.span, "it is stated here first");
            self.report(error);
        } else {
            self.parsed.mode = Some(Spanned::new(mode, span));
        }
        Ok(())
    }

    /// `width 64 PATTERN, …`
    fn width(&mut self) -> Parse<()> {
        self.next();
        let help = "such as `width 64 vendor.limit`, for a knob whose handler keeps 64 bits";
        let bits = self.integer("`64`", Some(help))?;
        if bits.node != Integer::from(64) {
            let error = Diagnostic::error("bad-width", bits.span, "only a width of 64 bits can be declared")
                .help("a number beyond 32 bits is denied without a declaration")
                .suggest(bits.span, "64");
            return Err(self.report(error));
        }
        let (patterns, broken) = self.patterns("width 64", Kinds::Write)?;
        if broken {
            return Err(Reported);
        }
        self.parsed.width_64.extend(patterns);
        Ok(())
    }

    /// `default read|write allow|deny [LOGGING]`
    fn default(&mut self) -> Parse<()> {
        let keyword = self.next().span;
        let mut ahead = self.ahead();
        let (first, second) = (ahead.token(), ahead.token());
        let (action, kind) = (self.slice(first.span), self.slice(second.span));
        if matches!(action, "allow" | "deny") && matches!(kind, "read" | "write") {
            let error = Diagnostic::error("swapped-words", first.span, "the kind of access comes first")
                .help(format!("write `default {kind} {action}`"))
                .suggest(first.span.to(second.span), format!("{kind} {action}"));
            return Err(self.report(error));
        }
        let kind = match self.choice(&["read", "write"], "`read` or `write`")? {
            "read" => AccessKind::Read,
            _ => AccessKind::Write,
        };
        if self.peek_foreign("read") || self.peek_foreign("write") {
            return Err(self.joined_defaults(kind));
        }
        self.skip_separators();
        let action = match self.choice(&["allow", "deny"], "`allow` or `deny`")? {
            "allow" => FallbackAction::Allow,
            _ => FallbackAction::Deny(self.errno_in_parens()?),
        };
        let log = self.logging()?.map(|log| log.node);
        let span = Span::new(keyword.start, self.end);
        let slot = match kind {
            AccessKind::Read => &mut self.parsed.default_read,
            AccessKind::Write => &mut self.parsed.default_write,
        };
        if let Some(first) = slot {
            let message = format!("the default for a {kind} is stated twice");
            let error = Diagnostic::error("duplicate-default", span, message)
                .also(first.span, "it is stated here first");
            self.report(error);
        } else {
            *slot = Some(Spanned::new(Fallback { action, log }, span));
        }
        Ok(())
    }

    /// `default read write deny`, after `read`.
    fn joined_defaults(&mut self, first: AccessKind) -> Reported {
        let second = self.peek_span();
        let rest = self.slice(Span::new(second.end, self.text.len())).lines().next().unwrap_or_default();
        let rest = rest.trim();
        let message = "a default is for one kind of access";
        let error = Diagnostic::error("joined-defaults", second, message)
            .help("state the default for each kind of access on a line of its own");
        let span = Span::new(self.statement, second.end);
        self.report(match self.slice(second) {
            second if second != first.to_string() && rest.starts_with(['a', 'd']) && !rest.contains('#') => {
                error.suggest(span, format!("default {first} {rest}\ndefault {second}"))
            }
            _ => error,
        })
    }

    /// Reports and skips a `:` or `=` between the words of a statement.
    fn skip_separators(&mut self) {
        if matches!(self.peek().kind, TokenKind::Punct(Punct::Assign) | TokenKind::Stray(':')) {
            let span = self.next().span;
            let before = self.slice(Span::new(0, span.start));
            let start = before.trim_end_matches([' ', '\t']).len();
            let end = self.peek_span().start;
            let error = Diagnostic::error("stray-separator", span, "the words here are not separated")
                .help(format!("drop the `{}`", self.slice(span)))
                .suggest(Span::new(start, end), " ");
            self.report(error);
        }
    }

    /// `(ERRNO)` after `deny`, or nothing, which is `EPERM`.
    fn errno_in_parens(&mut self) -> Parse<Errno> {
        if !self.peek_punct(Punct::ParenOpen) {
            if let Some((errno, span)) = self.foreign_errno(true) {
                let error = Diagnostic::error("misplaced-errno", span, "an errno without parentheses")
                    .help(format!("the errno goes in parentheses: `deny({errno})`"))
                    .suggest(Span::new(self.end, span.end), format!("({errno})"));
                self.report(error);
                self.peeked = None;
                self.lexer.go_to(span.end);
                self.end = span.end;
            }
            return Ok(Errno::EPERM);
        }
        self.next();
        if let TokenKind::Stray('-') = self.peek().kind {
            let span = self.next().span;
            let error = Diagnostic::error("negative-errno", span, "an errno is given without a sign");
            self.report(error.help("drop the `-`").suggest(span, ""));
        }
        let errno = self.errno()?;
        if !self.peek_punct(Punct::ParenClose) {
            let place = Span::new(self.end, self.end);
            if let TokenKind::Word = self.peek().kind {
                let error = Diagnostic::error("unclosed-errno", self.peek_span(), "expected `)`")
                    .help("close the parenthesis after the errno")
                    .suggest(place, ")");
                return Err(self.report(error));
            }
            return Err(self.unexpected("`)`", None));
        }
        self.next();
        Ok(errno)
    }

    /// The name of an errno.
    fn errno(&mut self) -> Parse<Errno> {
        self.expect(Candidate::Errno);
        let span = self.peek_span();
        match self.peek().kind {
            TokenKind::Word => {
                let word = self.slice(span);
                if let Some(errno) = Errno::from_name(word) {
                    self.next();
                    return Ok(errno);
                }
                let error = Diagnostic::error("unknown-errno", span, format!("there is no errno `{word}`"));
                let near = did_you_mean(word, Errno::ALL.iter().map(|errno| errno.name()));
                let error = match near {
                    Some(near) => error.help(format!("did you mean `{near}`?")).suggest(span, near),
                    None => error.help("errnos are named as in errno(3): `EPERM`, `EACCES`, `EROFS`, …"),
                };
                self.next();
                self.report(error);
                // For the checks that follow, any errno will do.
                Ok(Errno::EPERM)
            }
            TokenKind::Integer(number) => {
                let error = Diagnostic::error("numeric-errno", span, "an errno is given by its name");
                let named = u32::try_from(number.get().unsigned_abs()).ok().and_then(Errno::from_number);
                let error = match named {
                    Some(errno) => error.help(format!("{number} is `{errno}`")).suggest(span, errno.name()),
                    None => error.help(format!("Linux has no name for {number}")),
                };
                self.next();
                self.report(error);
                Ok(Errno::EPERM)
            }
            _ => Err(self.unexpected("the name of an errno", Some("such as `EPERM`"))),
        }
    }

    /// One of a few words.
    fn choice(&mut self, words: &[&'static str], expected: &str) -> Parse<&'static str> {
        self.expect_words(words);
        let span = self.peek_span();
        if let TokenKind::Word = self.peek().kind {
            let word = self.slice(span);
            if let Some(chosen) = words.iter().copied().find(|candidate| *candidate == word) {
                self.next();
                return Ok(chosen);
            }
            let mut foreign = FOREIGN_ACTIONS.iter().chain(FOREIGN_MODES);
            let foreign = foreign.find(|(foreign, ours)| *foreign == word && words.contains(ours));
            let foreign = foreign.map(|(_, ours)| *ours);
            if let Some(near) = foreign.or_else(|| did_you_mean(word, words.iter().copied())) {
                let error =
                    Diagnostic::error("unknown-word", span, format!("expected {expected}, found `{word}`"))
                        .help(format!("did you mean `{near}`?"))
                        .suggest(span, near);
                return Err(self.report(error));
            }
        }
        Err(self.unexpected(expected, None))
    }

    /// A text between quotes.
    fn text(&mut self, expected: &str, help: Option<&str>) -> Parse<Spanned<Text>> {
        if !matches!(self.peek().kind, TokenKind::Text(_)) {
            if let Some((span, quoted)) = self.quoted_ahead() {
                let message = format!("expected {expected}, found `{}`", self.slice(span));
                let error = Diagnostic::error("unquoted-text", span, message)
                    .help("texts are written between double quotes")
                    .suggest(span, quoted);
                return Err(self.report(error));
            }
            return Err(self.unexpected(expected, help));
        }
        let token = self.next();
        match token.kind {
            TokenKind::Text(text) => Ok(Spanned::new(text, token.span)),
            _ => Err(Reported),
        }
    }

    /// An integer literal.
    fn integer(&mut self, expected: &str, help: Option<&str>) -> Parse<Spanned<Integer>> {
        let TokenKind::Integer(integer) = self.peek().kind else {
            return Err(self.unexpected(expected, help));
        };
        Ok(Spanned::new(integer, self.next().span))
    }

    /// The end of a statement, which must be the end of the line.
    fn end_of_line(&mut self, expected: &str) -> Parse<()> {
        match self.peek().kind {
            TokenKind::Newline | TokenKind::End => Ok(()),
            _ => Err(self.unexpected(expected, None)),
        }
    }
}

/// The error of a policy whose first statement, at `start`, is not its header.
fn missing_header(start: usize) -> Diagnostic {
    let place = Span::new(start, start);
    Diagnostic::error("missing-header", place, "a policy begins with its name")
        .label("expected `policy NAME` before this")
        .help("add a first line such as `policy web-tier`")
        .suggest(place, "policy NAME\n")
}
