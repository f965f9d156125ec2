//! Which rules are tried in which order for which names.

use foldhash::HashMap;
use knobgate_policy::{AccessKind, Policy, Width};

use crate::width;

/// One step of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// This rule, whose kind and name match, and if its condition does not hold, the step behind it. A rule
    /// without a condition has none.
    Rule {
        /// The index of the rule.
        rule: usize,
        /// The step behind it.
        next: Option<StepId>,
        /// Which numbers the knob stores as they are, if that matters to this rule or to one behind it.
        width: Option<Width>,
    },
    /// The default for accesses of a kind.
    Default(AccessKind),
    /// The name was needed and is too long; this rule needed it.
    NameTooLong {
        /// The index of the rule.
        rule: usize,
    },
}

/// The number of a step in [`Steps`]. A step comes behind those that it goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StepId(pub(crate) usize);

/// All steps of a program. Chains of rules that end alike share their ends.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    steps: Vec<Step>,
    numbers: HashMap<Step, StepId>,
}

impl Step {
    /// The step behind it, if there is one.
    pub(crate) fn next(self) -> Option<StepId> {
        match self {
            Step::Rule { next, .. } => next,
            Step::Default(_) | Step::NameTooLong { .. } => None,
        }
    }

    /// Which numbers the knob stores as they are, if that matters from here on.
    fn width(self) -> Option<Width> {
        match self {
            Step::Rule { width, .. } => width,
            Step::Default(_) | Step::NameTooLong { .. } => None,
        }
    }
}

impl Steps {
    /// The step of this number.
    pub(crate) fn get(&self, id: StepId) -> Step {
        self.steps[id.0]
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (StepId, Step)> {
        self.steps.iter().enumerate().map(|(number, &step)| (StepId(number), step))
    }

    /// The first step of a chain for knobs of this `width`, which is absent for reads: `rules` up to the first without a
    /// condition, else all of them and then `end`.
    pub(crate) fn chain(
        &mut self,
        policy: &Policy,
        width: Option<Width>,
        rules: impl Iterator<Item = usize>,
        end: Step,
    ) -> StepId {
        let matters_to = |rule: usize| width.filter(|_| width::matters_to(&policy.rules()[rule]));
        let mut conditional = Vec::new();
        let mut last = None;
        for rule in rules {
            if policy.rules()[rule].condition().is_none() {
                last = Some(Step::Rule { rule, next: None, width: matters_to(rule) });
                break;
            }
            conditional.push(rule);
        }
        let last = self.intern(last.unwrap_or(end));
        conditional.into_iter().rev().fold(last, |next, rule| {
            let width = self.get(next).width().or(matters_to(rule));
            self.intern(Step::Rule { rule, next: Some(next), width })
        })
    }

    fn intern(&mut self, step: Step) -> StepId {
        *self.numbers.entry(step).or_insert_with(|| {
            self.steps.push(step);
            StepId(self.steps.len() - 1)
        })
    }
}
