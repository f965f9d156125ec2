//! `log`, `log(N/s)`, `log(all)` and `nolog`, which end a rule or default.

use super::{Parse, Parser, Reported};
use crate::did_you_mean::did_you_mean;
use crate::lexer::{Punct, TokenKind};
use crate::syntax::Spanned;
use crate::{Diagnostic, EventRate, Integer, Logging, PolicyError, Span};

/// Words for `all`.
const FOREIGN_ALL: &[&str] = &["any", "always", "every", "everything", "unlimited", "infinity"];

/// Words for no events.
const FOREIGN_NONE: &[&str] = &["no", "none", "never", "nothing", "off"];

/// Longer words for `s`.
const SECONDS: &[&str] = &["S", "sec", "secs", "second", "seconds"];

/// Other units of time, with how many seconds they have.
const OTHER_UNITS: &[(&str, i128)] =
    &[("m", 60), ("min", 60), ("minute", 60), ("h", 3600), ("hour", 3600), ("d", 86400), ("day", 86400)];

/// The code of errors in a limit, like that of [`PolicyError::EventRate`].
const BAD_LIMIT: &str = "bad-event-limit";

/// What is expected in the parentheses.
const LIMIT: &str = "`all` or a number of events a second";

/// An example of that.
const EXAMPLE: &str = "such as `log(100/s)`";

