//! Filters of events: one condition, and the tests that only filters have: `verdict == deny`, `knob matches net.**`.

use super::foreign::FOREIGN_PREDICATES;
use super::rule::notation_diagnostic;
use super::{FOREIGN_ACTIONS, FOREIGN_MODES, Parse, Parser, Reported};
use crate::did_you_mean::did_you_mean;
use crate::lexer::{Punct, TokenKind};
use crate::scheme::{FILTERS, Field, Word, WordField, listed};
use crate::syntax::{ConditionSyntax, Spanned};
use crate::{Diagnostic, KnobPattern, NotationErrorKind, Relation, Span, Text};

/// A filter.
pub(crate) struct ParsedFilter {
    /// `None` after an error in the grammar.
    pub(crate) condition: Option<Spanned<ConditionSyntax>>,
    pub(crate) errors: Vec<Diagnostic>,
}

/// Words for the values of fields in other languages.
const FOREIGN_VALUES: &[(&str, &str)] = &[
    ("rewritten", "rewrite"),
    ("allow", "allowed"),
    ("deny", "denied"),
    ("rewrite", "rewritten"),
    ("set", "rewrite"),
    ("clamp", "rewrite"),
    ("ignore", "rewrite"),
    ("r", "read"),
    ("reads", "read"),
    ("w", "write"),
    ("writes", "write"),
    ("access", "event"),
    ("dropped", "lost"),
    ("limited", "suppressed"),
    ("init", "host"),
    ("initial", "host"),
    ("root", "host"),
];

/// What to say about a network namespace that is not the host's.
const OTHER_NETNS: &str =
    "rules tell the network namespace of the host from all others, which are `netns != host`";

/// Words for engines of Kubernetes, of which there are several.
const KUBERNETES: [&str; 4] = ["k8s", "kubernetes", "kubelet", "cri"];

/// The predicates on words.
const WORD_PREDICATES: [&str; 1] = ["in"];

/// The predicates on a field of words: one with a single word takes none.
fn word_predicates(field: WordField) -> &'static [&'static str] {
    if field == WordField::Netns { &[] } else { &WORD_PREDICATES }
}

/// The predicates on names of knobs.
const KNOB_PREDICATES: [&str; 2] = ["in", "matches"];

/// A name for examples.
const KNOB: &str = "kernel.panic";

/// Parses `text`, which is a filter.
pub(crate) fn parse_filter(text: &str) -> ParsedFilter {
    // The end of a line ends nothing.
    let mut parser = Parser { joined: 1, ..Parser::new(text, &FILTERS) };
    let condition = parser.filter().ok();
    ParsedFilter { condition, errors: parser.parsed.errors }
}

impl<'a> Parser<'a> {
    fn filter(&mut self) -> Parse<Spanned<ConditionSyntax>> {
        let start = self.peek_span();
        if self.peek().kind == TokenKind::End {
            let error = Diagnostic::error("empty-filter", start, "the filter is empty");
            return Err(self.report(error.help("such as `verdict == deny and uid != 0`")));
        }
        if self.peek_word("if") {
            while self.peek_word("if") {
                self.next();
            }
            let error = Diagnostic::error("stray-word", start, "a filter has no `if`")
                .help("drop the `if`")
                .suggest(Span::new(start.start, self.peek_span().start), "");
            self.report(error);
        }
        let condition = self.condition()?;
        match self.peek().kind {
            TokenKind::End => Ok(condition),
            _ => Err(self.no_connective("`and`, `or` or the end of the filter")),
        }
    }

    /// A test that only filters have, if one comes next. `again` is the previous comparison.
    pub(super) fn event_test(
        &mut self,
        again: Option<(Span, Relation)>,
    ) -> Option<Parse<Spanned<ConditionSyntax>>> {
        if self.peek().kind != TokenKind::Word {
            return None;
        }
        let span = self.peek_span();
        let word = self.slice(span);
        let node = match self.scheme.field(word) {
            Some(Field::Word(field)) => self.word_test(field),
            Some(Field::Knob) => self.knob_test(),
            _ => return self.word_alone(word, again?).map(Err),
        };
        Some(node.map(|node| Spanned::new(node, Span::new(span.start, self.end))))
    }

