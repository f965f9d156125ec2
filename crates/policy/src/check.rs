//! From syntax to a policy: every rule is typed and measured here, so that nothing behind has to check again.

mod comm;
mod condition;
mod known;
mod reach;
mod width;

use std::collections::HashMap;

use crate::parser::{self, Parsed, TestSyntax};
use crate::source::TestSpans;
use crate::syntax::{ActionSyntax, At, RuleSyntax};
use crate::{
    Action, Defaults, Diagnostic, Kinds, KnobName, KnobPattern, Mode, NotASysctl, Policy, PolicyFile, Range,
    Rule, Source, Span, Test, limits,
};

/// How many warnings are kept: nobody reads more.
const WARNINGS_MAX: usize = 1000;

/// What the checker is told besides the text.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckOptions<'a> {
    /// The knobs that there are. A pattern that matches none of them gets a warning.
    pub knobs: Option<&'a [KnobName]>,
}

/// Parses and checks a policy.
///
/// # Errors
/// Everything that is wrong with it, warnings included, in the order of the text.
pub fn parse(source: Source, options: &CheckOptions<'_>) -> Result<PolicyFile, Vec<Diagnostic>> {
    check_encoding(&source)?;
    let parsed = parser::parse(source.text(), false);
    let mut checker = Checker { diagnostics: Vec::new(), errors: 0, width_64: Vec::new() };
    let mut file = checker.file(parsed, options);
    let mut diagnostics = checker.diagnostics;
    diagnostics.sort_by_key(|diagnostic| diagnostic.primary.span.start);
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == crate::Severity::Error) {
        return Err(diagnostics);
    }
    if diagnostics.len() > WARNINGS_MAX {
        let place = diagnostics[WARNINGS_MAX].primary.span;
        diagnostics.truncate(WARNINGS_MAX);
        let message = format!("there are more than {WARNINGS_MAX} warnings");
        diagnostics
            .push(Diagnostic::warning("too-many-warnings", place, message).label("the rest is not shown"));
    }
    file.warnings = diagnostics;
    file.source = source;
    Ok(file)
}

/// What makes it useless to look any further.
pub(crate) fn check_encoding(source: &Source) -> Result<(), Vec<Diagnostic>> {
    if source.text().len() > limits::FILE_MAX {
        let message = format!("the file has more than {} MiB", limits::FILE_MAX >> 20);
        return Err(vec![Diagnostic::error("file-too-large", Span::default(), message)]);
    }
    if let Some(span) = source.not_utf8() {
        let error = Diagnostic::error("not-utf8", span, "the file is not UTF-8")
            .label("the first byte that is not stands here")
            .help("in a text, other bytes are written `\\xHH`");
        return Err(vec![error]);
    }
    Ok(())
}

struct Checker {
    diagnostics: Vec<Diagnostic>,
    /// How many errors the rules had.
    errors: usize,
    /// What `width 64` declares.
    width_64: Vec<KnobPattern>,
}

impl Checker {
    fn file(&mut self, parsed: Parsed, options: &CheckOptions<'_>) -> PolicyFile {
        self.diagnostics.extend(parsed.errors);
        let stated = Defaults::default();
        let defaults = Defaults {
            read: parsed.default_read.as_ref().map_or(stated.read, |default| default.is),
            write: parsed.default_write.as_ref().map_or(stated.write, |default| default.is),
        };
        self.width_64 = parsed.width_64.into_iter().map(|pattern| pattern.is).collect();
        let mut rules = Vec::new();
        let mut rule_spans = Vec::new();
        let mut pattern_spans = Vec::new();
        let mut comm_spans = Vec::new();
        for syntax in parsed.rules {
            let span = syntax.span;
            let patterns: Vec<Span> = syntax.patterns.iter().map(|pattern| pattern.span).collect();
            let comm = syntax.condition.as_ref().and_then(condition::first_comm);
            if let Some(rule) = self.rule(syntax) {
                rules.push(rule);
                rule_spans.push(span);
                pattern_spans.push(patterns);
                comm_spans.push(comm);
            }
        }
        self.diagnostics.extend(reach::unreachable_rules(&rules, &rule_spans));
        self.diagnostics.extend(comm::chosen_names(&rules, &comm_spans, &defaults));
        if let Some(knobs) = options.knobs {
            self.diagnostics.extend(known::unknown_knobs(&rules, &pattern_spans, knobs));
        }
        let (tests, test_spans) = self.tests(parsed.tests);
        PolicyFile {
            source: Source::new("", ""),
            policy: Policy {
                name: parsed.name.map(|name| name.is).unwrap_or_default(),
                mode: parsed.mode.map_or(Mode::default(), |mode| mode.is),
                defaults,
                rules,
                tests,
                width_64: std::mem::take(&mut self.width_64),
            },
            rule_spans,
            default_read: parsed.default_read.map(|default| default.span),
            default_write: parsed.default_write.map(|default| default.span),
            test_spans,
            warnings: Vec::new(),
        }
    }

