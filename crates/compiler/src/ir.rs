//! A policy as data: which rules decide, in which order, for which names. Nothing here knows BPF.
//!
//! For reads and for writes there is a [`Plan`] that leads from a name to a [step](Step): a rule to try, and the step
//! after it. A [`Rule`] is a condition and an action. The condition is one decision [`Graph`]; `and`, `or`, `not`,
//! chains, ranges and small sets exist only in its edges. The numbers and texts of a rule are hoisted out of both, into
//! lists of [`Constant`]s, so that rules with the same structure are equal.

mod action;
mod constant;
mod graph;
mod plan;
#[cfg(test)]
mod print;
mod rule;
mod step;

pub(crate) use action::{Action, Bound};
pub(crate) use constant::{Bytes, Constant, Integer, Slot, TableContents, TextAutomaton};
pub(crate) use graph::{
    Automaton, CountRange, Established, Extent, Graph, Next, Node, Number, NumberSet, Operand, Sorted,
    Subject, Test, TextTest, netns,
};
pub(crate) use plan::{ByLastComponent, ByName, NamedStep, OtherComponents, OtherNames, Plan};
pub(crate) use rule::{FetchSet, Reports, Rule};
pub(crate) use step::{Step, StepId, Steps};

use foldhash::HashMap;
use knobgate_policy::{AccessKind, Mode, Width};

/// A rule as it is tried for knobs of one width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RuleId {
    /// The index of the rule in the policy.
    pub(crate) rule: usize,
    /// The width, if it matters to this rule or to one after it.
    pub(crate) width: Option<Width>,
}

/// What a program decides.
#[derive(Debug)]
pub(crate) struct Ir {
    pub(crate) mode: Mode,
    /// For reads, and for writes.
    pub(crate) plans: [Plan; 2],
    pub(crate) steps: Steps,
    /// The steps that a plan leads to, in order.
    pub(crate) reached: Vec<StepId>,
    /// The rules that these try.
    pub(crate) rules: HashMap<RuleId, Rule>,
    /// For each step, the values that its chain looks at from there on.
    pub(crate) fetches: Vec<FetchSet>,
    /// What happens where no rule decides: for reads, and for writes.
    pub(crate) defaults: [Action; 2],
    /// For which of these verdicts an event is sent.
    pub(crate) default_reports: [Reports; 2],
    /// What constants refer to.
    pub(crate) tables: TableContents,
    /// How many rules the policy has.
    pub(crate) rule_count: usize,
}

impl Ir {
    /// The steps that a plan leads to, each with a higher number than its successor.
    pub(crate) fn reached_steps(&self) -> impl Iterator<Item = (StepId, Step)> {
        self.reached.iter().map(|&id| (id, self.steps.get(id)))
    }

    /// The values that a chain looks at from this step on.
    pub(crate) fn fetch(&self, id: StepId) -> FetchSet {
        self.fetches[id.0]
    }

    /// The rule that a step tries, if it tries one.
    pub(crate) fn rule(&self, step: Step) -> Option<&Rule> {
        match step {
            Step::Rule { rule, width, .. } => self.rules.get(&RuleId { rule, width }),
            Step::Default(_) | Step::NameTooLong { .. } => None,
        }
    }

    /// For which verdicts of a step an event is sent.
    pub(crate) fn reports(&self, step: Step) -> Reports {
        match step {
            Step::Default(AccessKind::Read) => self.default_reports[0],
            Step::Default(AccessKind::Write) => self.default_reports[1],
            Step::Rule { .. } | Step::NameTooLong { .. } => {
                self.rule(step).map_or(Reports::NONE, |rule| rule.reports)
            }
        }
    }

    /// The action of a step. If the step tries a rule with a condition, the action is for when that holds.
    pub(crate) fn action(&self, step: Step) -> &Action {
        match step {
            Step::Default(AccessKind::Read) => &self.defaults[0],
            Step::Default(AccessKind::Write) => &self.defaults[1],
            Step::Rule { .. } | Step::NameTooLong { .. } => {
                self.rule(step).map_or(&Action::CannotEvaluate, |rule| &rule.action)
            }
        }
    }
}
