//! Which rules are tried in which order.

use foldhash::HashMap;
use knobgate_policy::{AccessKind, Width};

/// One step of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Try this rule, whose kind and name match. If its condition does not hold, the next step follows. After a rule
    /// without a condition there is none.
    Rule {
        /// The index of the rule.
        rule: usize,
        /// The step after it.
        next: Option<StepId>,
        /// The width of the knob, if it matters to this rule or to one after it.
        width: Option<Width>,
    },
    /// The default for accesses of a kind.
    Default(AccessKind),
    /// Deny, because the name is too long for this rule to look at.
    NameTooLong {
        /// The index of the rule.
        rule: usize,
    },
}

/// The number of a step in [`Steps`]. Steps are numbered after their successors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StepId(pub(crate) usize);

/// All steps of a program. Equal ones are kept once, so that chains of rules share the ends that they have in common.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    steps: Vec<Step>,
    /// For each step, how many follow it.
    heights: Vec<usize>,
    numbers: HashMap<Step, StepId>,
}

impl Step {
    /// The step after it, if there is one.
    pub(crate) fn next(self) -> Option<StepId> {
        match self {
            Step::Rule { next, .. } => next,
            Step::Default(_) | Step::NameTooLong { .. } => None,
        }
    }

    /// The width of the knob, if it matters from here on.
    pub(crate) fn width(self) -> Option<Width> {
        match self {
            Step::Rule { width, .. } => width,
            Step::Default(_) | Step::NameTooLong { .. } => None,
        }
    }
}

impl Steps {
    /// The step with this number.
    pub(crate) fn get(&self, id: StepId) -> Step {
        self.steps[id.0]
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (StepId, Step)> {
        self.steps.iter().enumerate().map(|(number, &step)| (StepId(number), step))
    }

    /// The number of `step`.
    pub(crate) fn intern(&mut self, step: Step) -> StepId {
        *self.numbers.entry(step).or_insert_with(|| {
            self.steps.push(step);
            self.heights.push(step.next().map_or(0, |next| self.heights[next.0] + 1));
            StepId(self.steps.len() - 1)
        })
    }

    /// How many steps follow this one in its chain.
    pub(crate) fn height(&self, id: StepId) -> usize {
        self.heights[id.0]
    }

    /// `first`, and the steps after it.
    pub(crate) fn chain(&self, first: StepId) -> impl Iterator<Item = StepId> {
        std::iter::successors(Some(first), |&step| self.get(step).next())
    }
}