    fn tests(&mut self, tests: Vec<TestSyntax>) -> (Vec<Test>, Vec<TestSpans>) {
        let mut names: HashMap<String, Span> = HashMap::new();
        for test in &tests {
            if let Some(first) = names.get(&test.name.is) {
                let message = format!("two tests are called {:?}", test.name.is);
                let warning = Diagnostic::warning("duplicate-test", test.name.span, message);
                self.diagnostics.push(warning.also(*first, "the first one"));
            } else {
                names.insert(test.name.is.clone(), test.name.span);
            }
            if test.steps.is_empty() && !test.broken {
                let warning = Diagnostic::warning("empty-test", test.header, "this test states nothing");
                self.diagnostics.push(warning);
            }
        }
        for step in tests.iter().flat_map(|test| &test.steps) {
            if let Err(error) = step.is.access.knob.check_is_sysctl() {
                self.not_a_sysctl(&error, step.span);
            }
        }
        tests
            .into_iter()
            .map(|test| {
                let (steps, spans) = test.steps.into_iter().map(|step| (step.is, step.span)).unzip();
                (Test { name: test.name.is, steps }, TestSpans { header: test.header, steps: spans })
            })
            .unzip()
    }

    /// The rule, if it is one.
    fn rule(&mut self, syntax: RuleSyntax) -> Option<Rule> {
        let before = self.errors;
        let new = syntax.condition.as_ref().and_then(condition::first_new);
        self.kinds(&syntax, new);
        self.numbers_of_new(&syntax);
        for pattern in &syntax.patterns {
            self.quotes(pattern);
            if let Err(error) = pattern.is.check_is_sysctl() {
                self.not_a_sysctl(&error, pattern.span);
            }
        }
        let action = self.action(syntax.action);
        let condition = syntax.condition.as_ref().map(|condition| self.condition(condition));
        if self.errors > before {
            return None;
        }
        let patterns = syntax.patterns.into_iter().map(|pattern| pattern.is).collect();
        // Without errors, every part is there.
        let condition = match condition {
            Some(condition) => Some(condition?),
            None => None,
        };
        Some(Rule { action: action?, kinds: syntax.kinds.is, patterns, condition, log: syntax.log })
    }

    /// Whether the kinds of access go with the action, and with a condition that looks at the new value there.
    fn kinds(&mut self, syntax: &RuleSyntax, new: Option<Span>) {
        let kinds = &syntax.kinds;
        let action = match &syntax.action.is {
            ActionSyntax::Set(_) => Some("set"),
            ActionSyntax::Clamp(_) => Some("clamp"),
            ActionSyntax::Ignore => Some("ignore"),
            ActionSyntax::Allow | ActionSyntax::Deny(_) => None,
        };
        if let (Some(action), Kinds::Read | Kinds::Both) = (action, kinds.is) {
            let error = Diagnostic::error("rewritten-read", kinds.span, "a read cannot be rewritten")
                .also(syntax.action.span, format!("`{action}` changes what is written"));
            // Who wants what a read returns to be changed does not want a rule about writes.
            self.report(match kinds.is {
                Kinds::Both => error.help(format!("write `{action} write …`")).suggest(kinds.span, "write"),
                _ => error.help("only what is written can be changed"),
            });
        }
        match (kinds.is, new) {
            (Kinds::Read, Some(new)) => {
                let error = Diagnostic::error("new-of-read", new, "a read has no new value")
                    .also(kinds.span, "this rule is for reads alone")
                    .help("what the knob holds is `old`");
                self.report(error);
            }
            (Kinds::Both, Some(new)) if action.is_none() => {
                let warning =
                    Diagnostic::warning("new-of-read", new, "every read that comes this far is denied")
                        .also(kinds.span, "this rule is for reads too, and a read has no new value")
                        .help("make two rules of it, one for reads and one for writes");
                self.report(warning);
            }
            _ => {}
        }
    }

