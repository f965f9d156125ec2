//! From syntax to a policy. Types and limits of every rule are checked here, and nowhere after.

mod comm;
mod condition;
mod count;
mod dotted;
mod engine;
mod ineffective;
mod known;
mod mask;
mod netns;
mod other_name;
mod reach;
mod selector;
mod width;

use std::collections::HashMap;

use knobgate_glob::Budget;

use self::engine::Places;
use crate::include::{self, IncludeLoader};
use crate::model::{check_kinds, ends_text};
use crate::parser::{self, Parsed};
use crate::scheme::{RULES, Scheme};
use crate::source::TestSpans;
use crate::syntax::{ActionSyntax, RangeSyntax, RuleSyntax, Spanned, StepSyntax, TestSyntax};
use crate::{
    Action, Defaults, Diagnostic, Kinds, KnobName, KnobPattern, Mode, ParseError, PolicyError, PolicyFile,
    Range, Rule, Severity, Source, Span, Test, TestStep, Text, limits,
};

/// At most this many warnings are kept.
const WARNINGS_MAX: usize = 1000;

/// How many steps looking up the patterns of a policy in the catalogue may take, in total. After that, patterns are taken to be known,
/// and there are no warnings about what their knobs do.
const CATALOGUE_STEPS_MAX: usize = 1 << 22;

/// Options of the checker.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct CheckOptions<'a> {
    /// The knobs of the machine that the policy is for. A pattern that matches none of them, and none of the
    /// [catalogue](crate::catalogue), gets a warning. An empty list leaves only the catalogue, and `None` means no such warnings.
    pub knobs: Option<&'a [KnobName]>,
    /// Reads what the policy includes. Without it, a policy can include presets only.
    pub includes: Option<&'a dyn IncludeLoader>,
    /// Whether warnings are left out that compare rules with each other or with the [catalogue](crate::catalogue). They take most of
    /// the time.
    pub only_errors: bool,
}

impl<'a> CheckOptions<'a> {
    /// The same with these [`knobs`](Self::knobs).
    #[must_use]
    pub fn knobs(self, knobs: &'a [KnobName]) -> Self {
        Self { knobs: Some(knobs), ..self }
    }

    /// The same without [warnings that take time](Self::only_errors).
    #[must_use]
    pub fn only_errors(self) -> Self {
        Self { only_errors: true, ..self }
    }

    /// The same with a loader for what the policy [includes](Self::includes).
    #[must_use]
    pub fn includes(self, loader: &'a dyn IncludeLoader) -> Self {
        Self { includes: Some(loader), ..self }
    }
}

/// Parses and checks a policy, with everything that it [includes](IncludeLoader). Warnings about what is in a preset are left out:
/// whoever includes it cannot change it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(source: Source, options: &CheckOptions<'_>) -> Result<PolicyFile, ParseError> {
    if let Some(error) = encoding_error(&source) {
        return Err(ParseError::new(source, vec![error]));
    }
    let mut parsed = parser::parse(source.text());
    let mut source = source;
    if !parsed.includes.is_empty() {
        let expanded = include::expand(source, &parsed.includes, options.includes);
        source = expanded.source;
        parsed = parser::parse_parts(source.text(), &expanded.parts);
        parsed.errors.extend(expanded.errors);
    }
    let mut checker = Checker::new(&RULES);
    let file = checker.file(parsed, &source, options);
    let mut diagnostics = checker.diagnostics;
    diagnostics.sort_by_key(|diagnostic| diagnostic.primary.span.start);
    if source.includes_others() {
        diagnostics = located(diagnostics, &source);
    }
    let file = file.filter(|_| diagnostics.iter().all(|diagnostic| diagnostic.severity != Severity::Error));
    let Some(mut file) = file else { return Err(ParseError::new(source, diagnostics)) };
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

