//! `test "…" { … }`

use super::rule::{notation_diagnostic, reserved_word};
use super::{ACTIONS, Parse, Parser, Reported};
use crate::did_you_mean::did_you_mean;
use crate::editor::Candidate;
use crate::lexer::{Punct, TokenKind};
use crate::syntax::{Spanned, StepSyntax, TestSyntax};
use crate::{Access, Diagnostic, Expected, KnobName, KnobNetns, Span, Text};

/// The words that begin a step.
pub(crate) const STEPS: &[&str] = &["read", "write"];

/// What a step may state of its access.
pub(crate) const PROPERTIES: &[&str] = &["old", "pos", "uid", "gid", "comm", "netns"];

/// Words for parts of a step in other languages.
const FOREIGN_WORDS: &[(&str, &str)] = &[
    ("current", "old"),
    ("user", "uid"),
    ("group", "gid"),
    ("offset", "pos"),
    ("position", "pos"),
    ("process", "comm"),
    ("command", "comm"),
    ("net_ns", "netns"),
];

impl Parser<'_> {
    pub(super) fn test_block(&mut self) -> Parse<()> {
        let keyword = self.next().span;
        let before = self.parsed.errors.len();
        let (name, header) = self.test_name(keyword)?;
        let open = self.next().span;
        self.in_test = true;
        let mut steps = Vec::new();
        let closed = self.steps(&mut steps, open);
        self.in_test = false;
        let broken = self.parsed.errors.len() > before;
        self.parsed.tests.push(TestSyntax { name, steps, header, broken });
        if closed { Ok(()) } else { Err(Reported) }
    }

    /// The name, and the whole header. Stops before the `{`, even if there is no name before it.
    fn test_name(&mut self, keyword: Span) -> Parse<(Spanned<String>, Span)> {
        let name = match self.text("the name of the test", Some("such as `test \"core dumps are safe\" {`")) {
            Ok(name) => name,
            Err(Reported) => {
                while !matches!(
                    self.peek().kind,
                    TokenKind::Punct(Punct::BraceOpen) | TokenKind::Newline | TokenKind::End
                ) {
                    self.next();
                }
                if !self.peek_punct(Punct::BraceOpen) {
                    return Err(Reported);
                }
                Spanned::new(Text::default(), keyword)
            }
        };
        let text = String::from_utf8(name.node.into_bytes()).unwrap_or_else(|error| {
            self.report(Diagnostic::error("not-utf8", name.span, "the name of a test must be UTF-8"));
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        });
        if !self.peek_punct(Punct::BraceOpen) {
            return Err(self.unexpected("`{`", None));
        }
        Ok((Spanned::new(text, name.span), keyword.to(name.span)))
    }

    /// The steps up to `}`; whether there was one.
    fn steps(&mut self, steps: &mut Vec<StepSyntax>, open: Span) -> bool {
        loop {
            if self.stopped {
                return false;
            }
            let a_rule_begins = self.rule_begins();
            self.expect_step();
            match self.peek().kind {
                TokenKind::Newline => self.skip(),
                TokenKind::Punct(Punct::BraceClose) => {
                    self.next();
                    return true;
                }
                TokenKind::End => {
                    self.report(Diagnostic::error("unclosed-test", open, "this `{` is never closed"));
                    return false;
                }
                _ if a_rule_begins => {
                    let span = self.peek_span();
                    let error = Diagnostic::error("unclosed-test", open, "this `{` is never closed")
                        .also(span, "a rule begins here, and a test contains no rules");
                    self.report(error);
                    return false;
                }
                _ => {
                    self.statement = self.peek_span().start;
                    match self.step() {
                        Ok(step) => steps.push(step),
                        Err(Reported) => self.recover(),
                    }
                }
            }
        }
    }

    /// Whether an action and a kind of access come next.
    fn rule_begins(&mut self) -> bool {
        let span = self.peek_span();
        let rest = self.text[span.end..].trim_start_matches([' ', '\t']);
        self.peek().kind == TokenKind::Word
            && ACTIONS.contains(&self.slice(span))
            && (rest.starts_with("read ") || rest.starts_with("write "))
    }

    /// `read|write KNOB ["new text"] [old "…"] [pos N] [uid N] [gid N] [comm "…"] [netns host|other] => …`
    fn step(&mut self) -> Parse<StepSyntax> {
        let start = self.peek_span().start;
        let is_write = self.choice(STEPS, "`read`, `write` or `}`")? == "write";
        let (knob, mut broken) = self.knob()?;
        let mut access = Access::read(knob);
        if let TokenKind::Text(_) = self.peek().kind {
            let text = self.text("the text that is written", None)?;
            if is_write {
                access.new = Some(text.node.into_bytes());
            } else {
                let error = Diagnostic::error("read-with-text", text.span, "a read writes nothing")
                    .help("what the knob holds is stated as `old \"…\"`")
                    .suggest(Span::new(text.span.start, text.span.start), "old ");
                self.report(error);
                broken = true;
            }
        } else if is_write {
            if let Some((span, quoted)) = self.written_ahead() {
                let error = Diagnostic::error("unquoted-text", span, "expected the text that is written")
                    .help("the bytes go in quotes after the knob")
                    .suggest(span, quoted);
                return Err(self.report(error));
            }
            let help = "write `\"\"` for a write of no bytes";
            return Err(self.unexpected("the text that is written", Some(help)));
        }
        let (comm, netns) = self.properties(&mut access)?;
        let expected = self.expected()?;
        if !self.peek_punct(Punct::BraceClose) {
            self.end_of_line("the end of the line")?;
        }
        if broken {
            return Err(Reported);
        }
        Ok(StepSyntax { access, comm, netns, expected, span: Span::new(start, self.end) })
    }

    /// `5`, `=5` and `new "5"` instead of a quoted text.
    fn written_ahead(&mut self) -> Option<(Span, String)> {
        let start = self.end;
        let mut ahead = self.ahead();
        let mut token = ahead.token();
        if token.kind == TokenKind::Punct(Punct::Assign) || self.slice(token.span) == "new" {
            token = ahead.token();
        }
        let text = match token.kind {
            TokenKind::Text(_) => self.slice(token.span).to_owned(),
            TokenKind::Integer(_) => Text::from(self.slice(token.span)).to_string(),
            _ => return None,
        };
        Some((Span::new(start, token.span.end), format!(" {text}")))
    }

    /// The name of a knob, and whether it had an error.
    fn knob(&mut self) -> Parse<(KnobName, bool)> {
        let token = self.next_candidate(Candidate::Name);
        let text = self.slice(token.span);
        if text.is_empty() {
            if let TokenKind::Text(text) = &self.peek().kind
                && let Ok(name) = std::str::from_utf8(text.as_bytes())
                && KnobName::parse(name).is_ok()
            {
                let (name, span) = (name.to_owned(), self.peek_span());
                let error = Diagnostic::error("quoted-pattern", span, "names are written without quotes");
                return Err(self.report(error.help("drop the quotes").suggest(span, name)));
            }
            return Err(self.unexpected("the name of a knob", None));
        }
        if let Some(error) = reserved_word(token.span, text, None) {
            return Err(self.report(error));
        }
        KnobName::parse(text).map(|knob| (knob, false)).or_else(|error| {
            self.report(notation_diagnostic(error, token.span.start, text));
            KnobName::parse("unknown").map(|knob| (knob, true)).map_err(|_| Reported)
        })
    }

    /// `old "…"`, `pos N`, `uid N`, `gid N`, `comm "…"`, `netns host`, each at most once. Returns the places of the last two.
    fn properties(&mut self, access: &mut Access) -> Parse<(Option<Span>, Option<Span>)> {
        let mut seen: Vec<&str> = Vec::new();
        let (mut comm, mut netns) = (None, None);
        loop {
            self.expect_properties(&seen);
            let TokenKind::Word = self.peek().kind else { return Ok((comm, netns)) };
            let span = self.peek_span();
            let word = self.slice(span);
            if !PROPERTIES.contains(&word) {
                let error = Diagnostic::error("unknown-word", span, format!("expected `=>`, found `{word}`"));
                let foreign =
                    FOREIGN_WORDS.iter().find(|(foreign, _)| *foreign == word).map(|(_, ours)| *ours);
                let error = match foreign.or_else(|| did_you_mean(word, PROPERTIES.iter().copied())) {
                    Some(near) => error.help(format!("did you mean `{near}`?")).suggest(span, near),
                    None if matches!(word, "allow" | "deny" | "set") => error
                        .help(format!("write `=> {word}`"))
                        .suggest(Span::new(span.start, span.start), "=> "),
                    None => error
                        .help("a step may state `old`, `pos`, `uid`, `gid`, `comm` and `netns` before `=>`"),
                };
                return Err(self.report(error));
            }
            if seen.contains(&word) {
                self.report(Diagnostic::error("duplicate-word", span, format!("`{word}` is stated twice")));
            }
            seen.push(word);
            self.next();
            match word {
                "old" => access.old = Some(self.text("what the knob holds", None)?.node.into_bytes()),
                "pos" => access.pos = self.bounded("a file position")?,
                "uid" => access.task.uid = self.bounded("a user id")?,
                "gid" => access.task.gid = self.bounded("a group id")?,
                "netns" => {
                    let start = self.peek_span();
                    let is_host = self.choice(&["host", "other"], "`host` or `other`")? == "host";
                    netns = Some(span.to(start));
                    access.knob_netns = Some(if is_host { KnobNetns::Host } else { KnobNetns::Other });
                }
                _ => {
                    let name = self.text("the name of a task", None)?;
                    comm = Some(name.span);
                    access.task.comm = name.node.into_bytes();
                }
            }
        }
    }

    /// An integer that fits.
    fn bounded<T: TryFrom<i128> + Default>(&mut self, what: &str) -> Parse<T> {
        let integer = self.integer(what, None)?;
        Ok(T::try_from(integer.node.get()).unwrap_or_else(|_| {
            let message = format!("{what} has {} bits and no sign", size_of::<T>() * 8);
            self.report(Diagnostic::error("integer-too-large", integer.span, message));
            T::default()
        }))
    }

    /// `=> allow`, `=> deny [ERRNO]`, `=> set "…"`
    fn expected(&mut self) -> Parse<Spanned<Expected>> {
        self.expect_words(&["=>"]);
        match self.peek().kind {
            TokenKind::Punct(Punct::Arrow) => {}
            TokenKind::Punct(Punct::ThinArrow | Punct::Assign | Punct::Equal) | TokenKind::Stray(':') => {
                let span = self.peek_span();
                let error = Diagnostic::error(
                    "not-an-arrow",
                    span,
                    format!("expected `=>`, found `{}`", self.slice(span)),
                )
                .help("the expected verdict goes after `=>`")
                .suggest(span, "=>");
                self.report(error);
            }
            _ => {
                return Err(
                    self.unexpected("`=>`", Some("a step ends with `=> allow`, `=> deny` or `=> set \"…\"`"))
                );
            }
        }
        self.next();
        let span = self.peek_span();
        if let Some((errno, errno_span)) = self.foreign_errno(false) {
            let error = Diagnostic::error("missing-deny", errno_span, "expected `allow`, `deny` or `set`")
                .help(format!("write `deny {errno}`"))
                .suggest(errno_span, format!("deny {errno}"));
            return Err(self.report(error));
        }
        let expected = match self.choice(&["allow", "deny", "set"], "`allow`, `deny` or `set`")? {
            "allow" => Expected::Allow,
            "deny" => match self.peek_for_errno() {
                TokenKind::Word | TokenKind::Integer(_) => Expected::Deny(Some(self.errno()?)),
                TokenKind::Punct(Punct::ParenOpen) => {
                    let (start, before) = (self.peek_span(), self.end);
                    let errno = self.errno_in_parens()?;
                    let span = Span::new(before, self.end);
                    let error = Diagnostic::error("parenthesised-errno", start, "an errno in parentheses")
                        .help(format!("in a test, write `deny {errno}`"))
                        .suggest(span, format!(" {errno}"));
                    self.report(error);
                    Expected::Deny(Some(errno))
                }
                _ => Expected::Deny(None),
            },
            _ => Expected::Set(self.text("the bytes that are written instead", None)?.node),
        };
        Ok(Spanned::new(expected, span))
    }
}
