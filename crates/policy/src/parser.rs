//! From text to syntax, by recursive descent. Everything that is wrong is reported in one go: after an error, parsing
//! goes on with the next statement.

mod condition;
mod cursor;
mod recovery;
mod rule;
mod test_block;

use crate::lexer::{Lexer, Mark, Token, TokenKind};
use crate::nearest::nearest;
use crate::syntax::{At, RuleSyntax};
use crate::{
    AccessKind, Diagnostic, Errno, Fallback, FallbackAction, Integer, KnobPattern, Mode, Span, TestStep,
    Text, limits,
};

/// All that a file says.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) name: Option<At<String>>,
    pub(crate) mode: Option<At<Mode>>,
    pub(crate) default_read: Option<At<Fallback>>,
    pub(crate) default_write: Option<At<Fallback>>,
    /// What `width 64` declares.
    pub(crate) width_64: Vec<At<KnobPattern>>,
    pub(crate) rules: Vec<RuleSyntax>,
    pub(crate) tests: Vec<TestSyntax>,
    /// What was wrong.
    pub(crate) errors: Vec<Diagnostic>,
    /// Every token that was used, if the caller asked for them; ends of lines only where they end a statement.
    pub(crate) tokens: Vec<Token>,
}

/// A `test` block as written.
#[derive(Debug)]
pub(crate) struct TestSyntax {
    pub(crate) name: At<String>,
    pub(crate) steps: Vec<At<TestStep>>,
    pub(crate) header: Span,
    /// Whether some of it was wrong.
    pub(crate) broken: bool,
}

/// An error has been reported; there is nothing to add.
#[derive(Debug)]
struct Reported;

type Parse<T> = Result<T, Reported>;

/// The words that begin a statement.
const STATEMENTS: &[&str] =
    &["policy", "mode", "width", "default", "allow", "deny", "set", "clamp", "ignore", "test"];

/// The words that begin a rule.
const ACTIONS: &[&str] = &["allow", "deny", "set", "clamp", "ignore"];

/// Words of other languages for our actions.
const FOREIGN_ACTIONS: &[(&str, &str)] = &[
    ("permit", "allow"),
    ("accept", "allow"),
    ("pass", "allow"),
    ("grant", "allow"),
    ("reject", "deny"),
    ("block", "deny"),
    ("drop", "deny"),
    ("forbid", "deny"),
    ("refuse", "deny"),
    ("prohibit", "deny"),
    ("limit", "clamp"),
    ("bound", "clamp"),
    ("rewrite", "set"),
    ("replace", "set"),
    ("force", "set"),
];

/// How many errors are reported: more of them are the work of one mistake, or the file is no policy.
const ERRORS_MAX: usize = 1000;

/// Parses `text`, and keeps its tokens if `keep_tokens`.
pub(crate) fn parse(text: &str, keep_tokens: bool) -> Parsed {
    let mut parser = Parser {
        text,
        lexer: Lexer::new(text),
        peeked: None,
        joined: 0,
        end: 0,
        statement: 0,
        in_test: false,
        stopped: false,
        keep_tokens,
        parsed: Parsed::default(),
    };
    parser.file();
    parser.parsed
}

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    peeked: Option<Token>,
    /// How many brackets are open in which the ends of lines mean nothing.
    joined: usize,
    /// The end of the last token used, ends of lines apart.
    end: usize,
    /// Where the current statement, or step of a test, begins.
    statement: usize,
    in_test: bool,
    /// Whether there were too many errors to go on.
    stopped: bool,
    keep_tokens: bool,
    parsed: Parsed,
}

impl<'a> Parser<'a> {
    fn file(&mut self) {
        let mut first = true;
        while !self.stopped {
            match self.peek().kind {
                TokenKind::End => break,
                TokenKind::Newline => self.skip(),
                _ => {
                    self.statement = self.peek().span.start;
                    if std::mem::take(&mut first) && !self.peek_word("policy") {
                        self.report_missing_header();
                    }
                    if self.statement().is_err() {
                        self.recover();
                    }
                }
            }
        }
        if first && !self.stopped {
            self.report_missing_header();
        }
    }

