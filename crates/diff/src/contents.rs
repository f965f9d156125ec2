//! What rules say apart from their patterns.

use foldhash::HashMap;
use knobgate_policy::{AccessKind, KnobPattern, Policy, Rule, Width};

use crate::names::{Pair, is_for_every_name};

/// The rules of two policies without their patterns.
pub(crate) struct Contents<'a> {
    policies: Pair<&'a Policy>,
    /// Equal numbers for equal rules.
    ids: Pair<Vec<usize>>,
}

/// The number of all rules that cannot be evaluated because the name is too long.
const CANNOT_BE_EVALUATED: usize = usize::MAX;

impl<'a> Contents<'a> {
    pub(crate) fn new(policies: Pair<&'a Policy>) -> Self {
        let mut numbers: HashMap<String, usize> = HashMap::default();
        let ids = policies.map(|policy| {
            policy
                .rules()
                .iter()
                .map(|rule| {
                    let next = numbers.len();
                    *numbers.entry(for_every_name(rule).to_string()).or_insert(next)
                })
                .collect::<Vec<_>>()
        });
        Self { policies, ids }
    }

    /// The numbers of these rules. Those that cannot be evaluated for a name that is too long have the same.
    pub(crate) fn of(&self, rules: &Pair<Vec<usize>>, is_too_long: bool) -> Pair<Vec<usize>> {
        let id = |side: usize, rule: usize| {
            if is_too_long && !is_for_every_name(&self.policies[side].rules()[rule]) {
                CANNOT_BE_EVALUATED
            } else {
                self.ids[side][rule]
            }
        };
        [0, 1].map(|side| rules[side].iter().map(|&rule| id(side, rule)).collect())
    }

    pub(crate) fn is_same_default(&self, kind: AccessKind) -> bool {
        let [old, new] = self.policies.map(|policy| policy.defaults().of(kind));
        old.action == new.action && old.logs() == new.logs()
    }

    /// A policy of these rules alone, for names that all of them match.
    pub(crate) fn alone(&self, side: usize, rules: &[usize], width: Width, is_too_long: bool) -> Policy {
        let policy = self.policies[side];
        let rules: Vec<Rule> = rules
            .iter()
            .map(|&rule| {
                let rule = &policy.rules()[rule];
                if is_too_long { rule.clone() } else { for_every_name(rule) }
            })
            .collect();
        let settings = Policy::new(policy.name()).expect("the name of a policy");
        let settings = settings.with_mode(policy.mode()).with_defaults(policy.defaults());
        settings.with_width_64((width == Width::Bits64).then(every_name)).with_rules(rules)
    }
}

/// `rule` for all names.
fn for_every_name(rule: &Rule) -> Rule {
    let all = Rule::new(rule.action().clone(), rule.kinds(), [every_name()]);
    let all = all.and_then(|all| all.with_condition(rule.condition().cloned()));
    all.map_or_else(|_| rule.clone(), |all| all.with_log(rule.log()))
}

fn every_name() -> KnobPattern {
    KnobPattern::parse("**").expect("a constant")
}