    fn action(&mut self, action: At<ActionSyntax>) -> Option<Action> {
        Some(match action.is {
            ActionSyntax::Allow => Action::Allow,
            ActionSyntax::Deny(errno) => Action::Deny(errno),
            ActionSyntax::Ignore => Action::Ignore,
            ActionSyntax::Set(text) => {
                self.measure(&text);
                if let Some(byte) = text.is.0.iter().find(|byte| matches!(byte, b'\n' | 0)) {
                    let what = if *byte == 0 { "NUL" } else { "newline" };
                    let message = format!("the text that `set` writes holds a {what}");
                    let error = Diagnostic::error("bad-replacement", text.span, message)
                        .help("what is written ends there for the kernel; padding is added by itself");
                    let line = text.is.0.trim_ascii_end();
                    let has_another = line.iter().any(|byte| matches!(byte, b'\n' | 0));
                    self.report(if has_another || line.is_empty() {
                        error
                    } else {
                        error.suggest(text.span, crate::Text::from(line).to_string())
                    });
                }
                Action::Set(text.is)
            }
            ActionSyntax::Clamp(ranges) => {
                let mut checked = Vec::new();
                for range in ranges {
                    let range = At::new(Range { low: range.is.low, high: range.is.high }, range.span);
                    self.range(&range);
                    checked.push(range.is);
                }
                Action::Clamp(checked)
            }
        })
    }

    /// Whether a name begins with what a word processor makes of a quote, or is a word for every name.
    fn quotes(&mut self, pattern: &At<KnobPattern>) {
        const QUOTES: [char; 5] = ['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}'];
        let Some(crate::Piece::Literal(start)) = pattern.is.pieces().first() else { return };
        let Ok(start) = std::str::from_utf8(start) else { return };
        if start.starts_with(QUOTES) {
            let warning =
                Diagnostic::warning("quoted-name", pattern.span, "the quote is taken as a part of the name")
                    .help("names are written without quotes");
            let plain = start.trim_matches(QUOTES);
            self.report(match pattern.is.literal() {
                Some(_) => match KnobPattern::parse(plain) {
                    Ok(plain) => warning.suggest(pattern.span, plain.to_string()),
                    Err(_) => warning,
                },
                None => warning,
            });
        } else if pattern.is.literal().is_some() && ["all", "any", "everything"].contains(&start) {
            let warning =
                Diagnostic::warning("word-as-name", pattern.span, "this is taken for the name of a knob")
                    .help("every knob is `**`")
                    .suggest(pattern.span, "**");
            self.report(warning);
        }
    }

    /// Whether the range has a member.
    fn range(&mut self, range: &At<Range>) {
        if let (Some(low), Some(high)) = (range.is.low, range.is.high)
            && low > high
        {
            let error = Diagnostic::error("empty-range", range.span, "there is nothing in this range")
                .label(format!("{low} is more than {high}"))
                .suggest(range.span, format!("{high}..{low}"));
            self.report(error.help("the lower end comes first"));
        }
    }

    /// Whether a text is short enough for a value to be equal to it.
    fn measure(&mut self, text: &At<crate::Text>) {
        if text.is.0.len() > limits::VALUE_MAX {
            let message = format!(
                "a text has at most {} bytes here, and this one has {}",
                limits::VALUE_MAX,
                text.is.0.len()
            );
            self.report(Diagnostic::error("text-too-long", text.span, message));
        }
    }

    fn not_a_sysctl(&mut self, error: &NotASysctl, span: Span) {
        self.report(Diagnostic::error("not-a-sysctl", span, error.to_string()).help(error.help()));
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.severity == crate::Severity::Error);
        self.diagnostics.push(diagnostic);
    }
}