    fn report_missing_header(&mut self) {
        let start = self.peek().span.start;
        if let TokenKind::Word = self.peek().kind {
            let word = self.peek_slice();
            if nearest(word, ["policy"]).is_some() {
                return; // It is reported as an unknown word.
            }
        }
        let error =
            Diagnostic::error("missing-header", Span::new(start, start), "a policy begins with its name")
                .label("expected `policy NAME` before this")
                .help("add a first line such as `policy web-tier`")
                .suggest(Span::new(start, start), "policy NAME\n");
        self.report(error);
    }

    /// One statement and the end of its line.
    fn statement(&mut self) -> Parse<()> {
        if !matches!(self.peek().kind, TokenKind::Word) {
            return Err(
                self.unexpected("a statement", Some("an action such as `allow` or `deny` begins a rule"))
            );
        }
        let word = self.peek_slice();
        match word {
            "policy" => self.header()?,
            "mode" => self.mode()?,
            "default" => self.default()?,
            "width" => self.width()?,
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
        let error = if let Some(near) = foreign.or_else(|| nearest(word, STATEMENTS.iter().copied())) {
            error.help(format!("did you mean `{near}`?")).suggest(span, near)
        } else if matches!(word, "read" | "write") {
            error.help(format!("the action comes first: `allow {word} …`"))
        } else if matches!(word, "audit" | "enforce") {
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
        let wrong =
            name.char_indices().find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
        if let Some((at, c)) = wrong {
            let span = Span::new(span.start + at, span.start + at + c.len_utf8());
            let error = Diagnostic::error(
                "bad-policy-name",
                span,
                format!("`{}` in the name of a policy", c.escape_debug()),
            )
            .help("names of policies have letters, digits, `-`, `_` and `.`");
            return Err(self.report(error));
        }
        if name.len() > limits::POLICY_NAME_MAX {
            let message = format!("the name of a policy has at most {} bytes", limits::POLICY_NAME_MAX);
            return Err(self.report(Diagnostic::error("bad-policy-name", span, message)));
        }
        if let Some(first) = &self.parsed.name {
            let error = Diagnostic::error("second-header", keyword.to(span), "a file holds one policy")
                .also(first.span, "the first header");
            return Err(self.report(error));
        }
        if !self.parsed.rules.is_empty() || !self.parsed.tests.is_empty() {
            // The missing header has been reported already, at the first statement.
            return Ok(());
        }
        self.parsed.name = Some(At::new(name.to_owned(), keyword.to(span)));
        Ok(())
    }

    /// `mode audit|enforce`
    fn mode(&mut self) -> Parse<()> {
        let keyword = self.next().span;
        let mode = match self.choice(&["audit", "enforce"], "a mode, `audit` or `enforce`")? {
            "audit" => Mode::Audit,
            _ => Mode::Enforce,
        };
        let span = Span::new(keyword.start, self.end);
        if let Some(first) = &self.parsed.mode {
            let error = Diagnostic::error("duplicate-mode", span, "the mode is stated twice")
                .also(first.span, "it is stated here first");
            self.report(error);
        } else {
            self.parsed.mode = Some(At::new(mode, span));
        }
        Ok(())
    }

    /// `width 64 PATTERN, …`
    fn width(&mut self) -> Parse<()> {
        self.next();
        let help = "such as `width 64 vendor.limit`, for a knob whose handler keeps 64 bits";
        let bits = self.integer("`64`", Some(help))?;
        if bits.is != Integer::from(64) {
            let error =
                Diagnostic::error("bad-width", bits.span, "the width that can be declared is 64 bits")
                    .help("a number beyond 32 bits is denied without a declaration")
                    .suggest(bits.span, "64");
            return Err(self.report(error));
        }
        let (patterns, broken) = self.patterns("width 64")?;
        if broken {
            return Err(Reported);
        }
        self.parsed.width_64.extend(patterns);
        Ok(())
    }

    /// `default read|write allow|deny [log|nolog]`
    fn default(&mut self) -> Parse<()> {
        let keyword = self.next().span;
        let kind = match self.choice(&["read", "write"], "`read` or `write`")? {
            "read" => AccessKind::Read,
            _ => AccessKind::Write,
        };
        if self.peek_word("read") || self.peek_word("write") {
            let help = "state the default for each kind of access on a line of its own";
            return Err(self.unexpected("`allow` or `deny`", Some(help)));
        }
        let action = match self.choice(&["allow", "deny"], "`allow` or `deny`")? {
            "allow" => FallbackAction::Allow,
            _ => FallbackAction::Deny(self.errno_in_parens()?),
        };
        let log = self.log();
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
            *slot = Some(At::new(Fallback { action, log }, span));
        }
        Ok(())
    }

    /// `(ERRNO)` behind `deny`, or nothing, which is `EPERM`.
    fn errno_in_parens(&mut self) -> Parse<Errno> {
        if !self.peek_mark(Mark::ParenOpen) {
            if let TokenKind::Word = self.peek().kind {
                let span = self.peek_span();
                let word = self.slice(span);
                if Errno::from_name(word).is_some() {
                    let help = format!("the errno stands in parentheses: `deny({word})`");
                    let error = Diagnostic::error("misplaced-errno", span, "an errno without parentheses")
                        .help(help)
                        .suggest(Span::new(self.end, span.end), format!("({word})"));
                    self.report(error);
                    self.next();
                }
            }
            return Ok(Errno::EPERM);
        }
        self.next();
        let errno = self.errno()?;
        if !self.peek_mark(Mark::ParenClose) {
            return Err(self.unexpected("`)`", None));
        }
        self.next();
        Ok(errno)
    }

    /// The name of an errno.
    fn errno(&mut self) -> Parse<Errno> {
        let span = self.peek_span();
        match self.peek().kind {
            TokenKind::Word => {
                let word = self.slice(span);
                if let Some(errno) = Errno::from_name(word) {
                    self.next();
                    return Ok(errno);
                }
                let error = Diagnostic::error("unknown-errno", span, format!("there is no errno `{word}`"));
                let near = nearest(word, Errno::ALL.iter().map(|errno| errno.name()));
                let error = match near {
                    Some(near) => error.help(format!("did you mean `{near}`?")).suggest(span, near),
                    None => error.help("errnos are named as in errno(3): `EPERM`, `EACCES`, `EROFS`, …"),
                };
                self.next();
                self.report(error);
                // What it was meant to be makes no difference to the checks that follow.
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

    /// `log`, `nolog` or nothing.
    fn log(&mut self) -> Option<bool> {
        let log = self.peek_word("log");
        if !log && !self.peek_word("nolog") {
            return None;
        }
        self.next();
        Some(log)
    }

    /// One of a few words.
    fn choice(&mut self, words: &[&'static str], expected: &str) -> Parse<&'static str> {
        let span = self.peek_span();
        if let TokenKind::Word = self.peek().kind {
            let word = self.slice(span);
            if let Some(chosen) = words.iter().copied().find(|candidate| *candidate == word) {
                self.next();
                return Ok(chosen);
            }
            let foreign = FOREIGN_ACTIONS.iter().find(|(foreign, _)| *foreign == word).map(|(_, ours)| *ours);
            let foreign = foreign.filter(|ours| words.contains(ours));
            if let Some(near) = foreign.or_else(|| nearest(word, words.iter().copied())) {
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
    fn text(&mut self, expected: &str, help: Option<&str>) -> Parse<At<Text>> {
        if !matches!(self.peek().kind, TokenKind::Text(_)) {
            return Err(self.unexpected(expected, help));
        }
        let token = self.next();
        match token.kind {
            TokenKind::Text(text) => Ok(At::new(text, token.span)),
            _ => Err(Reported),
        }
    }

    /// An integer literal.
    fn integer(&mut self, expected: &str, help: Option<&str>) -> Parse<At<Integer>> {
        let TokenKind::Integer(integer) = self.peek().kind else {
            return Err(self.unexpected(expected, help));
        };
        Ok(At::new(integer, self.next().span))
    }

    /// The end of a statement, which has to be that of the line too.
    fn end_of_line(&mut self, expected: &str) -> Parse<()> {
        match self.peek().kind {
            TokenKind::Newline | TokenKind::End => Ok(()),
            _ => Err(self.unexpected(expected, None)),
        }
    }
}