    /// Reports `rewrite` after `verdict == deny or`.
    fn word_alone(&mut self, word: &str, (subject, relation): (Span, Relation)) -> Option<Reported> {
        let subject = self.slice(subject);
        let Some(Field::Word(field)) = self.scheme.field(subject) else { return None };
        field.word(word).filter(|_| relation == Relation::Equal)?;
        let span = self.peek_span();
        let error = Diagnostic::error("missing-operand", span, "this is not compared with anything")
            .help(format!("compare it too: `{subject} == {word}`"))
            .suggest(Span::new(span.start, span.start), format!("{subject} == "));
        Some(self.report(error))
    }

    /// The fields that can have the value `word`.
    pub(super) fn fields_with_word(&self, word: &'a str) -> impl Iterator<Item = (&'static str, WordField)> {
        self.scheme.fields.iter().filter_map(move |&(name, field)| match field {
            Field::Word(field) if field.word(word).is_some() => Some((name, field)),
            _ => None,
        })
    }

    /// Reports the field `word`, which comes next where it cannot be an operand.
    pub(super) fn misplaced_field(&mut self, word: &str) -> Reported {
        let span = self.peek_span();
        let error = Diagnostic::error("misplaced-field", span, format!("`{word}` goes on the left"));
        let example = match self.scheme.field(word) {
            Some(Field::Word(field)) => example(field),
            _ => KNOB,
        };
        self.report(error.help(format!("such as `{word} == {example}`")))
    }

    /// `verdict == deny` or `verdict in {deny, rewrite}`
    fn word_test(&mut self, field: WordField) -> Parse<ConditionSyntax> {
        let subject = self.next().span;
        let example = example(field);
        let predicates = word_predicates(field);
        if self.peek_word("in") && !predicates.is_empty() {
            let word = self.next().span;
            let words = self.members(word, subject, example, |parser| parser.word(field))?;
            return Ok(ConditionSyntax::Word { field, words, negated: false });
        }
        let Some(relation) = self.relation() else {
            return Err(self.no_test(subject, predicates, example));
        };
        let negated = self.is_negated(subject, &relation, predicates)?;
        if self.peek_punct(Punct::BraceOpen) && !predicates.is_empty() {
            self.report_equal_set(subject, &relation);
            let words = self.members(relation.span, subject, example, |parser| parser.word(field))?;
            return Ok(ConditionSyntax::Word { field, words, negated });
        }
        let word = self.word(field)?;
        self.compared = Some((subject, relation.node));
        Ok(ConditionSyntax::Word { field, words: vec![word], negated })
    }

    /// `knob == kernel.panic`, `knob in {kernel.panic, vm.swappiness}` or `knob matches net.**`
    fn knob_test(&mut self) -> Parse<ConditionSyntax> {
        let subject = self.next().span;
        if self.peek_word("matches") {
            self.next();
            let pattern = self.pattern(false)?;
            return Ok(ConditionSyntax::Knob { patterns: vec![pattern], negated: false });
        }
        if self.peek_word("in") {
            let word = self.next().span;
            let patterns = self.members(word, subject, KNOB, |parser| {
                let name = parser.pattern(true)?;
                parser.check_is_name(&name, None)?;
                Ok(name)
            })?;
            return Ok(ConditionSyntax::Knob { patterns, negated: false });
        }
        let Some(relation) = self.relation() else {
            return Err(self.no_test(subject, &KNOB_PREDICATES, KNOB));
        };
        let negated = self.is_negated(subject, &relation, &KNOB_PREDICATES)?;
        if self.peek_punct(Punct::BraceOpen) && KnobPattern::parse(self.name_ahead()).is_err() {
            self.report_equal_set(subject, &relation);
            return Err(Reported);
        }
        let name = self.pattern(false)?;
        self.check_is_name(&name, Some((subject, &relation)))?;
        Ok(ConditionSyntax::Knob { patterns: vec![name], negated })
    }

