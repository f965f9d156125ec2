//! From characters to tokens. Names are lexed differently from conditions, so the parser asks either for a token or for
//! a name.

use crate::{Diagnostic, Integer, Span, Text, notation};

/// One token, with its error if it has one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
    /// An error that is reported when the token is used. The token can still be used.
    pub(crate) problem: Option<Box<Diagnostic>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    /// A keyword, an operand, the name of an errno.
    Word,
    /// The name of a knob, a pattern, the name of the policy.
    Name,
    Integer(Integer),
    Text(Text),
    /// Punctuation.
    Punct(Punct),
    /// The end of a line.
    Newline,
    /// The end of the file.
    End,
    /// A character that begins no token.
    Stray(char),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Punct {
    ParenOpen,
    ParenClose,
    BracketOpen,
    BracketClose,
    BraceOpen,
    BraceClose,
    Comma,
    Range,
    Slash,
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
    Arrow,
    /// `=`, which is not an operator.
    Assign,
    Ampersand,
    /// `&&`, which is not an operator.
    DoubleAnd,
    /// `||`, which is not an operator.
    DoubleOr,
    /// `!`, which is not an operator.
    Bang,
    /// `->`, which is not an operator.
    ThinArrow,
    /// `..=`, which is not an operator.
    RangeEqual,
    /// `;`, which separates nothing.
    Semicolon,
    /// `...`, which is not an operator.
    Ellipsis,
    /// `===`, which is not an operator.
    TripleEqual,
    /// `=<`, which is not an operator.
    EqualOrLess,
    /// `<>`, which is not an operator.
    LessOrGreater,
    /// `=~`, which is not an operator.
    Resembles,
}

/// Longer ones first.
const PUNCTUATION: &[(&str, Punct)] = &[
    ("...", Punct::Ellipsis),
    ("===", Punct::TripleEqual),
    ("..=", Punct::RangeEqual),
    ("..", Punct::Range),
    ("<=", Punct::LessOrEqual),
    (">=", Punct::GreaterOrEqual),
    ("==", Punct::Equal),
    ("!=", Punct::NotEqual),
    ("=>", Punct::Arrow),
    ("->", Punct::ThinArrow),
    ("=<", Punct::EqualOrLess),
    ("<>", Punct::LessOrGreater),
    ("=~", Punct::Resembles),
    ("&&", Punct::DoubleAnd),
    ("||", Punct::DoubleOr),
    ("&", Punct::Ampersand),
    ("(", Punct::ParenOpen),
    (")", Punct::ParenClose),
    ("[", Punct::BracketOpen),
    ("]", Punct::BracketClose),
    ("{", Punct::BraceOpen),
    ("}", Punct::BraceClose),
    (",", Punct::Comma),
    ("/", Punct::Slash),
    ("<", Punct::Less),
    (">", Punct::Greater),
    ("=", Punct::Assign),
    ("!", Punct::Bang),
    (";", Punct::Semicolon),
];

