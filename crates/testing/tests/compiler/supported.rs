//! Policies that programs on this kernel can decide.

use knobgate_bpf::Features;
use knobgate_policy::{Condition, KnobNetns, Operand, Policy, Range, TextOperand, Value};

/// The policy, with `old` instead of `comm` and the group instead of `netns` if programs cannot read these.
pub(crate) fn supported(policy: Policy, features: &Features) -> Policy {
    let rules = policy.rules().iter().cloned().map(|rule| {
        let mut condition = rule.condition().cloned();
        if !features.current_comm {
            condition.iter_mut().for_each(without_comm);
        }
        if features.knob_owner.is_none() {
            condition.iter_mut().for_each(without_netns);
        }
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
        | Condition::Netns(_)
        | Condition::Chain(_)
        | Condition::InRange(_)
        | Condition::InSet(_)
        | Condition::List(..)
        | Condition::Ranges(_) => {}
    }
}

fn without_netns(condition: &mut Condition) {
    match condition {
        Condition::All(all) | Condition::Any(all) => all.iter_mut().for_each(without_netns),
        Condition::Not(negated) => without_netns(negated),
        Condition::Netns(netns) => {
            let group = Range::only(u32::from(*netns == KnobNetns::Host).into());
            *condition = Condition::in_range(Operand::Gid, group).expect("a condition");
        }
        Condition::Text(..)
        | Condition::Chain(_)
        | Condition::InRange(_)
        | Condition::InSet(_)
        | Condition::List(..)
        | Condition::Ranges(_) => {}
    }
}
