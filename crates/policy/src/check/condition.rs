//! The types of conditions: numbers are compared with numbers, and texts with texts.

use super::Checker;
use crate::glob::Piece;
use crate::syntax::{At, ConditionSyntax, Term, TextVerb};
use crate::{
    Condition, Diagnostic, Integer, Operand, Range, Relation, Span, Text, TextGlob, TextOperand, TextTest,
    Value, limits,
};

/// The first place where the condition looks at the new value.
pub(super) fn first_new(condition: &At<ConditionSyntax>) -> Option<Span> {
    let is_new = |term: &Term| {
        matches!(term, Term::Value(Value::New) | Term::Element(Value::New, _) | Term::Count(Value::New))
    };
    first(condition, is_new)
}

/// The first place where the condition looks at the name of the task.
pub(super) fn first_comm(condition: &At<ConditionSyntax>) -> Option<Span> {
    first(condition, |term| *term == Term::Comm)
}

fn first(condition: &At<ConditionSyntax>, wanted: impl Fn(&Term) -> bool + Copy) -> Option<Span> {
    let in_term = |term: &At<Term>| wanted(&term.is).then_some(term.span);
    match &condition.is {
        ConditionSyntax::All(parts) | ConditionSyntax::Any(parts) => {
            parts.iter().find_map(|part| first(part, wanted))
        }
        ConditionSyntax::Not(negated) => first(negated, wanted),
        ConditionSyntax::Chain(left, links) => {
            in_term(left).or_else(|| links.iter().find_map(|(_, term)| in_term(term)))
        }
        ConditionSyntax::InRange(subject, _)
        | ConditionSyntax::InSet(subject, _)
        | ConditionSyntax::Text(subject, ..) => in_term(subject),
    }
}

/// How deep the parts of a condition are inside each other.
fn depth(condition: &Condition) -> usize {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => {
            1 + parts.iter().map(depth).max().unwrap_or_default()
        }
        Condition::Not(negated) => 1 + depth(negated),
        _ => 0,
    }
}

/// The error about a newline or a NUL in a text that a value is tested against.
fn line_end(span: Span, bytes: &[u8]) -> Option<Diagnostic> {
    bytes.iter().any(|byte| matches!(byte, b'\n' | 0)).then(|| {
        Diagnostic::error("never-true", span, "no value has this text")
            .label("it holds a newline or a NUL")
            .help("the text of a value ends before its first newline or NUL: drop what follows")
    })
}

/// The integer that a text literal holds, and nothing else.
fn unquoted(term: &At<Term>) -> Option<String> {
    let Term::Text(text) = &term.is else { return None };
    let text = std::str::from_utf8(text.as_bytes()).ok()?;
    text.parse().ok().and_then(Integer::new).map(|_| text.to_owned())
}

/// One side of a comparison of texts.
enum TextSide {
    Operand(TextOperand),
    Literal(At<Text>),
}

impl Checker {
    /// The condition, if it is one; else the errors are reported.
    pub(super) fn condition(&mut self, syntax: &At<ConditionSyntax>) -> Option<Condition> {
        let condition = self.part(syntax)?;
        if depth(&condition) > limits::NESTING_MAX {
            let message = format!("conditions are nested more than {} deep", limits::NESTING_MAX);
            self.report(Diagnostic::error("nesting-too-deep", syntax.span, message));
        }
        Some(condition)
    }

    fn part(&mut self, syntax: &At<ConditionSyntax>) -> Option<Condition> {
        match &syntax.is {
            ConditionSyntax::All(parts) => self.parts(parts).map(Condition::All),
            ConditionSyntax::Any(parts) => self.parts(parts).map(Condition::Any),
            ConditionSyntax::Not(negated) => Some(Condition::Not(Box::new(self.part(negated)?))),
            ConditionSyntax::Chain(first, links) => self.chain(first, links),
            ConditionSyntax::InRange(subject, range) => {
                let range = At::new(Range { low: range.is.low, high: range.is.high }, range.span);
                self.range(&range);
                if range.is.low.is_none() && range.is.high.is_none() {
                    let error = Diagnostic::error("endless-range", range.span, "everything is in this range");
                    self.report(error.help("give at least one of its ends"));
                }
                Some(Condition::InRange(self.subject(subject)?, range.is))
            }
            ConditionSyntax::InSet(subject, members) => self.set(subject, members),
            ConditionSyntax::Text(subject, verb, text) => {
                let operand = self.text_subject(subject);
                let test = self.text_test(*verb, text);
                Some(Condition::Text(operand?, test?))
            }
        }
    }

    /// All of them, after having looked at every one.
    fn parts(&mut self, parts: &[At<ConditionSyntax>]) -> Option<Vec<Condition>> {
        let checked: Vec<Option<Condition>> = parts.iter().map(|part| self.part(part)).collect();
        checked.into_iter().collect()
    }

