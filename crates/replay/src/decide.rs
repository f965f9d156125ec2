//! What a policy decides about recorded accesses.

use std::sync::Arc;

use foldhash::HashMap;
use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{AccessKind, DecidedBy, KnobName, KnobPattern, Policy, Verdict, evaluate, possible};

use crate::recorded::{Recorded, Unknown};

/// How many knobs' rules are kept.
const KNOBS_MAX: usize = 256;

/// How many rules are kept for a knob. If more of them match it, the whole policy decides.
const RULES_MAX: usize = 64;

/// A policy that decides recorded accesses. It picks the rules for a knob once, if it has many.
#[derive(Debug)]
pub struct Decider<'a> {
    policy: &'a Policy,
    /// The same without rules and tests.
    without_rules: Policy,
    /// The rules that have only names as patterns, by name.
    by_name: HashMap<&'a [u8], Vec<usize>>,
    /// The rules with another pattern.
    others: Vec<usize>,
    by_knob: HashMap<(KnobName, AccessKind), Option<Arc<OfKnob>>>,
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
        let (mut by_name, mut others) = (HashMap::<_, Vec<usize>>::default(), Vec::new());
        for (index, rule) in policy.rules().iter().enumerate() {
            let names: Option<Vec<&[u8]>> = rule.patterns().iter().map(KnobPattern::literal).collect();
            match names {
                Some(names) => {
                    for name in names {
                        by_name.entry(name).or_default().push(index);
                    }
                }
                None => others.push(index),
            }
        }
        Self { policy, without_rules, by_name, others, by_knob: HashMap::default() }
    }

    /// Decides a recorded access.
    pub fn decide(&mut self, recorded: &Recorded) -> Decided {
        let of_knob = self.of_knob(&recorded.access.knob, recorded.access.kind());
        let policy = of_knob.as_ref().map_or(self.policy, |of_knob| &of_knob.policy);
        let whole = |rule: usize| of_knob.as_ref().map_or(rule, |of_knob| of_knob.rules[rule]);
        let by = |by: DecidedBy| match by {
            DecidedBy::Rule(rule) => DecidedBy::Rule(whole(rule)),
            DecidedBy::EvalError { rule, error } => DecidedBy::EvalError { rule: whole(rule), error },
            default @ DecidedBy::Default(_) => default,
        };
        if recorded.unknown.is_empty() {
            let decision = evaluate(policy, &recorded.access);
            let verdicts = vec![Some(decision.verdict)];
            return Decided { verdicts, by: Some(by(decision.by)), unknown: Vec::new() };
        }
        let possible = possible(policy, &recorded.access, recorded.unknown);
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

    /// The rules for a knob, if they are a few of many. All others do not match it.
    fn of_knob(&mut self, knob: &KnobName, kind: AccessKind) -> Option<Arc<OfKnob>> {
        let name = knob.as_bytes();
        // Rules may not be evaluated for a longer name.
        if self.policy.rules().len() <= RULES_MAX || name.len() > NAME_MAX {
            return None;
        }
        if let Some(of_knob) = self.by_knob.get(&(knob.clone(), kind)) {
            return of_knob.clone();
        }
        if self.by_knob.len() >= KNOBS_MAX {
            self.by_knob.clear();
        }
        let rules = self.policy.rules();
        let matches = |index: &usize| {
            let rule = &rules[*index];
            rule.kinds().contains(kind) && rule.patterns().iter().any(|pattern| pattern.matches(name))
        };
        let named = self.by_name.get(name).into_iter().flatten();
        let mut found: Vec<usize> = named.chain(&self.others).copied().filter(matches).collect();
        found.sort_unstable();
        // A rule may have the same pattern twice.
        found.dedup();
        let of_knob = (found.len() <= RULES_MAX).then(|| {
            let of_rules = found.iter().map(|&index| rules[index].clone());
            Arc::new(OfKnob { policy: self.without_rules.clone().with_rules(of_rules), rules: found })
        });
        self.by_knob.insert((knob.clone(), kind), of_knob.clone());
        of_knob
    }
}
