//! What a policy decides about settings.

mod example_names;
mod set_apart;

use std::collections::BTreeSet;

use knobgate_policy::{Access, DecidedBy, Input, Inputs, KnobName, Policy, Verdict, possible};

use crate::{Key, Setting};
pub use set_apart::SetApart;

/// A policy that settings are checked against.
///
/// A setting is a write of its value and a newline by root. What the file does not say (the current value, the name of the
/// task) stays open: each verdict that is possible is reported.
///
/// ```
/// use knobgate_policy::{CheckOptions, Source, parse};
/// use knobgate_sysctl_conf::{FileKind, Linter, Outcome, SetApart, Unknown, read};
///
/// let policy = "policy x\nallow write vm.max_map_count if old <= new\nallow write vm.swappiness if new <= 60\n";
/// let policy = parse(Source::new("x.knob", policy), &CheckOptions::default()).unwrap().into_policy();
/// let mut linter = Linter::new(&policy);
///
/// let file = read(FileKind::Sysctl, "vm.swappiness = 100\nvm.max_map_count = 262144\n");
/// let apart = SetApart::of([&file]);
/// let verdicts: Vec<_> = file.settings.iter().flat_map(|setting| linter.verdicts(setting, &apart)).collect();
/// assert_eq!(verdicts[0].outcome(), Outcome::Denied);
/// assert_eq!(verdicts[1].outcome(), Outcome::Depends);
/// assert!(verdicts[1].unknown.contains(&Unknown::CurrentValue));
/// ```
#[derive(Debug)]
pub struct Linter<'a> {
    policy: &'a Policy,
    /// How much work the names of globs may still be.
    steps_left: usize,
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
    /// The network namespace that owns the knob: that of whoever applies the settings.
    KnobNetns,
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
        Self { policy, steps_left: example_names::ALL_STEPS_MAX }
    }

    /// What the policy decides about `setting`: one verdict for a knob, and for a glob one for each way in which knobs that it
    /// matches are decided. A glob matches no knob that is set apart. There is none if no knob is left.
    pub fn verdicts(&mut self, setting: &Setting, apart: &SetApart) -> Vec<KnobVerdict> {
        let glob = match &setting.key {
            Key::Knob(name) => return vec![self.verdict(name, &setting.value)],
            Key::Glob(glob) => glob,
        };
        let Ok(names) = example_names::of(glob, self.policy, apart, &mut self.steps_left) else {
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
        let inputs = [
            (Input::Old, Unknown::CurrentValue),
            (Input::Comm, Unknown::TaskName),
            (Input::Netns, Unknown::KnobNetns),
        ];
        let unknown: Inputs = inputs.into_iter().map(|(input, _)| input).collect();
        let found = possible(self.policy, &access, unknown);
        let is_known = found.decisions.len() == 1 && found.verdict().is_some();
        let looks_at = |&(input, _): &(Input, Unknown)| found.looks_at.contains(input) && !is_known;
        let unknown = inputs.into_iter().filter(looks_at).map(|(_, unknown)| unknown).collect();
        let decisions = found.decisions.into_iter();
        let possible =
            decisions.map(|decision| Possible { verdict: decision.verdict, by: decision.by }).collect();
        KnobVerdict { knob: Some(knob.clone()), possible, unknown }
    }
}

fn unknown_names() -> KnobVerdict {
    KnobVerdict { knob: None, possible: Vec::new(), unknown: BTreeSet::from([Unknown::Names]) }
}