    fn chain(&mut self, first: &At<Term>, links: &[(At<Relation>, At<Term>)]) -> Option<Condition> {
        let is_text = |term: &At<Term>| matches!(term.is, Term::Text(_) | Term::Comm);
        if is_text(first) || links.iter().any(|(_, term)| is_text(term)) {
            return self.text_comparison(first, links);
        }
        let mut left = first;
        for (_, right) in links {
            if left.is.is_literal() && right.is.is_literal() {
                self.report_literals(left.span.to(right.span));
            }
            left = right;
        }
        let first = self.operand(first);
        let links: Vec<Option<(Relation, Operand)>> =
            links.iter().map(|(relation, term)| Some((relation.is, self.operand(term)?))).collect();
        Some(Condition::Chain { first: first?, links: links.into_iter().collect::<Option<_>>()? })
    }

    fn report_literals(&mut self, span: Span) {
        let error = Diagnostic::error("constant-comparison", span, "this compares two literals");
        self.report(error.help("one side has to be `new`, `old`, or another operand"));
    }

    /// `new == "text"` and `new != "text"`, either way round.
    fn text_comparison(&mut self, first: &At<Term>, links: &[(At<Relation>, At<Term>)]) -> Option<Condition> {
        let [(relation, second)] = links else {
            let span = links.last().map_or(first.span, |(_, last)| first.span.to(last.span));
            let error = Diagnostic::error("text-in-chain", span, "a chain of comparisons is for numbers");
            self.report(error.help("compare texts two at a time, joined with `and`"));
            return None;
        };
        let sides = (self.text_side(first, second)?, self.text_side(second, first)?);
        let (operand, literal) = match sides {
            (TextSide::Operand(operand), TextSide::Literal(literal))
            | (TextSide::Literal(literal), TextSide::Operand(operand)) => (operand, literal),
            (TextSide::Literal(_), TextSide::Literal(_)) => {
                self.report_literals(first.span.to(second.span));
                return None;
            }
            (TextSide::Operand(_), TextSide::Operand(_)) => {
                let span = first.span.to(second.span);
                let error =
                    Diagnostic::error("text-operands", span, "a text is compared with a literal only");
                self.report(error.help("such as `comm == \"sysctl\"`"));
                return None;
            }
        };
        self.whole_text(&literal);
        let test = match relation.is {
            Relation::Equal => TextTest::Equals(literal.is),
            Relation::NotEqual => TextTest::Differs(literal.is),
            _ => {
                let error = Diagnostic::error("order-of-texts", relation.span, "texts have no order");
                let integer = [first, second].into_iter().find_map(|term| Some((term.span, unquoted(term)?)));
                self.report(match integer.filter(|_| operand != TextOperand::Comm) {
                    Some((span, integer)) => {
                        error.help("an integer is written without quotes").suggest(span, integer)
                    }
                    None => error
                        .help("texts compare with `==`, `!=`, `in`, `matches`, `starts with` and `contains`"),
                });
                return None;
            }
        };
        Some(Condition::Text(operand, test))
    }

    fn text_side(&mut self, term: &At<Term>, other: &At<Term>) -> Option<TextSide> {
        match &term.is {
            Term::Text(text) => Some(TextSide::Literal(At::new(text.clone(), term.span))),
            Term::Value(value) => Some(TextSide::Operand(TextOperand::Value(*value))),
            Term::Comm => Some(TextSide::Operand(TextOperand::Comm)),
            number => {
                let error = Diagnostic::error("text-and-number", term.span, "this is a number")
                    .label("a number")
                    .also(other.span, "a text");
                let error = match number {
                    Term::Integer(integer) => {
                        let text = Text::from(integer.to_string().as_str()).to_string();
                        error.help(format!("as a text, write {text}")).suggest(term.span, text)
                    }
                    _ => {
                        let error = error.help("compare it with an integer, without quotes");
                        unquoted(other)
                            .into_iter()
                            .fold(error, |error, integer| error.suggest(other.span, integer))
                    }
                };
                self.report(error);
                None
            }
        }
    }

    /// A text literal that a value is tested against.
    fn literal(&mut self, text: &At<Text>) {
        self.measure(text);
        self.report_line_end(text.span, &text.is.0);
    }

    fn report_line_end(&mut self, span: Span, bytes: &[u8]) {
        if let Some(error) = line_end(span, bytes) {
            self.report(error);
        }
    }