/// A place in a text.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    /// At the start of `text`, after a byte order mark if there is one.
    pub(crate) fn new(text: &'a str) -> Self {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, at }
    }

    /// The offset of the next character.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Goes to another place.
    pub(crate) fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    /// What is left of the text.
    pub(crate) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Skips blanks and a comment, but not the end of the line.
    pub(crate) fn skip_blanks(&mut self) {
        self.take_while(|c| matches!(c, ' ' | '\t'));
        if self.rest().starts_with('#') {
            self.take_while(|c| c != '\n');
            // A carriage return before the line feed is part of the line's end.
            if self.rest().starts_with('\n') && self.text[..self.at].ends_with('\r') {
                self.at -= 1;
            }
        }
    }

    /// The next token.
    pub(crate) fn token(&mut self) -> Token {
        self.skip_blanks();
        let start = self.at;
        let rest = self.rest();
        let mut problem = None;
        let kind = match rest.as_bytes() {
            [] => TokenKind::End,
            [b'\n', ..] | [b'\r', b'\n', ..] => {
                self.at += if rest.starts_with('\r') { 2 } else { 1 };
                TokenKind::Newline
            }
            [b'"', ..] => self.quoted(&mut problem),
            [b'\'', ..] => self.single_quoted(&mut problem),
            [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..] => self.integer(&mut problem),
            [b'a'..=b'z' | b'A'..=b'Z' | b'_', ..] => {
                self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
                TokenKind::Word
            }
            _ => match PUNCTUATION.iter().find(|(text, _)| rest.starts_with(text)) {
                Some((text, punct)) => {
                    self.at += text.len();
                    TokenKind::Punct(*punct)
                }
                None => {
                    let c = rest.chars().next().unwrap_or_default();
                    self.at += c.len_utf8();
                    TokenKind::Stray(c)
                }
            },
        };
        Token { kind, span: Span::new(start, self.at), problem: problem.map(Box::new) }
    }

    /// The next name or pattern: up to a character that cannot be part of one. Braces and brackets are taken as a
    /// whole. May be empty.
    pub(crate) fn name(&mut self) -> Token {
        self.name_before(None)
    }

    /// The same, in a set: `}` ends it, too.
    pub(crate) fn name_in_set(&mut self) -> Token {
        self.name_before(Some(b'}'))
    }

    /// The next name, which ends before `end` outside braces and brackets.
    fn name_before(&mut self, end: Option<u8>) -> Token {
        self.skip_blanks();
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut open = 0usize;
        // Braces and brackets mean nothing in `[…]`.
        let mut in_class = false;
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'\\' if bytes.get(self.at + 1).is_some_and(|&next| !matches!(next, b'\n' | b'\r')) => {
                    self.at += 1;
                }
                b']' => in_class = false,
                b'[' | b'{' | b'}' if in_class => {}
                b'[' => in_class = true,
                byte if open == 0 && end == Some(byte) => break,
                b'{' => open += 1,
                b'}' => open = open.saturating_sub(1),
                b',' if open > 0 || in_class => {}
                byte if notation::is_reserved(byte) => break,
                _ => {}
            }
            self.at += 1;
        }
        // An escaped character may have been split.
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
        Token { kind: TokenKind::Name, span: Span::new(start, self.at), problem: None }
    }

    fn take_while(&mut self, mut wanted: impl FnMut(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    /// A text between double quotes.
    fn quoted(&mut self, problem: &mut Option<Diagnostic>) -> TokenKind {
        let start = self.at;
        let mut text = Vec::new();
        self.at += 1;
        loop {
            let at = self.at;
            let Some(c) = self.rest().chars().next().filter(|&c| c != '\n') else {
                if self.text[..self.at].ends_with('\r') {
                    self.at -= 1;
                }
                let span = Span::new(start, self.at);
                problem.get_or_insert_with(|| {
                    Diagnostic::error("unclosed-text", span, "this text is never closed")
                        .label("a text ends on the line on which it begins")
                        .help("close it with `\"`; a line end inside a text is written `\\n`")
                });
                break;
            };
            self.at += c.len_utf8();
            match c {
                '"' => break,
                '\\' => match self.escaped() {
                    Some(byte) => text.push(byte),
                    None => {
                        let span = Span::new(at, self.at.max(at + 1));
                        problem.get_or_insert_with(|| unknown_escape(span, self.text));
                    }
                },
                c => text.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        TokenKind::Text(text.into())
    }

    /// The byte of an escape, after its `\`.
    fn escaped(&mut self) -> Option<u8> {
        let c = self.rest().chars().next().filter(|c| !matches!(c, '\n' | '\r'))?;
        self.at += c.len_utf8();
        Some(match c {
            'n' => b'\n',
            't' => b'\t',
            'r' => b'\r',
            '0' => 0,
            '"' => b'"',
            '\\' => b'\\',
            'x' => {
                let digits =
                    self.rest().get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
                self.at += 2;
                u8::from_str_radix(digits, 16).ok()?
            }
            _ => return None,
        })
    }

    /// A text between single quotes: a mistake that is understood.
    fn single_quoted(&mut self, problem: &mut Option<Diagnostic>) -> TokenKind {
        let start = self.at;
        let line = self.rest().lines().next().unwrap_or_default();
        let (text, quotes) = match line[1..].find('\'') {
            Some(length) => (&line[1..=length], 2),
            None => (line[1..].trim_end(), 1),
        };
        self.at += text.len() + quotes;
        let span = Span::new(start, self.at);
        *problem = Some(
            Diagnostic::error("single-quotes", span, "texts are written between double quotes")
                .help("use `\"`")
                .suggest(span, Text::from(text).to_string()),
        );
        TokenKind::Text(Text::from(text))
    }

    fn integer(&mut self, problem: &mut Option<Diagnostic>) -> TokenKind {
        let start = self.at;
        self.at += usize::from(self.rest().starts_with('-'));
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        let span = Span::new(start, self.at);
        match integer(&self.text[span.range()]) {
            Ok(integer) => TokenKind::Integer(integer),
            Err(error) => {
                *problem = Some(error.diagnostic(span, &self.text[span.range()]));
                TokenKind::Integer(Integer::from(0))
            }
        }
    }
}

fn unknown_escape(span: Span, text: &str) -> Diagnostic {
    let escape = &text[span.range()];
    let help = match escape {
        "\\x" => "`\\x` takes two hexadecimal digits: `\\x7f`".to_owned(),
        "\\" => "a `\\` itself is written `\\\\`".to_owned(),
        _ => format!(
            "a `\\` itself is written `\\\\`; the escapes are \\n \\t \\r \\0 \\\" \\\\ \\xHH, not `{escape}`"
        ),
    };
    Diagnostic::error("unknown-escape", span, "there is no such escape in a text").help(help)
}

/// Why a text is not an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IntegerError {
    /// A character that is not a digit in this base.
    Digit(char, u32),
    /// A `_` that is not between two digits.
    Underscore,
    /// No digit after `0x`.
    NoDigits,
    /// Beyond 64 bits.
    TooLarge,
    /// `64K` or `0b11`, with its value.
    Notation(Option<Integer>),
    /// `10s`, whose value depends on the knob.
    Unit,
}

/// Suffixes, with their powers of two.
const MAGNITUDES: &[(&str, u32)] = &[("K", 10), ("M", 20), ("G", 30), ("T", 40), ("P", 50), ("E", 60)];

/// Suffixes of units. Each knob has its own unit.
const UNITS: &[&str] = &["s", "sec", "ms", "us", "ns", "min", "h", "d", "Hz", "kHz", "MHz", "pages"];

/// The power of two of `suffix`, as in `64K`, `64KiB` and `64kB`.
fn magnitude_of(suffix: &str) -> Option<u32> {
    let bare = suffix.strip_suffix(['b', 'B']).unwrap_or(suffix);
    let bare = bare.strip_suffix('i').unwrap_or(bare);
    if bare.is_empty() {
        return suffix.eq_ignore_ascii_case("b").then_some(0);
    }
    MAGNITUDES.iter().find(|(name, _)| bare.eq_ignore_ascii_case(name)).map(|&(_, power)| power)
}

/// The value of `0b11`, `0o17` or `1e6`.
fn foreign_number(magnitude: &str) -> Option<i128> {
    let prefixed = |prefix, base| i128::from_str_radix(magnitude.strip_prefix(prefix)?, base).ok();
    let scientific = || {
        let (digits, exponent) = magnitude.split_once(['e', 'E'])?;
        let power = 10i128.checked_pow(exponent.parse().ok()?)?;
        digits.parse::<i128>().ok()?.checked_mul(power)
    };
    prefixed("0b", 2).or_else(|| prefixed("0o", 8)).or_else(scientific)
}

/// Parses `text` in base 0, with `_` between digits.
fn integer(text: &str) -> Result<Integer, IntegerError> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, text),
    };
    let (base, digits) = if let Some(digits) = magnitude.strip_prefix("0x").or(magnitude.strip_prefix("0X")) {
        (16, digits)
    } else if magnitude.len() > 1 && magnitude.starts_with('0') {
        (8, &magnitude[1..])
    } else {
        (10, magnitude)
    };
    if digits.is_empty() {
        return Err(IntegerError::NoDigits);
    }
    let mut value = 0i128;
    for (i, c) in digits.char_indices() {
        if c == '_' {
            // The `0` of an octal number is a digit too.
            let before = digits[..i].chars().next_back().or(if base == 8 { Some('0') } else { None });
            let between = before.is_some_and(|c| c != '_') && digits[i + 1..].starts_with(|c| c != '_');
            if !between {
                return Err(IntegerError::Underscore);
            }
            continue;
        }
        let Some(digit) = c.to_digit(base) else {
            let suffix = &digits[i..];
            let notation = match magnitude_of(suffix).filter(|_| base == 10) {
                Some(power) => value.checked_mul(1 << power),
                None if UNITS.contains(&suffix) => return Err(IntegerError::Unit),
                None => foreign_number(magnitude),
            };
            let Some(value) = notation else { return Err(IntegerError::Digit(c, base)) };
            return Err(IntegerError::Notation(Integer::new(if negative { -value } else { value })));
        };
        // This stops once the number is beyond 64 bits, far below the limit of an i128.
        value = value * i128::from(base) + i128::from(digit);
        if value > Integer::MAX.get() {
            return Err(IntegerError::TooLarge);
        }
    }
    Integer::new(if negative { -value } else { value }).ok_or(IntegerError::TooLarge)
}