    /// The members of a set after `in`, which is at `word`.
    fn members<T>(
        &mut self,
        word: Span,
        subject: Span,
        example: &str,
        member: impl FnMut(&mut Self) -> Parse<T>,
    ) -> Parse<Vec<T>> {
        let subject = self.slice(subject);
        if !self.peek_punct(Punct::BraceOpen) {
            let help = format!("such as `{subject} in {{{example}}}`");
            return Err(self.unexpected("a set", Some(&help)));
        }
        let set = self.bracketed(Punct::BraceClose, member)?;
        if set.node.is_empty() {
            let error = Diagnostic::error("empty-set", word.to(set.span), "this set is empty");
            return Err(self.report(error.help(format!("such as `{subject} in {{{example}}}`"))));
        }
        Ok(set.node)
    }

    /// Whether `relation` is `!=`, and not `==`. Any other one is an error.
    fn is_negated(
        &mut self,
        subject: Span,
        relation: &Spanned<Relation>,
        predicates: &[&'static str],
    ) -> Parse<bool> {
        match relation.node {
            Relation::Equal => Ok(false),
            Relation::NotEqual => Ok(true),
            _ => {
                let error =
                    Diagnostic::error("order-of-words", relation.span, "words and names have no order");
                Err(self.report(error.help(compares_with(self.slice(subject), predicates))))
            }
        }
    }

    /// Reports `verdict == {deny, rewrite}`.
    fn report_equal_set(&mut self, subject: Span, relation: &Spanned<Relation>) {
        let (span, replacement) = match relation.node {
            Relation::NotEqual => (subject.to(relation.span), format!("not {} in", self.slice(subject))),
            _ => (relation.span, self.apart(relation.span, "in")),
        };
        let error = Diagnostic::error("equal-members", relation.span, "one of several is tested with `in`")
            .help(format!("write `{}`", replacement.trim()))
            .suggest(span, replacement);
        self.report(error);
    }

    /// Reports that the field at `subject` is followed neither by a relation nor by one of `predicates`.
    fn no_test(&mut self, subject: Span, predicates: &[&'static str], example: &str) -> Reported {
        let span = self.peek_span();
        let word = self.slice(span);
        if word == "not" {
            return self.misplaced_not(subject);
        }
        let name = self.slice(subject);
        let foreign = FOREIGN_PREDICATES
            .iter()
            .find(|(foreign, ours)| {
                *foreign == word && (predicates.contains(ours) || matches!(*ours, "==" | "!="))
            })
            .map(|(_, ours)| *ours);
        let near = foreign.or_else(|| did_you_mean(word, predicates.iter().copied()));
        if let Some(near) = near.filter(|_| self.peek().kind == TokenKind::Word) {
            let error =
                Diagnostic::error("unknown-word", span, format!("expected a comparison, found `{word}`"))
                    .help(format!("did you mean `{near}`?"))
                    .suggest(span, near);
            return self.report(error);
        }
        let help = format!("{}: `{name} == {example}`", compares_with(name, predicates));
        self.unexpected("a comparison", Some(&help))
    }

    /// A value of `field`.
    fn word(&mut self, field: WordField) -> Parse<Word> {
        let span = self.peek_span();
        if let TokenKind::Text(text) = &self.peek().kind
            && let Some(word) = unquoted(field, text)
        {
            let error = Diagnostic::error("quoted-word", span, "words are written without quotes")
                .help("drop the quotes")
                .suggest(span, word);
            return Err(self.report(error));
        }
        if field == WordField::Errno {
            return self.errno().map(Word::Errno);
        }
        self.expect_words_of(field);
        let names = || field.words().iter().map(|(name, _)| *name);
        if self.peek().kind != TokenKind::Word {
            let help = (field == WordField::Netns).then_some(OTHER_NETNS);
            return Err(self.unexpected(&listed(names(), "or"), help));
        }
        let word = self.slice(span);
        if let Some(value) = field.word(word) {
            self.next();
            return Ok(value);
        }
        if let Some((span, ours)) = self.hyphenated(span, field) {
            let error = Diagnostic::error("unknown-word", span, "a word has no hyphen here");
            return Err(self.report(error.help(format!("write `{ours}`")).suggest(span, ours)));
        }
        let mut foreign = FOREIGN_VALUES.iter().chain(FOREIGN_ACTIONS).chain(FOREIGN_MODES);
        let foreign = foreign.find(|(foreign, ours)| *foreign == word && field.word(ours).is_some());
        let near = foreign.map(|(_, ours)| *ours).or_else(|| did_you_mean(word, names()));
        let message = format!("expected {}, found `{word}`", listed(names(), "or"));
        let error = Diagnostic::error("unknown-word", span, message);
        if field == WordField::Engine && KUBERNETES.contains(&word) {
            let help =
                "the engines of Kubernetes are `containerd` and `crio`: `engine in {containerd, crio}`";
            return Err(self.report(error.help(help)));
        }
        Err(self.report(match near {
            Some(near) => error.help(format!("did you mean `{near}`?")).suggest(span, near),
            None if field == WordField::Netns => error.help(OTHER_NETNS),
            None => error,
        }))
    }

    /// The word with hyphens that begins at `span`, if it is one of `field` without them: JSON and `--fields` have `would-deny`, and
    /// CRI-O is written like that.
    fn hyphenated(&self, span: Span, field: WordField) -> Option<(Span, &'static str)> {
        let rest = self.text.get(span.start..)?;
        let end =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')).unwrap_or(rest.len());
        let letters = |word: &str| word.replace(['-', '_'], "").to_ascii_lowercase();
        let written = &rest[..end];
        let words = field.words().iter().filter(|_| written.contains('-'));
        let word = words.map(|(word, _)| *word).find(|word| letters(word) == letters(written))?;
        Some((Span::new(span.start, span.start + end), word))
    }

    /// A pattern for the names of knobs.
    fn pattern(&mut self, in_set: bool) -> Parse<Spanned<KnobPattern>> {
        let token = if in_set { self.next_name_in_set() } else { self.next_name() };
        let (span, name) = (token.span, self.slice(token.span));
        if name.is_empty() {
            if let TokenKind::Text(text) = self.peek().kind.clone()
                && KnobPattern::parse(text.as_bytes()).is_ok()
            {
                let span = self.peek_span();
                let error = Diagnostic::error("quoted-pattern", span, "names are written without quotes")
                    .help("drop the quotes")
                    .suggest(span, String::from_utf8_lossy(text.as_bytes()));
                return Err(self.report(error));
            }
            return Err(self.unexpected("the name of a knob", Some("such as `knob == kernel.panic`")));
        }
        KnobPattern::parse(name)
            .map(|pattern| Spanned::new(pattern, span))
            .map_err(|error| self.report(notation_diagnostic(error, span.start, name)))
    }

    /// Checks that a pattern is the name of one knob. If it was compared with `knob`, `compared` has the places.
    fn check_is_name(
        &mut self,
        pattern: &Spanned<KnobPattern>,
        compared: Option<(Span, &Spanned<Relation>)>,
    ) -> Parse<()> {
        if pattern.node.literal().is_some() {
            return Ok(());
        }
        let name = self.slice(pattern.span);
        let error =
            Diagnostic::error("pattern-as-name", pattern.span, NotationErrorKind::GlobInName.to_string());
        let error = match compared {
            Some((subject, relation)) => {
                let test = if relation.node == Relation::Equal { "knob matches" } else { "not knob matches" };
                let replaced = Span::new(subject.start, pattern.span.start);
                error.help(format!("write `{test} {name}`")).suggest(replaced, format!("{test} "))
            }
            None => error.help(format!("write `knob matches {name}`, joined with `or`")),
        };
        Err(self.report(error))
    }
}

/// A word for examples.
fn example(field: WordField) -> &'static str {
    field.words().first().map_or("EPERM", |(word, _)| word)
}

/// What `field` can be compared with.
fn compares_with(field: &str, predicates: &[&'static str]) -> String {
    let tests = listed(["==", "!="].into_iter().chain(predicates.iter().copied()), "and");
    format!("`{field}` compares with {tests}")
}

/// The word in `text`, if it is a value of `field`.
fn unquoted(field: WordField, text: &Text) -> Option<String> {
    let text = std::str::from_utf8(text.as_bytes()).ok()?;
    field.word(text).map(|_| text.to_owned())
}
