//! What a policy decides about settings.

mod example_names;
mod possible;

use std::collections::BTreeSet;

use knobgate_policy::{Access, Action, DecidedBy, Kinds, KnobName, Policy, Rule, Verdict};

use crate::{Key, Setting, Settings};

/// A policy that settings are checked against.
///
/// A setting is a write of its value and a newline by root. What the file does not say (the current value, the name of the
/// task) stays open: each verdict that is possible is reported.
///
/// ```
/// use knobgate_policy::{CheckOptions, Source, parse};
/// use knobgate_sysctl_conf::{FileKind, Linter, Outcome, Unknown, read};
///
/// let policy = "policy x\nallow write vm.max_map_count if old <= new\nallow write vm.swappiness if new <= 60\n";
/// let policy = parse(Source::new("x.knob", policy), &CheckOptions::default()).unwrap().into_policy();
/// let linter = Linter::new(&policy);
///
/// let file = read(FileKind::Sysctl, "vm.swappiness = 100\nvm.max_map_count = 262144\n");
/// let verdicts: Vec<_> = file.settings.iter().flat_map(|setting| linter.verdicts(setting, &file)).collect();
/// assert_eq!(verdicts[0].outcome(), Outcome::Denied);
/// assert_eq!(verdicts[1].outcome(), Outcome::Depends);
/// assert!(verdicts[1].unknown.contains(&Unknown::CurrentValue));
/// ```
#[derive(Debug)]
pub struct Linter<'a> {
    policy: &'a Policy,
    /// The same without rules and tests.
    without_rules: Policy,
    /// Rules that match what each rule's patterns match.
    by_name: Vec<Rule>,
}

/// What a policy decides about a setting of one knob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnobVerdict {
    /// The knob. For a glob, one of several that are decided the same; `None` if no such name was found.
    pub knob: Option<KnobName>,
    /// The verdicts that are possible.
    pub possible: Vec<Possible>,
    /// What they depend on.
    pub unknown: BTreeSet<Unknown>,
}

/// A verdict that is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Possible {
    /// The verdict; `None` if a rule writes the current value, which is unknown.
    pub verdict: Option<Verdict>,
    /// What decides.
    pub by: DecidedBy,
}

/// What a file does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unknown {
    /// `old`
    CurrentValue,
    /// `comm`
    TaskName,
    /// Which knobs a glob matches: the patterns of the policy are too complex.
    Names,
}

/// What happens to a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The value is written.
    Allowed,
    /// Another value is written.
    Rewritten,
    /// Nothing is written.
    Denied,
    /// One of these.
    Depends,
}

impl KnobVerdict {
    /// What happens, whatever is unknown.
    pub fn outcome(&self) -> Outcome {
        let mut outcomes = self.possible.iter().map(|possible| match possible.verdict {
            Some(Verdict::Allow) => Outcome::Allowed,
            Some(Verdict::Deny(_)) => Outcome::Denied,
            Some(Verdict::Rewrite(_)) | None => Outcome::Rewritten,
        });
        match outcomes.next() {
            Some(outcome) if outcomes.all(|other| other == outcome) => outcome,
            _ => Outcome::Depends,
        }
    }
}

impl<'a> Linter<'a> {
    /// Checks settings against `policy`.
    pub fn new(policy: &'a Policy) -> Self {
        let by_name = policy.rules().iter().map(|rule| {
            // The same patterns were valid in a rule before.
            Rule::new(Action::Allow, Kinds::Write, rule.patterns().to_vec()).unwrap_or_else(|_| rule.clone())
        });
        let by_name = by_name.collect();
        Self { policy, without_rules: policy.clone().with_rules([]).with_tests([]), by_name }
    }

    /// What the policy decides about `setting`, a setting of `file`: one verdict for a knob, and for a glob one for each way
    /// in which knobs that it matches are decided. A glob matches no knob that has a setting or an exclusion of its own in
    /// the file. There is none if no knob is left.
    pub fn verdicts(&self, setting: &Setting, file: &Settings) -> Vec<KnobVerdict> {
        let glob = match &setting.key {
            Key::Knob(name) => return vec![self.verdict(name, &setting.value)],
            Key::Glob(glob) => glob,
        };
        let Ok(names) = example_names::of(glob, self.policy, file) else {
            return vec![unknown_names()];
        };
        let mut verdicts: Vec<KnobVerdict> = Vec::new();
        for name in names {
            let verdict = name.map_or_else(unknown_names, |name| self.verdict(&name, &setting.value));
            let is_new = |other: &KnobVerdict| {
                (&other.possible, &other.unknown) != (&verdict.possible, &verdict.unknown)
            };
            if verdicts.iter().all(is_new) {
                verdicts.push(verdict);
            }
        }
        verdicts
    }

    fn verdict(&self, knob: &KnobName, value: &str) -> KnobVerdict {
        let access = Access::write(knob.clone(), format!("{value}\n"));
        let (possible, mut unknown) = possible::verdicts(self, &access);
        if let [Possible { verdict: Some(_), .. }] = possible.as_slice() {
            unknown.clear();
        }
        KnobVerdict { knob: Some(knob.clone()), possible, unknown }
    }
}

fn unknown_names() -> KnobVerdict {
    KnobVerdict { knob: None, possible: Vec::new(), unknown: BTreeSet::from([Unknown::Names]) }
}