impl IntegerError {
    fn diagnostic(self, span: Span, text: &str) -> Diagnostic {
        let error = |message: String| Diagnostic::error("bad-integer", span, message);
        match self {
            Self::Digit(c, 8) if c.is_ascii_digit() => error(format!("`{c}` is not an octal digit"))
                .help("a leading `0` makes an integer octal, as it does for the kernel"),
            Self::Digit(c, base) => error(format!(
                "`{c}` is not {} digit",
                match base {
                    8 => "an octal",
                    16 => "a hexadecimal",
                    _ => "a decimal",
                }
            )),
            Self::Underscore => error("a `_` in an integer must be between two digits".to_owned()),
            Self::NoDigits => error(format!("there are no digits after `{text}`")),
            Self::TooLarge => Diagnostic::error("integer-too-large", span, "this integer is beyond 64 bits")
                .help(format!("integers are between {} and {}", Integer::MIN, Integer::MAX)),
            Self::Unit => {
                error("integers have no units".to_owned()).help("give the number in the knob's own unit")
            }
            Self::Notation(value) => {
                let error = error("integers are decimal, hexadecimal or octal, without a suffix".to_owned());
                match value {
                    Some(value) => {
                        error.help(format!("write it out: {value}")).suggest(span, value.to_string())
                    }
                    None => error.help(format!("integers are between {} and {}", Integer::MIN, Integer::MAX)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_parsed_in_base_0_with_underscores_between_digits() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("6_291_456", 6_291_456),
            ("0x10", 16),
            ("-0X1f", -31),
            ("0_7", 7),
            ("0755", 0o755),
            ("18446744073709551615", i128::from(u64::MAX)),
            ("-9223372036854775808", i128::from(i64::MIN)),
        ] {
            assert_eq!(integer(text).map(Integer::get), Ok(value), "{text}");
        }
        for (text, error) in [
            ("08", IntegerError::Digit('8', 8)),
            ("12a", IntegerError::Digit('a', 10)),
            ("0x", IntegerError::NoDigits),
            ("0x_1", IntegerError::Underscore),
            ("1_", IntegerError::Underscore),
            ("1__0", IntegerError::Underscore),
            ("18446744073709551616", IntegerError::TooLarge),
            ("-9223372036854775809", IntegerError::TooLarge),
            ("64K", IntegerError::Notation(Some(Integer::from(65536)))),
            ("4T", IntegerError::Notation(Integer::new(4 << 40))),
            ("2GiB", IntegerError::Notation(Integer::new(2 << 30))),
            ("16E", IntegerError::Notation(None)),
            ("4096b", IntegerError::Notation(Some(Integer::from(4096)))),
            ("1e6", IntegerError::Notation(Some(Integer::from(1_000_000)))),
            ("0b101", IntegerError::Notation(Some(Integer::from(5)))),
            ("0o17", IntegerError::Notation(Some(Integer::from(15)))),
            ("10s", IntegerError::Unit),
            ("10K5", IntegerError::Digit('K', 10)),
        ] {
            assert_eq!(integer(text), Err(error), "{text}");
        }
    }

    #[test]
    fn escapes_in_texts_are_resolved() {
        let mut lexer = Lexer::new(r#""a\n\t\r\0\"\\\x7f\xffé" x"#);
        let token = lexer.token();
        assert_eq!(token.kind, TokenKind::Text(b"a\n\t\r\0\"\\\x7f\xff\xc3\xa9".to_vec().into()));
        assert_eq!(token.problem, None);
        assert_eq!(lexer.token().kind, TokenKind::Word);
    }

    #[test]
    fn a_name_ends_at_white_space_or_outside_braces_at_a_comma() {
        for (text, name) in [
            ("net.{a,b}.c, x", "net.{a,b}.c"),
            ("a[,].b c", "a[,].b"),
            ("a\\,b,c", "a\\,b"),
            ("a\\é#", "a\\é"),
            ("a=5", "a"),
            ("a;", "a"),
            ("\\", "\\"),
            ("{a\nb", "{a"),
            ("", ""),
        ] {
            let token = Lexer::new(text).name();
            assert_eq!(&text[token.span.range()], name, "{text}");
        }
    }
}
