//! Policies in the words that programs on this kernel have something for.

use knobgate_bpf::Features;
use knobgate_policy::{Condition, Policy, TextOperand, Value};

/// The policy, with `old` instead of `comm` where programs cannot ask for that.
pub(crate) fn known(mut policy: Policy, features: &Features) -> Policy {
    if !features.current_comm {
        policy.rules.iter_mut().filter_map(|rule| rule.condition.as_mut()).for_each(without_comm);
    }
    policy
}

fn without_comm(condition: &mut Condition) {
    match condition {
        Condition::All(all) | Condition::Any(all) => all.iter_mut().for_each(without_comm),
        Condition::Not(negated) => without_comm(negated),
        Condition::Text(operand @ TextOperand::Comm, _) => *operand = TextOperand::Value(Value::Old),
        Condition::Text(..) | Condition::Chain { .. } | Condition::InRange(..) | Condition::InSet(..) => {}
    }
}