impl Parser<'_> {
    /// `log`, `log(N/s)`, `log(all)`, `nolog` or nothing. After an error that has been reported, it may be any of them.
    pub(super) fn logging(&mut self) -> Parse<Option<Spanned<Logging>>> {
        if !self.peek_word("log") && !self.peek_word("nolog") {
            return Ok(None);
        }
        let word = self.next().span;
        let open = self.peek_punct(Punct::ParenOpen) && self.foreign_errno(false).is_none();
        let logging = match (self.slice(word), open) {
            ("log", true) => self.limit(word)?,
            ("log", false) => {
                self.check_parens()?;
                Logging::DEFAULT
            }
            (_, true) => return Err(self.unexpected("the end of the line", Some("only `log` takes a limit"))),
            (_, false) => Logging::Never,
        };
        Ok(Some(Spanned::new(logging, Span::new(word.start, self.end))))
    }

    /// Reports a limit without parentheses if one comes next.
    fn check_parens(&mut self) -> Parse<()> {
        let mut ahead = self.ahead();
        let first = ahead.token();
        let word = self.slice(first.span);
        let (limit, written) = match first.kind {
            TokenKind::Word if word == "all" => (first.span, word.to_owned()),
            TokenKind::Integer(events) if EventRate::per_second(events.get()).is_ok() => {
                let (slash, unit) = (ahead.token(), ahead.token());
                let is_rate = slash.kind == TokenKind::Punct(Punct::Slash) && unit.kind == TokenKind::Word;
                let rate = first.span.to(unit.span);
                if is_rate { (rate, self.slice(rate).to_owned()) } else { (first.span, format!("{word}/s")) }
            }
            _ => return Ok(()),
        };
        let error = Diagnostic::error(BAD_LIMIT, limit, "a limit without parentheses")
            .help(format!("the limit goes in parentheses: `log({written})`"))
            .suggest(Span::new(self.end, limit.end), format!("({written})"));
        Err(self.report(error))
    }

    /// `(all)` or `(N/s)`, after `log`, which is at `word`.
    fn limit(&mut self, word: Span) -> Parse<Logging> {
        self.next();
        self.expect_words(&["all"]);
        match self.peek().kind {
            TokenKind::Punct(Punct::ParenClose) => {
                let close = self.next().span;
                let error = Diagnostic::error(BAD_LIMIT, word.to(close), "this limit is empty")
                    .help(format!(
                        "`log` alone is {}/s; for another limit, write `log(100/s)`",
                        EventRate::DEFAULT.get()
                    ))
                    .suggest(Span::new(word.end, close.end), "");
                self.report(error);
                Ok(Logging::DEFAULT)
            }
            TokenKind::Word => self.no_number(word),
            TokenKind::Integer(events) => self.rate(word, events),
            _ => Err(self.unexpected(LIMIT, Some(EXAMPLE))),
        }
    }

    /// `all)`, or another word.
    fn no_number(&mut self, log: Span) -> Parse<Logging> {
        let span = self.peek_span();
        let word = self.slice(span);
        if word == "all" {
            self.next();
            self.close_limit()?;
            return Ok(Logging::All);
        }
        if FOREIGN_NONE.contains(&word) {
            self.next();
            self.close_limit()?;
            let error = Diagnostic::error(BAD_LIMIT, span, format!("there is no limit `{word}`"))
                .help("for no events, write `nolog`")
                .suggest(Span::new(log.start, self.end), "nolog");
            self.report(error);
            return Ok(Logging::Never);
        }
        if FOREIGN_ALL.contains(&word) || did_you_mean(word, ["all"]).is_some() {
            let error = Diagnostic::error(BAD_LIMIT, span, format!("there is no limit `{word}`"))
                .help("did you mean `all`?")
                .suggest(span, "all");
            return Err(self.report(error));
        }
        Err(self.unexpected(LIMIT, Some(EXAMPLE)))
    }

    /// `N/s)`
    fn rate(&mut self, log: Span, events: Integer) -> Parse<Logging> {
        let number = self.peek_span();
        if let Some(digits) = self.slice(number).strip_suffix('s')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && digits.parse::<u32>().is_ok_and(|events| EventRate::per_second(events).is_ok())
        {
            let error = Diagnostic::error(BAD_LIMIT, number, "a limit is in events a second")
                .help(format!("write `{digits}/s`"))
                .suggest(number, format!("{digits}/s"));
            return Err(self.report(error));
        }
        if self.next_is_broken() {
            return Err(Reported);
        }
        let rate =
            EventRate::per_second(events.get()).map_err(|error| self.out_of_range(log, number, &error))?;
        if !self.peek_punct(Punct::Slash) {
            return Err(self.missing_unit(number));
        }
        self.next();
        self.unit(number, events)?;
        self.close_limit()?;
        Ok(Logging::Limited(rate))
    }

    /// Reports that the number, which has been used, is not the number of a limit.
    fn out_of_range(&mut self, log: Span, number: Span, error: &PolicyError) -> Reported {
        let mut ahead = self.ahead();
        let end = loop {
            let token = ahead.token();
            if !matches!(token.kind, TokenKind::Punct(Punct::Slash) | TokenKind::Word) {
                break token;
            }
        };
        let replacement = match error {
            PolicyError::EventRate { events: 0 } => "nolog",
            PolicyError::EventRate { events } if *events > 0 => "log(all)",
            _ => "",
        };
        let diagnostic = Diagnostic::invalid(error, number);
        let is_clear = !replacement.is_empty() && end.kind == TokenKind::Punct(Punct::ParenClose);
        self.report(if is_clear { diagnostic.suggest(log.to(end.span), replacement) } else { diagnostic })
    }

    /// Reports that there is no `/s` after the number.
    fn missing_unit(&mut self, number: Span) -> Reported {
        let number_text = self.slice(number);
        let mut ahead = self.ahead();
        let token = ahead.token();
        let end = match token.kind {
            TokenKind::Word if self.slice(token.span) == "per" => ahead.token().span,
            TokenKind::Word => token.span,
            _ => Span::new(self.end, self.end),
        };
        let is_second = matches!(self.slice(end), "" | "s") || SECONDS.contains(&self.slice(end));
        let error = Diagnostic::error(BAD_LIMIT, number.to(end), "a limit is in events a second")
            .help(format!("write `{number_text}/s`"));
        self.report(if is_second { error.suggest(Span::new(number.end, end.end), "/s") } else { error })
    }

    /// `s`, after `N/`.
    fn unit(&mut self, number: Span, events: Integer) -> Parse<()> {
        let span = self.peek_span();
        if matches!(
            self.peek().kind,
            TokenKind::Punct(Punct::ParenClose) | TokenKind::Newline | TokenKind::End
        ) {
            let place = Span::new(self.end, self.end);
            let error = Diagnostic::error(BAD_LIMIT, place, "a limit is in events a second");
            return Err(self.report(error.help("write `s` after the `/`").suggest(place, "s")));
        }
        if self.peek().kind != TokenKind::Word {
            return Err(self.unexpected("`s`", Some("a limit is in events a second: `log(100/s)`")));
        }
        let word = self.slice(span);
        if word == "s" {
            self.next();
            return Ok(());
        }
        let error = Diagnostic::error(BAD_LIMIT, span, "a limit is in events a second");
        if SECONDS.contains(&word) {
            return Err(self.report(error.help("write `s`").suggest(span, "s")));
        }
        let seconds = OTHER_UNITS.iter().find(|(unit, _)| *unit == word).map(|(_, seconds)| *seconds);
        let exact = seconds.filter(|seconds| events.get() % seconds == 0);
        Err(self.report(match exact {
            Some(seconds) => {
                let rate = format!("{}/s", events.get() / seconds);
                error.help(format!("write `{rate}`")).suggest(number.to(span), rate)
            }
            None => error.help("the lowest limit is one event a second, `1/s`"),
        }))
    }

    /// The `)` after a limit.
    fn close_limit(&mut self) -> Parse<()> {
        if self.peek_punct(Punct::ParenClose) {
            self.next();
            return Ok(());
        }
        if !matches!(self.peek().kind, TokenKind::Newline | TokenKind::End | TokenKind::Word) {
            return Err(self.unexpected("`)`", None));
        }
        let place = Span::new(self.end, self.end);
        let error = Diagnostic::error("unclosed-limit", place, "expected `)`")
            .help("close the parenthesis after the limit")
            .suggest(place, ")");
        Err(self.report(error))
    }
}
