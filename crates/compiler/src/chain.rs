//! Which rules are tried in which order for which names.

use std::collections::HashMap;

use knobgate_policy::{AccessKind, KnobPattern, Policy};

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
    },
    /// The default for accesses of a kind.
    Default(AccessKind),
    /// The name was needed and is too long; this rule needed it.
    NameTooLong {
        /// The index of the rule.
        rule: usize,
    },
}

/// The number of a step in [`Steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StepId(pub(crate) usize);

/// All steps of a program. Chains of rules that end alike share their ends.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    steps: Vec<Step>,
    numbers: HashMap<Step, StepId>,
}

/// How accesses of one kind are decided.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Alike for all names.
    AnyName(StepId),
    /// By the name.
    ByName {
        /// For names of each class.
        of_class: Vec<StepId>,
        /// For names that are too long to be classified.
        too_long: StepId,
    },
}

impl Steps {
    /// The step of this number.
    pub(crate) fn get(&self, id: StepId) -> Step {
        self.steps[id.0]
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    /// How `policy` decides accesses of `kind`. `classes` are the classes of names, each with the rules that match
    /// its names.
    pub(crate) fn plan(&mut self, policy: &Policy, kind: AccessKind, classes: &[Vec<usize>]) -> Plan {
        let of_kind = |rule: &usize| policy.rules[*rule].kinds.contains(kind);
        let fallback = Step::Default(kind);
        let of_class: Vec<StepId> = classes
            .iter()
            .map(|rules| self.chain(policy, rules.iter().copied().filter(of_kind), fallback))
            .collect();

        let rules: Vec<usize> = (0..policy.rules.len()).filter(of_kind).collect();
        let needs_name =
            |rule: &&usize| !policy.rules[**rule].patterns.iter().any(KnobPattern::matches_every_name);
        let end = rules.iter().find(needs_name).map_or(fallback, |&rule| Step::NameTooLong { rule });
        let nameless = rules.iter().take_while(|rule| !needs_name(rule)).copied();
        let too_long = self.chain(policy, nameless, end);

        if of_class.iter().all(|&chain| chain == too_long) {
            Plan::AnyName(too_long)
        } else {
            Plan::ByName { of_class, too_long }
        }
    }

    /// The first step of a chain: `rules` up to the first without a condition, else all of them and then `end`.
    fn chain(&mut self, policy: &Policy, rules: impl Iterator<Item = usize>, end: Step) -> StepId {
        let mut conditional = Vec::new();
        let mut last = None;
        for rule in rules {
            if policy.rules[rule].condition.is_none() {
                last = Some(Step::Rule { rule, next: None });
                break;
            }
            conditional.push(rule);
        }
        let last = self.intern(last.unwrap_or(end));
        conditional
            .into_iter()
            .rev()
            .fold(last, |next, rule| self.intern(Step::Rule { rule, next: Some(next) }))
    }

    fn intern(&mut self, step: Step) -> StepId {
        *self.numbers.entry(step).or_insert_with(|| {
            self.steps.push(step);
            StepId(self.steps.len() - 1)
        })
    }
}