/// `diagnostics` with the statements that include their places, and without warnings about presets.
fn located(diagnostics: Vec<Diagnostic>, source: &Source) -> Vec<Diagnostic> {
    let of_preset = |diagnostic: &Diagnostic| {
        diagnostic.severity == Severity::Warning && source.is_preset(diagnostic.primary.span.start)
    };
    let with_statements = |diagnostic: Diagnostic| {
        let statements = source.included_by(diagnostic.primary.span.start);
        statements.fold(diagnostic, |diagnostic, statement| diagnostic.also(statement, "included here"))
    };
    diagnostics.into_iter().filter(|diagnostic| !of_preset(diagnostic)).map(with_statements).collect()
}

/// An error that makes further checks useless.
pub(crate) fn encoding_error(source: &Source) -> Option<Diagnostic> {
    if source.text().len() > limits::FILE_MAX {
        let message = format!("the file has more than {} MiB", limits::FILE_MAX >> 20);
        return Some(Diagnostic::error("file-too-large", Span::default(), message));
    }
    source.not_utf8().map(|span| {
        Diagnostic::error("not-utf8", span, "the file is not UTF-8")
            .label("the first invalid byte")
            .help("in a text, other bytes are written `\\xHH`")
    })
}

pub(crate) struct Checker {
    /// What conditions can look at.
    scheme: &'static Scheme,
    diagnostics: Vec<Diagnostic>,
    /// How many errors the rules have.
    errors: usize,
    /// What `width 64` declares.
    width_64: Vec<KnobPattern>,
    /// What is left for looking up patterns in the catalogue.
    catalogue: Budget,
}

impl Checker {
    /// Conditions can look at what is in `scheme`.
    pub(crate) fn new(scheme: &'static Scheme) -> Self {
        let catalogue = Budget::steps(CATALOGUE_STEPS_MAX);
        Self { scheme, diagnostics: Vec::new(), errors: 0, width_64: Vec::new(), catalogue }
    }

    fn file(&mut self, parsed: Parsed, source: &Source, options: &CheckOptions<'_>) -> Option<PolicyFile> {
        self.diagnostics.extend(parsed.errors);
        let mut defaults = Defaults::default();
        if let Some(read) = &parsed.default_read {
            defaults.read = read.node;
        }
        if let Some(write) = &parsed.default_write {
            defaults.write = write.node;
        }
        if options.only_errors {
            self.catalogue = Budget::steps(0);
        }
        self.width_64 = parsed.width_64.into_iter().map(|pattern| pattern.node).collect();
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
        if !options.only_errors {
            self.diagnostics.extend(reach::unreachable_rules(&rules, &rule_spans));
            self.diagnostics.extend(comm::chosen_names(&rules, &comm_spans, &defaults));
            let unknown =
                known::unknown_knobs(&rules, &pattern_spans, options.knobs, source, &mut self.catalogue);
            self.diagnostics.extend(unknown);
        }
        let (tests, test_spans) = self.tests(parsed.tests);
        let (apply_if, apply_if_spans) = self.selectors(&parsed.apply_if);
        // If the header or another part is missing, an error has been reported.
        let Spanned { node: policy, span: header } = parsed.header?;
        let mode_span = parsed.mode.as_ref().map(|mode| mode.span);
        let default_write = parsed.default_write.map(|default| default.span);
        let policy = policy
            .with_mode(parsed.mode.map_or(Mode::default(), |mode| mode.node))
            .with_defaults(defaults)
            .with_rules(rules)
            .with_tests(tests)
            .with_apply_if(apply_if)
            .with_width_64(std::mem::take(&mut self.width_64));
        if !options.only_errors {
            let spans = other_name::Spans { patterns: &pattern_spans, rules: &rule_spans, default_write };
            self.other_names(&policy, &spans);
            let (apply_if, rules) = (&apply_if_spans[..], &rule_spans[..]);
            let places = Places { source, header, default_write, apply_if, rules };
            self.denied_engines(&policy, &places);
            self.diagnostics.extend(netns::unstated(&policy, &test_spans));
        }
        Some(PolicyFile {
            source: Source::new("", ""),
            policy,
            rule_spans,
            mode: mode_span,
            default_read: parsed.default_read.map(|default| default.span),
            default_write,
            test_spans,
            apply_if_spans,
            warnings: Vec::new(),
        })
    }

