//! The layout of a policy file. Comments, lines and the notation of names and integers stay as they are; white space
//! and escapes in texts are normalised, except for those of characters that nobody would see.

use crate::lexer::{Punct, Token, TokenKind};
use crate::parser::{self, Parsed};
use crate::terminal::{escape, is_interpreted};
use crate::{ParseError, Source, Span, check};

/// The text of `source`, laid out.
///
/// ```
/// use knobgate_policy::{Source, format};
///
/// let text = "policy  x # a name\n\n\n\nallow write vm.a  if new in{1,2 ,0x10}";
/// assert_eq!(
///     format(&Source::new("x.knob", text)).unwrap(),
///     "policy x  # a name\n\nallow write vm.a if new in {1, 2, 0x10}\n"
/// );
/// ```
///
/// # Errors
/// The syntax errors. A text that parses but is not a valid policy, such as a rule that compares two literals, can
/// still be formatted.
pub fn format(source: &Source) -> Result<String, ParseError> {
    if let Some(error) = check::encoding_error(source) {
        return Err(ParseError::new(source.clone(), vec![error]));
    }
    let Parsed { errors, tokens, .. } = parser::parse_tokens(source.text());
    if !errors.is_empty() {
        return Err(ParseError::new(source.clone(), errors));
    }
    let mut layout =
        Layout { text: source.text(), lines: Vec::new(), open: Vec::new(), test: TestPosition::None };
    layout.tokens(&tokens);
    let line_end = if first_line_is_crlf(source.text()) { "\r\n" } else { "\n" };
    Ok(finished(&layout.lines, line_end))
}

fn first_line_is_crlf(text: &str) -> bool {
    text.find('\n').is_some_and(|at| text[..at].ends_with('\r'))
}

struct Layout<'a> {
    text: &'a str,
    lines: Vec<Line>,
    /// The open brackets in the current statement.
    open: Vec<Punct>,
    test: TestPosition,
}

#[derive(Default)]
struct Line {
    /// White space before, in characters.
    indent: usize,
    code: String,
    /// With its `#`.
    comment: Option<String>,
}

/// Where the current token is, relative to a `test` block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TestPosition {
    None,
    /// Between `test` and `{`.
    Header,
    Steps,
}

