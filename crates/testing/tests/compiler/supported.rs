//! Policies that programs on this kernel can decide.

use knobgate_bpf::Features;
use knobgate_policy::{Condition, Policy, TextOperand, Value};

/// The policy, with `old` instead of `comm` if programs cannot read that.
pub(crate) fn supported(policy: Policy, features: &Features) -> Policy {
    if features.current_comm {
        return policy;
    }
    let rules = policy.rules().iter().cloned().map(|rule| {
        let mut condition = rule.condition().cloned();
        condition.iter_mut().for_each(without_comm);
        rule.with_condition(condition).expect("a condition")
    });
    let rules: Vec<_> = rules.collect();
    policy.with_rules(rules)
}

fn without_comm(condition: &mut Condition) {
    match condition {
        Condition::All(all) | Condition::Any(all) => all.iter_mut().for_each(without_comm),
        Condition::Not(negated) => without_comm(negated),
        Condition::Text(operand @ TextOperand::Comm, _) => *operand = TextOperand::Value(Value::Old),
        Condition::Text(..)
        | Condition::Chain(_)
        | Condition::InRange(_)
        | Condition::InSet(_)
        | Condition::List(..)
        | Condition::Ranges(_) => {}
    }
}
