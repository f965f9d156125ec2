//! sysctl.d(5) files as a policy.
//!
//! The policy allows what systemd-sysctl and sysctl(8) would write, and nothing else. Of several settings of the same key,
//! the last one counts. A glob sets no knob that has a setting or an exclusion of its own (`apply_all`, systemd's
//! src/sysctl/sysctl.c; `settinglist_findpath`, procps-ng's src/sysctl.c). If several globs match a knob, each of their
//! values is written in turn, so each is allowed.

mod condition;
mod rules;
mod test_block;

use std::collections::BTreeSet;

use knobgate_policy::terminal::{escape, escape_lines};
use knobgate_policy::{
    CheckOptions, Defaults, Errno, Fallback, FallbackAction, ParseError, Policy, PolicyError, PolicyFile,
    Source, parse,
};

use crate::{Conf, LineError};
use rules::{Item, Plan};

/// A file, and its name for messages and comments.
#[derive(Debug, Clone, Copy)]
pub struct ConfFile<'a> {
    /// The name.
    pub name: &'a str,
    /// What is in it.
    pub conf: &'a Conf,
}

/// A policy that was made from files.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The policy with its text.
    pub file: PolicyFile,
    /// What the policy leaves out, and what the files may not mean.
    pub notes: Vec<String>,
}

/// Why files do not become a policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The name of the policy is none.
    #[error("`{name}` cannot be the name of a policy")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        source: PolicyError,
    },
    /// Lines cannot be read, or no policy can say what they say.
    #[error("{} lines are wrong", .0.len())]
    Lines(
        /// Each with the name of its file.
        Vec<(String, LineError)>,
    ),
    /// The policy is not valid: it is too large.
    #[error("these files do not fit into one policy")]
    Policy(#[source] ParseError),
}

/// The policy, called `name`, that allows to write what `files` set, and nothing else. Later files count more.
///
/// Its text has the comments of the files, a rule for each setting, and a test block.
///
/// # Errors
/// A line that cannot be read, or whose value is too long to compare with; a name that no policy can have.
pub fn import(name: &str, files: &[ConfFile<'_>]) -> Result<Imported, ImportError> {
    let policy = Policy::new(name).map_err(|source| ImportError::Name { name: name.to_owned(), source })?;
    let deny = Fallback { action: FallbackAction::Deny(Errno::EPERM), log: None };
    let defaults = Defaults { read: Fallback { action: FallbackAction::Allow, log: None }, write: deny };
    let policy = policy.with_defaults(defaults);
    let mut plan = Plan::of(files).map_err(ImportError::Lines)?;
    let mut file = policy_file(policy.clone(), &plan, files)?;
    let unreachable = unreachable_rules(&file);
    if !unreachable.is_empty() {
        plan.drop_rules(&unreachable);
        file = policy_file(policy, &plan, files)?;
    }
    Ok(Imported { file, notes: plan.notes })
}

/// `policy` with the rules of `plan`, a test, and its text.
fn policy_file(policy: Policy, plan: &Plan, files: &[ConfFile<'_>]) -> Result<PolicyFile, ImportError> {
    let policy = policy.with_rules(plan.rules());
    let test = test_block::of(plan, &policy, files);
    let policy = policy.with_tests(test);
    let source = Source::new(format!("{}.knob", policy.name()), text(&policy, plan, files));
    let formatted = knobgate_policy::format(&source).map_err(ImportError::Policy)?;
    let source = Source::new(source.name(), formatted);
    let file = parse(source, &CheckOptions::default()).map_err(ImportError::Policy)?;
    debug_assert_eq!(*file.policy(), policy, "its text means the same");
    Ok(file)
}

/// The rules that are never reached.
fn unreachable_rules(file: &PolicyFile) -> BTreeSet<usize> {
    let warnings = file.warnings().iter().filter(|warning| warning.code == "unreachable-rule");
    let starts: BTreeSet<usize> = warnings.map(|warning| warning.primary.span.start).collect();
    let start = |rule: &usize| file.rule_span(*rule).map(|span| span.start);
    let rules = 0..file.policy().rules().len();
    rules.filter(|rule| start(rule).is_some_and(|start| starts.contains(&start))).collect()
}

/// The text of `policy`, with the comments of the files.
fn text(policy: &Policy, plan: &Plan, files: &[ConfFile<'_>]) -> String {
    let mut text = String::new();
    text += &format!("# Allows {}.\n", one_line(&what_is_set(files)));
    text += &format!("policy {}\n\n", policy.name());
    text += &format!("default read {}\n", policy.defaults().read);
    text += &format!("default write {}\n\n", policy.defaults().write);
    for item in &plan.items {
        match item {
            Item::Blank => {}
            Item::Comment(comment) => text += &format!("#{}", one_line(comment)),
            Item::Rule { rule, comment } => {
                text += &escape(rule.to_string().as_bytes());
                if let Some(comment) = comment {
                    text += &format!("  # {comment}");
                }
            }
        }
        text.push('\n');
    }
    for test in policy.tests() {
        text += &format!("\n{}\n", escape_lines(&test.to_string()));
    }
    text
}

/// `what A sets, and nothing else`
fn what_is_set(files: &[ConfFile<'_>]) -> String {
    let names: Vec<&str> = files.iter().map(|file| file.name).collect();
    let sets = match names.as_slice() {
        [] => "nothing sets".to_owned(),
        [name] => format!("{name} sets"),
        [names @ .., last] => format!("{} and {last} set", names.join(", ")),
    };
    format!("what {sets}, and nothing else")
}

/// `text` on one line, with a space for each tab, and everything else as `\xHH` that nobody would see.
fn one_line(text: &str) -> String {
    escape(text.replace('\t', " ").as_bytes())
}