impl Layout<'_> {
    fn tokens(&mut self, tokens: &[Token]) {
        let mut before: Option<&Token> = None;
        // Whether the next token begins a statement, or a step of a test.
        let mut fresh = true;
        for token in tokens {
            if token.kind == TokenKind::Newline {
                fresh = true;
                continue;
            }
            let gap_start = before.map_or(0, |before| before.span.end);
            let closes_test = self.test == TestPosition::Steps
                && self.open.is_empty()
                && token.kind == TokenKind::Punct(Punct::BraceClose);
            let after_test_open = before.is_some_and(|before| {
                self.test == TestPosition::Steps
                    && self.open.is_empty()
                    && before.kind == TokenKind::Punct(Punct::BraceOpen)
            });
            let apart = closes_test || after_test_open;
            fresh |= apart;
            let steps = usize::from(self.test == TestPosition::Steps) * 2;
            let inside = 2 * self.open.len().max(usize::from(!fresh));
            let closer = is_closer(&token.kind);
            let indent = if closes_test {
                0
            } else if closer {
                steps + 2 * self.open.len().saturating_sub(1)
            } else {
                steps + inside
            };
            let on_new_line =
                self.gap(Span::new(gap_start, token.span.start), steps + inside) || apart || before.is_none();
            if on_new_line {
                self.start_line();
                self.line().indent = indent;
            } else if !before.is_some_and(|before| self.glued(before, token)) {
                self.line().code.push(' ');
            }
            let text = self.text(token);
            self.line().code.push_str(&text);
            self.track(token, fresh, closes_test);
            fresh = false;
            before = Some(token);
        }
        let end = before.map_or(0, |before| before.span.end);
        self.gap(Span::new(end, self.text.len()), 0);
    }

    /// Keeps count of brackets and tests.
    fn track(&mut self, token: &Token, fresh: bool, closes_test: bool) {
        match token.kind {
            TokenKind::Word
                if fresh && self.test == TestPosition::None && &self.text[token.span.range()] == "test" =>
            {
                self.test = TestPosition::Header;
            }
            TokenKind::Punct(Punct::BraceOpen) if self.test == TestPosition::Header => {
                self.test = TestPosition::Steps;
            }
            TokenKind::Punct(punct @ (Punct::ParenOpen | Punct::BracketOpen | Punct::BraceOpen)) => {
                self.open.push(punct);
            }
            _ if closes_test => self.test = TestPosition::None,
            ref kind if is_closer(kind) => {
                self.open.pop();
            }
            _ => {}
        }
    }

    /// Lays out white space and comments between two tokens. Returns whether it ended a line.
    fn gap(&mut self, gap: Span, indent: usize) -> bool {
        let gap = self.text[gap.range()].trim_start_matches('\u{feff}');
        let mut pieces = gap.split('\n');
        // After the token, on its line.
        if let Some(comment) = comment(pieces.next().unwrap_or_default()) {
            if self.lines.is_empty() {
                self.start_line();
            }
            self.line().comment = Some(comment);
        }
        let mut ended = false;
        let mut blank_lines = 0;
        for piece in pieces {
            ended = true;
            match comment(piece) {
                None if piece.trim().is_empty() => blank_lines += 1,
                None => {}
                Some(comment) => {
                    self.blank_line(blank_lines);
                    blank_lines = 0;
                    self.start_line();
                    *self.line() = Line { indent, code: String::new(), comment: Some(comment) };
                }
            }
        }
        // The last piece is the start of the next token's line.
        if ended {
            self.blank_line(blank_lines.max(1) - 1);
        }
        ended
    }

    fn blank_line(&mut self, wanted: usize) {
        if wanted > 0 && !self.lines.is_empty() {
            self.lines.push(Line::default());
        }
    }

    fn start_line(&mut self) {
        self.lines.push(Line::default());
    }

    fn line(&mut self) -> &mut Line {
        if self.lines.is_empty() {
            self.start_line();
        }
        let last = self.lines.len() - 1;
        &mut self.lines[last]
    }

    fn text(&self, token: &Token) -> String {
        match &token.kind {
            TokenKind::Text(text) => {
                let is_escaped = !self.text[token.span.range()].contains(is_interpreted);
                let text = text.to_string();
                if is_escaped { escape(text.as_bytes()) } else { text }
            }
            _ => self.text[token.span.range()].to_owned(),
        }
    }

    /// Whether there is no space between two tokens.
    fn glued(&self, before: &Token, token: &Token) -> bool {
        use Punct::{
            BraceClose, BraceOpen, BracketClose, BracketOpen, Comma, ParenClose, ParenOpen, Range, Slash,
        };
        let word = &self.text[before.span.range()];
        match (&before.kind, &token.kind) {
            (_, TokenKind::Punct(Comma | ParenClose | BracketClose | BraceClose)) => true,
            (TokenKind::Punct(ParenOpen | BracketOpen | BraceOpen), _) => true,
            (TokenKind::Word, TokenKind::Punct(ParenOpen)) => {
                matches!(word, "deny" | "count" | "each" | "ranges" | "log" | "label")
            }
            (TokenKind::Word, TokenKind::Punct(BracketOpen)) => matches!(word, "new" | "old"),
            (_, TokenKind::Punct(Slash)) | (TokenKind::Punct(Slash), _) => true,
            (TokenKind::Integer(_), TokenKind::Punct(Range))
            | (TokenKind::Punct(Range), TokenKind::Integer(_)) => true,
            _ => false,
        }
    }
}

fn is_closer(kind: &TokenKind) -> bool {
    matches!(kind, TokenKind::Punct(Punct::ParenClose | Punct::BracketClose | Punct::BraceClose))
}

/// The comment in a stretch of white space, if there is one.
fn comment(gap: &str) -> Option<String> {
    gap.find('#').map(|at| gap[at..].trim_end().to_owned())
}

/// The lines with their ends. Comments after neighbouring lines of code are aligned.
fn finished(lines: &[Line], line_end: &str) -> String {
    let last = lines
        .iter()
        .rposition(|line| !line.code.is_empty() || line.comment.is_some())
        .map_or(0, |last| last + 1);
    let lines = &lines[..last];
    let width = |line: &Line| line.indent + line.code.chars().count();
    let has_both = |line: &Line| !line.code.is_empty() && line.comment.is_some();
    let mut text = String::new();
    let mut column = 0;
    for (i, line) in lines.iter().enumerate() {
        if has_both(line) && (i == 0 || !has_both(&lines[i - 1])) {
            let group = lines[i..].iter().take_while(|line| has_both(line));
            column = group.map(width).max().unwrap_or_default();
        }
        if !line.code.is_empty() || line.comment.is_some() {
            text.push_str(&" ".repeat(line.indent));
        }
        text.push_str(&line.code);
        if let Some(comment) = &line.comment {
            if !line.code.is_empty() {
                text.push_str(&" ".repeat(column - width(line) + 2));
            }
            text.push_str(comment);
        }
        text.push_str(line_end);
    }
    text
}
