//! A policy and its text.

use std::borrow::Cow;

use knobgate_bpf::RuleEntry;
use knobgate_policy::{AccessKind, Policy, PolicyFile, Source};

use crate::ir::Step;

/// A policy with its text, which a program carries and to which its line information refers. It is the text of a file, or else
/// the canonical text of the policy.
#[derive(Debug)]
pub struct PolicySource<'a> {
    policy: &'a Policy,
    text: Text<'a>,
}

#[derive(Debug)]
enum Text<'a> {
    File(&'a PolicyFile),
    /// With the line of the default for reads. The default for writes, a blank line and the rules follow.
    Canonical {
        source: Source,
        defaults: usize,
    },
}

/// A place in the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Counted from 1.
    pub(crate) line: usize,
    /// Counted from 1.
    pub(crate) column: usize,
    /// The whole line.
    pub(crate) text: &'a str,
}

/// A statement of the policy.
#[derive(Debug, Clone, Copy)]
enum Statement {
    Rule(usize),
    Default(AccessKind),
}

impl<'a> From<&'a PolicyFile> for PolicySource<'a> {
    fn from(file: &'a PolicyFile) -> Self {
        Self { policy: file.policy(), text: Text::File(file) }
    }
}

impl<'a> From<&'a Policy> for PolicySource<'a> {
    fn from(policy: &'a Policy) -> Self {
        let text = policy.to_string();
        let defaults = 1 + text.lines().take_while(|line| !line.starts_with("default read ")).count();
        Self { policy, text: Text::Canonical { source: Source::new(policy.name(), text), defaults } }
    }
}

impl<'a> PolicySource<'a> {
    pub(crate) fn policy(&self) -> &'a Policy {
        self.policy
    }

    /// The text and its name.
    pub(crate) fn source(&self) -> &Source {
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
        let statement = match step {
            Step::Rule { rule, .. } | Step::NameTooLong { rule } => Statement::Rule(rule),
            Step::Default(kind) => Statement::Default(kind),
        };
        match (&self.text, statement) {
            (Text::File(file), Statement::Rule(rule)) => {
                self.at(file.rule_span(rule).map_or(0, |span| span.start))
            }
            (Text::File(file), Statement::Default(kind)) => {
                file.default_span(kind).map_or_else(|| self.header(), |span| self.at(span.start))
            }
            (Text::Canonical { source, .. }, _) => {
                let line = self.line(statement);
                Place { line, column: 1, text: source.line_text(line) }
            }
        }
    }

    /// The entries for the counters of a program, in their order: the rules, and the two defaults.
    pub(crate) fn entries(&self) -> Vec<RuleEntry> {
        let rules = (0..self.policy.rules().len()).map(Statement::Rule);
        let statements = rules.chain(AccessKind::ALL.map(Statement::Default));
        statements
            .map(|statement| RuleEntry {
                line: self.line(statement) as u32,
                text: self.statement_text(statement).into_owned(),
            })
            .collect()
    }

    fn at(&self, offset: usize) -> Place<'_> {
        let (line, column) = self.source().line_column(offset);
        Place { line, column, text: self.source().line_text(line) }
    }

    /// The line of a statement, counted from 1; 0 if it is not in the text.
    fn line(&self, statement: Statement) -> usize {
        match (&self.text, statement) {
            (Text::File(file), Statement::Rule(rule)) => file.rule_line(rule).unwrap_or(0),
            (Text::File(file), Statement::Default(kind)) => file.default_line(kind).unwrap_or(0),
            (Text::Canonical { defaults, .. }, Statement::Rule(rule)) => defaults + 3 + rule,
            (Text::Canonical { defaults, .. }, Statement::Default(kind)) => defaults + kind as usize,
        }
    }

    fn statement_text(&self, statement: Statement) -> Cow<'_, str> {
        match (&self.text, statement) {
            (Text::File(file), Statement::Rule(rule)) => file.rule_text(rule).unwrap_or_default().into(),
            (Text::File(file), Statement::Default(kind)) => match file.default_span(kind) {
                Some(span) => file.source().slice(span).into(),
                None => format!("default {kind}").into(),
            },
            (Text::Canonical { source, .. }, _) => source.line_text(self.line(statement)).into(),
        }
    }
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
            let text = policy.to_string();
            prop_assert_eq!(source.source().text(), &text);
            let file = parse(Source::new(policy.name(), text), &CheckOptions::default()).unwrap();
            let parsed = PolicySource::from(&file);
            prop_assert_eq!(source.entries(), parsed.entries());
            for rule in 0..policy.rules().len() {
                let step = Step::NameTooLong { rule };
                let (place, expected) = (source.place(step), parsed.place(step));
                prop_assert_eq!((place.line, place.column), (expected.line, expected.column));
                prop_assert_eq!(place.text, expected.text);
            }
        }
    }
}
