//! What a policy decides about recorded accesses.

use std::rc::Rc;

use foldhash::HashMap;
use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{AccessKind, DecidedBy, KnobName, Policy, Verdict, evaluate, possible};

use crate::recorded::{Recorded, Unknown};

/// How many knobs' rules are kept.
const KNOBS_MAX: usize = 1 << 10;

/// A policy that decides recorded accesses. It picks the rules for a knob once.
#[derive(Debug)]
pub struct Decider<'a> {
    policy: &'a Policy,
    /// The same without rules and tests.
    without_rules: Policy,
    by_knob: HashMap<(KnobName, AccessKind), Rc<OfKnob>>,
}

/// A policy with the rules whose patterns match one knob.
#[derive(Debug)]
struct OfKnob {
    policy: Policy,
    /// The index of each rule in the whole policy.
    rules: Vec<usize>,
}

/// What a policy decides, as far as that can be known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decided {
    /// The verdicts that are possible, at least one; `None` for a rewrite to something unknown, which may as well turn out to
    /// allow, or to deny because the rule cannot be evaluated.
    pub verdicts: Vec<Option<Verdict>>,
    /// What decides, if that is known.
    pub by: Option<DecidedBy>,
    /// What it may depend on.
    pub unknown: Vec<Unknown>,
}

impl Decided {
    /// The verdict, if it is known.
    pub fn verdict(&self) -> Option<&Verdict> {
        match &self.verdicts[..] {
            [Some(verdict)] => Some(verdict),
            _ => None,
        }
    }
}

impl<'a> Decider<'a> {
    /// Decides by `policy`, as if its mode were to enforce.
    pub fn new(policy: &'a Policy) -> Self {
        let without_rules = policy.clone().with_rules([]).with_tests([]);
        Self { policy, without_rules, by_knob: HashMap::default() }
    }

    /// Decides a recorded access.
    pub fn decide(&mut self, recorded: &Recorded) -> Decided {
        let of_knob = self.of_knob(&recorded.access.knob, recorded.access.kind());
        let by = |by: DecidedBy| match by {
            DecidedBy::Rule(rule) => DecidedBy::Rule(of_knob.rules[rule]),
            DecidedBy::EvalError { rule, error } => DecidedBy::EvalError { rule: of_knob.rules[rule], error },
            default @ DecidedBy::Default(_) => default,
        };
        if recorded.unknown.is_empty() {
            let decision = evaluate(&of_knob.policy, &recorded.access);
            let verdicts = vec![Some(decision.verdict)];
            return Decided { verdicts, by: Some(by(decision.by)), unknown: Vec::new() };
        }
        let possible = possible(&of_knob.policy, &recorded.access, recorded.unknown);
        let unknown = recorded.reasons(possible.looks_at);
        let decided_by = possible.by().map(by);
        let mut verdicts: Vec<Option<Verdict>> = Vec::new();
        for decision in possible.decisions {
            if !verdicts.contains(&decision.verdict) {
                verdicts.push(decision.verdict);
            }
        }
        Decided { verdicts, by: decided_by, unknown }
    }

    /// The rules for a knob. All others do not match it.
    fn of_knob(&mut self, knob: &KnobName, kind: AccessKind) -> Rc<OfKnob> {
        if let Some(of_knob) = self.by_knob.get(&(knob.clone(), kind)) {
            return Rc::clone(of_knob);
        }
        if self.by_knob.len() >= KNOBS_MAX {
            self.by_knob.clear();
        }
        let name = knob.as_bytes();
        // Rules may match a longer name, or not be evaluated for it.
        let matches = |rule: &&usize| {
            let rule = &self.policy.rules()[**rule];
            rule.kinds().contains(kind)
                && (name.len() > NAME_MAX || rule.patterns().iter().any(|pattern| pattern.matches(name)))
        };
        let all: Vec<usize> = (0..self.policy.rules().len()).collect();
        let rules: Vec<usize> = all.iter().filter(matches).copied().collect();
        let of_rules = rules.iter().map(|&rule| self.policy.rules()[rule].clone());
        let policy = self.without_rules.clone().with_rules(of_rules);
        let of_knob = Rc::new(OfKnob { policy, rules });
        self.by_knob.insert((knob.clone(), kind), Rc::clone(&of_knob));
        of_knob
    }
}
