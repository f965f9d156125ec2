//! Notations of sysctl.d, nftables, AppArmor, SQL and C. The parser recognises them to suggest the right one. Most
//! functions look ahead and use no token.

mod condition;
mod rule;

pub(super) use condition::FOREIGN_PREDICATES;

use super::{Parse, Parser};
use crate::did_you_mean::did_you_mean;
use crate::lexer::{Lexer, Punct, TokenKind};
use crate::{Diagnostic, Errno, Span};

/// Words before an errno.
const BEFORE_ERRNO: &[&str] = &["with", "errno", "error", "code", "return", "returns", "returning", "as"];

/// Words between the kind of access and the name of a knob.
const PREPOSITIONS: &[&str] = &["access", "accesses", "to", "on", "of", "for", "from", "at"];

/// A range in another notation.
pub(super) struct ForeignRange {
    /// The code of the error.
    pub(super) code: &'static str,
    pub(super) span: Span,
    /// The same range in our notation.
    pub(super) replacement: String,
}

impl<'a> Parser<'a> {
    /// A lexer at the next token.
    pub(super) fn ahead(&mut self) -> Lexer<'a> {
        let start = self.peek_span().start;
        let mut ahead = self.lexer.clone();
        ahead.go_to(start);
        ahead
    }

    /// Whether the word at `span` is not just the beginning of a name.
    pub(super) fn is_whole(&self, span: Span) -> bool {
        !self.text[span.end..].starts_with(['.', '/', '*', '?', '{', '[', '-'])
    }

    /// Whether `text` looks like the name of a knob. Every knob is in a directory.
    pub(super) fn looks_like_name(text: &str) -> bool {
        let begins = !text.starts_with(['.', '*', '?']) && !text.starts_with("//");
        text.contains(['.', '/', '*']) && begins || text.starts_with("**")
    }

    /// The name at the next token, without using it.
    pub(super) fn name_ahead(&mut self) -> &'a str {
        let span = self.ahead().name().span;
        self.slice(span)
    }

    /// `1-5`, `1 to 5`, `1..=5`, `between 1 and 5` and so on, if one comes next.
    pub(super) fn foreign_range(&mut self) -> Option<ForeignRange> {
        let mut ahead = self.ahead();
        let mut token = ahead.token();
        let start = token.span.start;
        let in_words = token.kind == TokenKind::Word && matches!(self.slice(token.span), "between" | "from");
        if in_words {
            token = ahead.token();
        }
        let (TokenKind::Integer(_), None) = (&token.kind, &token.problem) else { return None };
        let low = token.span;
        let separator = ahead.token();
        let mut exclusive = false;
        let code = match separator.kind {
            TokenKind::Integer(high) if high.is_negative() && separator.span.start == low.end => {
                let replacement = format!("{}..{}", self.slice(low), &self.slice(separator.span)[1..]);
                let span = Span::new(start, separator.span.end);
                return Some(ForeignRange { code: "range-dash", span, replacement });
            }
            TokenKind::Stray('-') => "range-dash",
            TokenKind::Punct(Punct::RangeEqual) => "range-equal",
            TokenKind::Punct(Punct::Ellipsis) | TokenKind::Stray(':') => "foreign-range",
            TokenKind::Punct(Punct::Range) => {
                let mut following = ahead.clone();
                exclusive = following.token().kind == TokenKind::Punct(Punct::Less);
                if exclusive {
                    ahead = following;
                } else if !in_words {
                    return None;
                }
                "foreign-range"
            }
            TokenKind::Punct(Punct::Comma) if in_words => "foreign-range",
            TokenKind::Word => match self.slice(separator.span) {
                "and" if in_words => "foreign-range",
                "to" | "through" => "foreign-range",
                _ => return None,
            },
            _ => return None,
        };
        let high = ahead.token();
        let (TokenKind::Integer(end), None) = (&high.kind, &high.problem) else { return None };
        if let TokenKind::Punct(Punct::Range | Punct::RangeEqual | Punct::Ellipsis) = ahead.token().kind {
            return None;
        }
        let end = if exclusive { (end.get() - 1).to_string() } else { self.slice(high.span).to_owned() };
        let replacement = format!("{}..{end}", self.slice(low));
        Some(ForeignRange { code, span: Span::new(start, high.span.end), replacement })
    }

    /// `EACCES`, `with EACCES`, `errno = 13`, `(EACCES)` and so on, if one comes next. With `numbers`, a number alone
    /// counts too.
    pub(super) fn foreign_errno(&mut self, numbers: bool) -> Option<(Errno, Span)> {
        let mut ahead = self.ahead();
        let start = self.peek_span().start;
        let (mut announced, mut open) = (false, false);
        let token = loop {
            let token = ahead.token();
            match token.kind {
                TokenKind::Word if BEFORE_ERRNO.contains(&self.slice(token.span)) => announced = true,
                TokenKind::Punct(Punct::Assign | Punct::Arrow | Punct::ThinArrow)
                | TokenKind::Stray(':' | '-') => {}
                TokenKind::Punct(Punct::ParenOpen | Punct::BracketOpen | Punct::BraceOpen) if !open => {
                    open = true;
                }
                _ => break token,
            }
        };
        let errno = match &token.kind {
            TokenKind::Word if self.is_whole(token.span) => errno_like(self.slice(token.span), announced)?,
            TokenKind::Text(text) => Errno::from_name(std::str::from_utf8(text.as_bytes()).ok()?)?,
            TokenKind::Integer(number) if announced || numbers => {
                Errno::from_number(u32::try_from(number.get().unsigned_abs()).ok()?)?
            }
            _ => return None,
        };
        let mut end = token.span.end;
        if open {
            let close = ahead.token();
            let TokenKind::Punct(Punct::ParenClose | Punct::BracketClose | Punct::BraceClose) = close.kind
            else {
                return None;
            };
            end = close.span.end;
        }
        Some((errno, Span::new(start, end)))
    }

    /// Reports an errno if one comes next. It is in the wrong place: `deny` has it in parentheses.
    pub(super) fn no_errno_here(&mut self) -> Parse<()> {
        let Some((errno, span)) = self.foreign_errno(false) else { return Ok(()) };
        let error = Diagnostic::error("misplaced-errno", span, "an errno goes directly after `deny`");
        let deny = self.statement + "deny".len();
        let between = self.slice(Span::new(self.statement, span.start)).strip_prefix("deny");
        Err(self.report(match between.filter(|between| !between.trim_start().starts_with('(')) {
            Some(between) => error
                .help(format!("the errno goes in parentheses: `deny({errno})`"))
                .suggest(Span::new(deny, span.end), format!("({errno}){}", between.trim_end())),
            None => error.help("only `deny` takes an errno, and only one"),
        }))
    }

    /// Whether `read` or `write` comes next after a comma, an `and`, a `|` and so on; if so, the separator is reported.
    pub(super) fn joined_kinds(&mut self) -> bool {
        let mut ahead = self.ahead();
        let joint = ahead.token();
        let joins = match joint.kind {
            TokenKind::Punct(Punct::Comma | Punct::DoubleAnd | Punct::DoubleOr | Punct::Slash) => true,
            TokenKind::Punct(Punct::Ampersand) => true,
            TokenKind::Stray(c) => matches!(c, '|' | '+' | '-'),
            TokenKind::Word => matches!(self.slice(joint.span), "and" | "or"),
            _ => false,
        };
        let kind = ahead.token();
        let is_kind = matches!(self.slice(kind.span), "read" | "write") && self.is_whole(kind.span);
        if joins && is_kind {
            let message = format!("`{}` between the kinds of access", self.slice(joint.span));
            let error = Diagnostic::error("joined-kinds", joint.span, message)
                .help("write `read write`")
                .suggest(Span::new(self.end, kind.span.start), " ");
            self.report(error);
            self.peeked = None;
            self.lexer.go_to(kind.span.start);
        }
        joins && is_kind
    }

    /// Reports and skips words such as `to` in `deny write to kernel.panic`.
    pub(super) fn skip_prepositions(&mut self) {
        let mut ahead = self.ahead();
        let start = self.peek_span().start;
        let mut name = start;
        loop {
            let word = ahead.token();
            if !PREPOSITIONS.contains(&self.slice(word.span)) || !self.is_whole(word.span) {
                break;
            }
            ahead.skip_blanks();
            name = ahead.at();
        }
        ahead.go_to(name);
        if name > start && Self::looks_like_name(self.slice(ahead.name().span)) {
            let span = Span::new(start, name);
            let word = Span::new(start, start + self.slice(span).trim_end().len());
            let message = format!("`{}` before the name of a knob", self.slice(word));
            let error = Diagnostic::error("stray-word", word, message)
                .help("the name follows the kind of access")
                .suggest(span, "");
            self.report(error);
            self.peeked = None;
            self.lexer.go_to(name);
        }
    }

    /// The rest of the next word, up to a blank or the end of a list, with quotes added: for an unquoted text.
    pub(super) fn quoted_ahead(&mut self) -> Option<(Span, String)> {
        const KEYWORDS: &[&str] = &["and", "or", "not", "if", "to", "log", "nolog"];
        let start = self.peek_span().start;
        let starts = match self.peek().kind {
            TokenKind::Word | TokenKind::Integer(_) => true,
            TokenKind::Punct(Punct::Slash) => true,
            TokenKind::Stray(c) => matches!(c, '-' | '*' | '.' | '%' | '+' | '|'),
            _ => false,
        };
        let rest = &self.text[start..];
        let end =
            rest.find(|c: char| c.is_whitespace() || ",(){}[]\"'#;=<>".contains(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        (starts && !KEYWORDS.contains(&word))
            .then(|| (Span::new(start, start + end), crate::Text::from(word).to_string()))
    }
}

/// The errno with this name, in any case; if `announced`, also one with a similar name.
fn errno_like(word: &str, announced: bool) -> Option<Errno> {
    Errno::from_name(&word.to_ascii_uppercase()).or_else(|| {
        let uppercase = word.starts_with('E') && !word.contains(|c: char| c.is_ascii_lowercase());
        let near = did_you_mean(word, Errno::ALL.iter().map(|errno| errno.name()))
            .filter(|_| announced || uppercase);
        near.and_then(Errno::from_name)
    })
}
