//! Why earlier rules did not decide. Every answer comes from [`applies`] and [`holds`](knobgate_policy::holds) on parts
//! of a rule.

use knobgate_policy::{
    Access, Action, Applies, Condition, DecidedBy, Kinds, Operand, Policy, Rule, TextOperand, Value, applies,
};

/// The rules before the one that decided.
#[derive(Debug)]
pub(super) struct Trace {
    /// Those that name the knob, in order.
    pub(super) passed_over: Vec<PassedOver>,
    /// How many name only other knobs.
    pub(super) other_knobs: usize,
}

/// A rule that names the knob and does not apply.
#[derive(Debug)]
pub(super) struct PassedOver {
    /// The rule's index.
    pub(super) rule: usize,
    pub(super) why: Why,
}

/// Why a rule that names the knob does not apply.
#[derive(Debug)]
pub(super) enum Why {
    /// It is for the other kind of access.
    OtherKind,
    /// Its condition does not hold, because these parts do not.
    Condition(Vec<Condition>),
}

/// Something about an access that conditions look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fact {
    New,
    Old,
    Pos,
    Uid,
    Gid,
    Comm,
    Netns,
}

impl Trace {
    pub(super) fn of(policy: &Policy, access: &Access, decided_by: DecidedBy) -> Self {
        let before = match decided_by {
            DecidedBy::Rule(rule) | DecidedBy::EvalError { rule, .. } => rule,
            DecidedBy::Default(_) => policy.rules().len(),
        };
        let mut trace = Self { passed_over: Vec::new(), other_knobs: 0 };
        for (index, rule) in policy.rules()[..before].iter().enumerate() {
            if !names_the_knob(policy, rule, access) {
                trace.other_knobs += 1;
                continue;
            }
            let why = match rule.condition() {
                Some(condition) if rule.kinds().contains(access.kind()) => {
                    Why::Condition(failing_parts(policy, condition, access))
                }
                _ => Why::OtherKind,
            };
            trace.passed_over.push(PassedOver { rule: index, why });
        }
        trace
    }
}

fn names_the_knob(policy: &Policy, rule: &Rule, access: &Access) -> bool {
    let of_both_kinds = Rule::new(Action::Allow, Kinds::Both, rule.patterns().to_vec());
    of_both_kinds.is_ok_and(|rule| applies(policy, &rule, access) == Ok(Applies::Yes))
}

/// The smallest parts of `condition` that make it false.
fn failing_parts(policy: &Policy, condition: &Condition, access: &Access) -> Vec<Condition> {
    match condition {
        Condition::All(all) => all
            .iter()
            .find(|part| !holds(policy, part, access))
            .map_or_else(|| vec![condition.clone()], |part| failing_parts(policy, part, access)),
        Condition::Any(any) => any.iter().flat_map(|part| failing_parts(policy, part, access)).collect(),
        Condition::Chain(chain) => {
            let mut links = chain.pairs().map(Condition::Chain);
            let failing = links.find(|link| !holds(policy, link, access));
            vec![failing.unwrap_or_else(|| condition.clone())]
        }
        _ => vec![condition.clone()],
    }
}

/// Whether a part of a condition holds. The whole condition could be evaluated, so the parts that decided it can be too.
fn holds(policy: &Policy, condition: &Condition, access: &Access) -> bool {
    knobgate_policy::holds(policy, condition, access) != Ok(false)
}

/// The facts that `conditions` look at.
pub(super) fn facts(conditions: &[Condition]) -> Vec<Fact> {
    let mut facts = Vec::new();
    conditions.iter().for_each(|condition| collect(condition, &mut facts));
    facts.sort();
    facts.dedup();
    facts
}

fn collect(condition: &Condition, facts: &mut Vec<Fact>) {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| collect(part, facts)),
        Condition::Not(part) => collect(part, facts),
        Condition::Chain(chain) => facts.extend(chain.operands().filter_map(fact)),
        Condition::InRange(test) => facts.extend(fact(test.operand())),
        Condition::InSet(test) => facts.extend(fact(test.operand())),
        Condition::List(value, _) => facts.push(fact_of(*value)),
        Condition::Ranges(test) => facts.push(fact_of(test.value())),
        Condition::Text(TextOperand::Value(value), _) => facts.push(fact_of(*value)),
        Condition::Text(TextOperand::Comm, _) => facts.push(Fact::Comm),
        Condition::Netns(_) => facts.push(Fact::Netns),
    }
}

fn fact(operand: Operand) -> Option<Fact> {
    Some(match operand {
        Operand::Literal(_) => return None,
        Operand::Number(value, ..) | Operand::Count(value) => fact_of(value),
        Operand::Pos => Fact::Pos,
        Operand::Uid => Fact::Uid,
        Operand::Gid => Fact::Gid,
    })
}

fn fact_of(value: Value) -> Fact {
    match value {
        Value::New => Fact::New,
        Value::Old => Fact::Old,
    }
}