    fn tests(&mut self, tests: Vec<TestSyntax>) -> (Vec<Test>, Vec<TestSpans>) {
        let mut names: HashMap<String, Span> = HashMap::new();
        for test in &tests {
            if let Some(first) = names.get(&test.name.node) {
                let message = format!("two tests are called {:?}", test.name.node);
                let warning = Diagnostic::warning("duplicate-test", test.name.span, message);
                self.diagnostics.push(warning.also(*first, "the first one"));
            } else {
                names.insert(test.name.node.clone(), test.name.span);
            }
            if test.steps.is_empty() && !test.broken {
                let warning = Diagnostic::warning("empty-test", test.header, "this test states nothing");
                self.diagnostics.push(warning);
            }
        }
        tests
            .into_iter()
            .map(|test| {
                let (steps, spans) = test.steps.into_iter().filter_map(|step| self.step(step)).unzip();
                (Test { name: test.name.node, steps }, TestSpans { header: test.header, steps: spans })
            })
            .unzip()
    }

    fn step(
        &mut self,
        StepSyntax { access, comm, netns, expected, span }: StepSyntax,
    ) -> Option<(TestStep, Span)> {
        let step = TestStep::new(access, expected.node).map_err(|error| {
            let place = match error {
                PolicyError::BadComm => comm.unwrap_or(span),
                PolicyError::NetnsOutsideNet => netns.unwrap_or(span),
                PolicyError::ReadExpectedToChange => expected.span,
                _ => span,
            };
            self.report(Diagnostic::invalid(&error, place));
        });
        Some((step.ok()?, span))
    }

    /// The rule, if it is valid.
    fn rule(&mut self, syntax: RuleSyntax) -> Option<Rule> {
        let before = self.errors;
        let new = syntax.condition.as_ref().and_then(condition::first_new);
        self.kinds(&syntax, new);
        self.knob_netns(&syntax);
        self.numbers_of_new(&syntax);
        self.ineffective(&syntax);
        self.counts(&syntax);
        if let Some(condition) = &syntax.condition {
            self.masks(condition);
        }
        for pattern in &syntax.patterns {
            self.quotes(pattern);
            self.valid(pattern.node.check_is_sysctl(), pattern.span);
        }
        let action = self.action(syntax.action);
        let condition = syntax.condition.as_ref().map(|condition| self.rule_condition(condition));
        if self.errors > before {
            return None;
        }
        let condition_span = syntax.condition.as_ref().map_or(syntax.span, |condition| condition.span);
        let patterns = syntax.patterns.into_iter().map(|pattern| pattern.node);
        // Without errors, no part is missing.
        let rule = Rule::new(action?, syntax.kinds.node, patterns);
        let rule = match condition {
            Some(condition) => {
                let condition = condition?;
                rule.and_then(|rule| rule.with_condition(condition))
            }
            None => rule,
        };
        self.valid(rule, condition_span).map(|rule| rule.with_log(syntax.log))
    }

    /// Checks that the kinds of access fit the action and the condition, which looks at the new value at `new`.
    fn kinds(&mut self, syntax: &RuleSyntax, new: Option<Span>) {
        let kinds = &syntax.kinds;
        let action = match &syntax.action.node {
            ActionSyntax::Set(_) => Some("set"),
            ActionSyntax::Clamp(_) => Some("clamp"),
            ActionSyntax::Ignore => Some("ignore"),
            ActionSyntax::Allow | ActionSyntax::Deny(_) => None,
        };
        if let (Some(action), Err(error)) = (action, check_kinds(kinds.node, action.is_some(), false)) {
            let error = Diagnostic::invalid(&error, kinds.span)
                .also(syntax.action.span, format!("`{action}` changes what is written"));
            // Changing the rule to one for writes would not help: the author wants to change what reads return.
            self.report(match kinds.node {
                Kinds::Both => error.help(format!("write `{action} write …`")).suggest(kinds.span, "write"),
                _ => error,
            });
        }
        let Some(new) = new else { return };
        if let Err(error) = check_kinds(kinds.node, false, true) {
            self.report(Diagnostic::invalid(&error, new).also(kinds.span, "this rule is for reads alone"));
        } else if kinds.node == Kinds::Both && action.is_none() {
            let warning = Diagnostic::warning("new-of-read", new, "every read that gets this far is denied")
                .also(kinds.span, "this rule is for reads too, and a read has no new value")
                .help("split it into two rules, one for reads and one for writes");
            self.report(warning);
        }
    }

