//! A policy and its text.

use std::borrow::Cow;

use knobgate_policy::{AccessKind, Policy, PolicyFile, Source};

use crate::ir::Step;

/// A policy with its text, which a program carries and to which its line information refers. It is the text of a file, or else
/// the canonical text of the policy. Which containers a policy applies to is no part of either: see
/// [`PolicyFile::program_text`].
#[derive(Debug, Clone)]
pub struct PolicySource<'a> {
    policy: &'a Policy,
    text: Text<'a>,
}

#[derive(Debug, Clone)]
enum Text<'a> {
    File(&'a PolicyFile),
    /// With the line of the default for reads.
    Canonical {
        source: Source,
        defaults: usize,
    },
}

/// A place in the policy's own file, which for what it includes is that of the statement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Counted from 1.
    pub(crate) line: usize,
    /// Counted from 1.
    pub(crate) column: usize,
    /// The whole line, which may be one of an included file.
    pub(crate) text: &'a str,
}

impl<'a> From<&'a PolicyFile> for PolicySource<'a> {
    fn from(file: &'a PolicyFile) -> Self {
        Self { policy: file.policy(), text: Text::File(file) }
    }
}

impl<'a> From<&'a Policy> for PolicySource<'a> {
    fn from(policy: &'a Policy) -> Self {
        let text = policy.clone().with_apply_if([]).to_string();
        let defaults = 1 + text.lines().take_while(|line| !line.starts_with("default read ")).count();
        Self { policy, text: Text::Canonical { source: Source::new(policy.name(), text), defaults } }
    }
}

impl<'a> PolicySource<'a> {
    /// The policy.
    pub fn policy(&self) -> &'a Policy {
        self.policy
    }

    /// The name of the text: that of the file, or of the policy.
    pub fn name(&self) -> &str {
        self.source().name()
    }

    /// Where a rule begins, in its file; `None` if there is no such rule.
    pub fn rule_place(&self, rule: usize) -> Option<knobgate_policy::Place<'_>> {
        match &self.text {
            Text::File(file) => file.rule_place(rule),
            Text::Canonical { source, .. } => self.rule_line(rule).map(|line| source.line_place(line)),
        }
    }

    /// The line of a rule in the policy's own file, counted from 1: that of the `include` statement, if the rule is included; `None`
    /// if there is no such rule.
    pub fn rule_line(&self, rule: usize) -> Option<usize> {
        match &self.text {
            Text::File(file) => file.rule_span(rule).map(|span| file.source().own_place(span.start).line),
            Text::Canonical { defaults, .. } => {
                (rule < self.policy.rules().len()).then_some(canonical_line(*defaults, rule))
            }
        }
    }

    /// The text of a rule; `None` if there is no such rule.
    pub fn rule_text(&self, rule: usize) -> Option<&str> {
        match &self.text {
            Text::File(file) => file.rule_text(rule),
            Text::Canonical { source, .. } => self.rule_line(rule).map(|line| source.line_text(line)),
        }
    }

    /// The line of a default, and its text as the policy states it. One that it does not state has no line.
    pub(crate) fn default_text(&self, kind: AccessKind) -> (Option<usize>, &str) {
        match &self.text {
            Text::File(file) => match file.default_span(kind) {
                Some(span) => (Some(file.source().own_place(span.start).line), file.source().slice(span)),
                None => (
                    None,
                    match kind {
                        AccessKind::Read => "default read allow",
                        AccessKind::Write => "default write deny",
                    },
                ),
            },
            Text::Canonical { source, defaults } => {
                let line = defaults + kind as usize;
                (Some(line), source.line_text(line))
            }
        }
    }

    /// The text that the program carries.
    pub(crate) fn program_text(&self) -> Cow<'_, str> {
        match &self.text {
            Text::File(file) => file.program_text(),
            Text::Canonical { source, .. } => Cow::Borrowed(source.text()),
        }
    }

    /// The text, as the file has it, and its name.
    fn source(&self) -> &Source {
        match &self.text {
            Text::File(file) => file.source(),
            Text::Canonical { source, .. } => source,
        }
    }

    /// The first line.
    pub(crate) fn header(&self) -> Place<'_> {
        self.at(self.source().text().find("policy").unwrap_or(0))
    }

    /// The place of a step in the text: the rule, or the default if that is stated, or else the header.
    pub(crate) fn place(&self, step: Step) -> Place<'_> {
        match &self.text {
            Text::File(file) => match step {
                Step::Rule { rule, .. } | Step::NameTooLong { rule } => {
                    self.at(file.rule_span(rule).map_or(0, |span| span.start))
                }
                Step::Default(kind) => {
                    file.default_span(kind).map_or_else(|| self.header(), |span| self.at(span.start))
                }
            },
            Text::Canonical { source, defaults } => {
                let line = match step {
                    Step::Rule { rule, .. } | Step::NameTooLong { rule } => canonical_line(*defaults, rule),
                    Step::Default(kind) => defaults + kind as usize,
                };
                Place { line, column: 1, text: source.line_text(line) }
            }
        }
    }

    fn at(&self, offset: usize) -> Place<'_> {
        let source = self.source();
        let own = source.own_place(offset);
        Place { line: own.line, column: own.column, text: source.line_text(source.line(offset)) }
    }
}

/// The line of a rule, if that of the default for reads is `defaults`: after it come the default for writes and a blank line.
fn canonical_line(defaults: usize, rule: usize) -> usize {
    defaults + 3 + rule
}

#[cfg(test)]
mod tests {
    use knobgate_policy::{CheckOptions, parse};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_policy_without_a_file_is_like_its_canonical_text(policy in knobgate_arbitrary::policy()) {
            let source = PolicySource::from(&policy);
            let text = policy.clone().with_apply_if([]).to_string();
            prop_assert_eq!(&source.program_text(), &text);
            let file = parse(Source::new(policy.name(), text), &CheckOptions::default()).unwrap();
            let parsed = PolicySource::from(&file);
            let rules = (0..policy.rules().len()).map(|rule| Step::NameTooLong { rule });
            for step in rules.chain(AccessKind::ALL.map(Step::Default)) {
                let (place, expected) = (source.place(step), parsed.place(step));
                prop_assert_eq!((place.line, place.column), (expected.line, expected.column));
                prop_assert_eq!(place.text, expected.text);
            }
            for rule in 0..policy.rules().len() + 1 {
                prop_assert_eq!(source.rule_line(rule), parsed.rule_place(rule).map(|place| place.line));
                prop_assert_eq!(source.rule_text(rule), parsed.rule_text(rule));
            }
        }
    }
}