    /// A text literal that the whole of a value is compared with.
    fn whole_text(&mut self, text: &At<Text>) {
        self.measure(text);
        let Some(error) = line_end(text.span, &text.is.0) else { return };
        let line = text.is.0.split(|byte| matches!(byte, b'\n' | 0)).next().unwrap_or_default();
        let ends_there = text.is.0[line.len()..].iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0);
        self.report(if ends_there { error.suggest(text.span, Text::from(line).to_string()) } else { error });
    }

    fn text_test(&mut self, verb: TextVerb, text: &At<Text>) -> Option<TextTest> {
        match verb {
            TextVerb::StartsWith => {
                self.literal(text);
                Some(TextTest::StartsWith(text.is.clone()))
            }
            TextVerb::Contains => {
                self.literal(text);
                Some(TextTest::Contains(text.is.clone()))
            }
            TextVerb::Matches => match TextGlob::parse(&text.is.0) {
                Ok(glob) => {
                    self.glob_literals(text.span, glob.pieces());
                    Some(TextTest::Matches(glob))
                }
                Err(error) => {
                    // Escapes of the text make the place inside it uncertain.
                    let mut diagnostic = Diagnostic::error("bad-glob", text.span, error.kind.to_string());
                    if let Some(help) = error.kind.help() {
                        diagnostic =
                            diagnostic.help(format!("{help} (in a text, a `\\` itself is written `\\\\`)"));
                    }
                    self.report(diagnostic);
                    None
                }
            },
        }
    }

    fn glob_literals(&mut self, span: Span, pieces: &[Piece]) {
        for piece in pieces {
            match piece {
                Piece::Literal(bytes) => self.report_line_end(span, bytes),
                Piece::Alternatives(branches) => {
                    branches.iter().for_each(|branch| self.glob_literals(span, branch));
                }
                _ => {}
            }
        }
    }

    fn set(&mut self, subject: &At<Term>, members: &At<Vec<At<Term>>>) -> Option<Condition> {
        let Some(first) = members.is.first() else {
            let error = Diagnostic::error("empty-set", members.span, "there is nothing in this set");
            self.report(error.help("such as `{1, 2}`"));
            return None;
        };
        let texts = matches!(first.is, Term::Text(_));
        if let Some(other) = members.is.iter().find(|member| matches!(member.is, Term::Text(_)) != texts) {
            let error =
                Diagnostic::error("mixed-set", other.span, "a set holds integers, or texts, and not both");
            self.report(error.also(first.span, if texts { "a text" } else { "an integer" }));
            return None;
        }
        if !texts {
            let integers: Vec<Integer> = members
                .is
                .iter()
                .filter_map(
                    |member| if let Term::Integer(integer) = member.is { Some(integer) } else { None },
                )
                .collect();
            return Some(Condition::InSet(self.subject(subject)?, integers));
        }
        let operand = self.text_subject(subject);
        let mut literals = Vec::new();
        for member in &members.is {
            if let Term::Text(text) = &member.is {
                self.whole_text(&At::new(text.clone(), member.span));
                literals.push(text.clone());
            }
        }
        Some(Condition::Text(operand?, TextTest::In(literals)))
    }

    /// The number that is tested.
    fn subject(&mut self, term: &At<Term>) -> Option<Operand> {
        if term.is.is_literal() {
            self.report_literals(term.span);
            return None;
        }
        self.operand(term)
    }

    /// The text that is tested.
    fn text_subject(&mut self, term: &At<Term>) -> Option<TextOperand> {
        match &term.is {
            Term::Value(value) => Some(TextOperand::Value(*value)),
            Term::Comm => Some(TextOperand::Comm),
            Term::Text(_) => {
                self.report_literals(term.span);
                None
            }
            _ => {
                let error = Diagnostic::error(
                    "text-and-number",
                    term.span,
                    "this is a number where a text is needed",
                );
                self.report(error.help("the texts are `new`, `old` and `comm`"));
                None
            }
        }
    }

    fn operand(&mut self, term: &At<Term>) -> Option<Operand> {
        Some(match &term.is {
            Term::Integer(integer) => Operand::Literal(*integer),
            Term::Value(value) => Operand::Only(*value),
            Term::Count(value) => Operand::Count(*value),
            Term::Pos => Operand::Pos,
            Term::Uid => Operand::Uid,
            Term::Gid => Operand::Gid,
            Term::Element(value, index) => {
                let Some(index) = u8::try_from(index.is.get())
                    .ok()
                    .filter(|&index| usize::from(index) < limits::ELEMENTS_MAX)
                else {
                    let message = format!("there is no element {}", index.is);
                    let help = format!("elements count from 0 to {}", limits::ELEMENTS_MAX - 1);
                    self.report(Diagnostic::error("bad-index", index.span, message).help(help));
                    return None;
                };
                Operand::Element(*value, index)
            }
            Term::Text(_) | Term::Comm => {
                let error = Diagnostic::error(
                    "text-and-number",
                    term.span,
                    "this is a text where a number is needed",
                );
                self.report(error);
                return None;
            }
        })
    }
}