    fn action(&mut self, action: Spanned<ActionSyntax>) -> Option<Action> {
        match action.node {
            ActionSyntax::Allow => Some(Action::Allow),
            ActionSyntax::Deny(errno) => Some(Action::Deny(errno)),
            ActionSyntax::Ignore => Some(Action::Ignore),
            ActionSyntax::Set(text) => Action::set(text.node.as_bytes())
                .map_err(|error| {
                    let diagnostic = Diagnostic::invalid(&error, text.span);
                    let line = text.node.as_bytes().trim_ascii_end();
                    let cut = matches!(error, PolicyError::ReplacementNotOneLine { .. })
                        && !line.is_empty()
                        && !line.iter().copied().any(ends_text);
                    self.report(if cut {
                        diagnostic.suggest(text.span, Text::from(line).to_string())
                    } else {
                        diagnostic
                    });
                })
                .ok(),
            ActionSyntax::Clamp(ranges) => {
                let checked: Vec<Option<Range>> = ranges.node.iter().map(|range| self.range(range)).collect();
                let checked = checked.into_iter().collect::<Option<Vec<Range>>>()?;
                self.valid(Action::clamp(checked), ranges.span)
            }
        }
    }

    /// Warns of a name that begins with a typographic quote, or is a word such as `all`.
    fn quotes(&mut self, pattern: &Spanned<KnobPattern>) {
        const QUOTES: [char; 5] = ['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}'];
        let Some(crate::Piece::Literal(start)) = pattern.node.pieces().first() else { return };
        let Ok(start) = std::str::from_utf8(start) else { return };
        if start.starts_with(QUOTES) {
            let warning =
                Diagnostic::warning("quoted-name", pattern.span, "the quote is taken as part of the name")
                    .help("names are written without quotes");
            let plain = start.trim_matches(QUOTES);
            self.report(match pattern.node.literal() {
                Some(_) => match KnobPattern::parse(plain) {
                    Ok(plain) => warning.suggest(pattern.span, plain.to_string()),
                    Err(_) => warning,
                },
                None => warning,
            });
        } else if pattern.node.literal().is_some() && ["all", "any", "everything"].contains(&start) {
            let warning =
                Diagnostic::warning("word-as-name", pattern.span, "this is taken as the name of a knob")
                    .help("every knob is `**`")
                    .suggest(pattern.span, "**");
            self.report(warning);
        }
    }

    /// The range, if it has a member.
    fn range(&mut self, range: &Spanned<RangeSyntax>) -> Option<Range> {
        let (low, high) = (range.node.low, range.node.high);
        let checked = Range::new(low, high).map_err(|error| {
            let mut diagnostic = Diagnostic::invalid(&error, range.span);
            if let (Some(low), Some(high)) = (low, high) {
                diagnostic = diagnostic
                    .label(format!("{low} is more than {high}"))
                    .suggest(range.span, format!("{high}..{low}"));
            }
            self.report(diagnostic);
        });
        checked.ok()
    }

    /// The value. An error is reported at `span`.
    fn valid<T>(&mut self, result: Result<T, impl Into<PolicyError>>, span: Span) -> Option<T> {
        result.map_err(|error| self.report(Diagnostic::invalid(&error.into(), span))).ok()
    }

    /// What was reported.
    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        self.diagnostics.push(diagnostic);
    }
}
