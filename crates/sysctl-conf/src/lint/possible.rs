//! The verdicts that are possible if the current value and the name of the task are unknown.
//!
//! This follows [`evaluate`], with sets of results instead of results. Conditions are taken to be independent of each other,
//! so a set may have a verdict too many, but never one too few.

use std::collections::BTreeSet;

use knobgate_policy::{
    Access, Action, Applies, Chain, Condition, DecidedBy, Decision, Errno, EvalError, Operand, Policy,
    Relation, Rule, TextOperand, Value, Verdict, applies, evaluate, holds,
};

use super::{Linter, Possible, Unknown};

/// The verdicts on `access`, a write, and what they depend on.
pub(super) fn verdicts(linter: &Linter<'_>, access: &Access) -> (Vec<Possible>, BTreeSet<Unknown>) {
    let policy = linter.policy;
    let mut possible = Vec::new();
    let mut unknown = BTreeSet::new();
    let deny = |rule: usize, error: EvalError| Possible {
        verdict: Some(Verdict::Deny(Errno::EINVAL)),
        by: DecidedBy::EvalError { rule, error },
    };
    for (index, rule) in policy.rules().iter().enumerate() {
        if !rule.kinds().contains(access.kind()) {
            continue;
        }
        match applies(policy, &linter.by_name[index], access) {
            Ok(Applies::Yes) => {}
            Ok(_) => continue,
            Err(error) => {
                possible.push(deny(index, error));
                return (possible, unknown);
            }
        }
        let results = match rule.condition() {
            Some(condition) => results(policy, condition, access, &mut unknown),
            None => Results::only(Ok(true)),
        };
        possible.extend(results.error.map(|error| deny(index, error)));
        if results.holds {
            possible.push(act(linter, index, rule, access, &mut unknown));
        }
        if !results.fails {
            return (possible, unknown);
        }
    }
    let kind = access.kind();
    let default = decide(linter, None, access);
    possible.push(Possible { verdict: Some(default.verdict), by: DecidedBy::Default(kind) });
    (possible, unknown)
}

/// What `rule` does if it matches.
fn act(
    linter: &Linter<'_>,
    index: usize,
    rule: &Rule,
    access: &Access,
    unknown: &mut BTreeSet<Unknown>,
) -> Possible {
    if let Action::Ignore = rule.action() {
        unknown.insert(Unknown::CurrentValue);
        return Possible { verdict: None, by: DecidedBy::Rule(index) };
    }
    let unconditional = rule.clone().with_condition(None).ok();
    let decision = decide(linter, unconditional, access);
    let by = match decision.by {
        DecidedBy::EvalError { error, .. } => DecidedBy::EvalError { rule: index, error },
        _ => DecidedBy::Rule(index),
    };
    Possible { verdict: Some(decision.verdict), by }
}

/// What is decided if there is only this rule.
fn decide(linter: &Linter<'_>, rule: Option<Rule>, access: &Access) -> Decision {
    evaluate(&linter.without_rules.clone().with_rules(rule), access)
}

/// The results that are possible for a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Results {
    holds: bool,
    fails: bool,
    error: Option<EvalError>,
}

impl Results {
    fn only(result: Result<bool, EvalError>) -> Self {
        match result {
            Ok(holds) => Self { holds, fails: !holds, error: None },
            Err(error) => Self { holds: false, fails: false, error: Some(error) },
        }
    }
}

/// Every result that looking at the current value can have: there may be none, or not the right one.
const OF_CURRENT_VALUE: Results = Results { holds: true, fails: true, error: Some(EvalError::NoOld) };

fn results(
    policy: &Policy,
    condition: &Condition,
    access: &Access,
    unknown: &mut BTreeSet<Unknown>,
) -> Results {
    match condition {
        Condition::All(parts) => all(parts.iter().cloned(), policy, access, unknown),
        Condition::Any(parts) => {
            let mut results = Results { fails: true, ..Results::default() };
            for part in parts {
                if !results.fails {
                    break;
                }
                let of_part = self::results(policy, part, access, unknown);
                results.holds |= of_part.holds;
                results.error = results.error.or(of_part.error);
                results.fails = of_part.fails;
            }
            results
        }
        Condition::Not(part) => {
            let Results { holds, fails, error } = results(policy, part, access, unknown);
            Results { holds: fails, fails: holds, error }
        }
        Condition::Chain(chain) if chain.links().len() > 1 => {
            all(chain.pairs().map(Condition::Chain), policy, access, unknown)
        }
        Condition::Chain(chain) if chain.operands().any(is_of_current_value) => {
            of_pair(policy, chain, access, unknown)
        }
        Condition::InRange(test) if is_of_current_value(test.operand()) => of_current_value(unknown),
        Condition::InSet(test) if is_of_current_value(test.operand()) => of_current_value(unknown),
        Condition::Text(TextOperand::Value(Value::Old), _) => of_current_value(unknown),
        Condition::Text(TextOperand::Comm, _) => {
            unknown.insert(Unknown::TaskName);
            Results { holds: true, fails: true, error: None }
        }
        _ => Results::only(holds(policy, condition, access)),
    }
}

/// One after the other, while they hold.
fn all(
    parts: impl Iterator<Item = Condition>,
    policy: &Policy,
    access: &Access,
    unknown: &mut BTreeSet<Unknown>,
) -> Results {
    let mut results = Results { holds: true, ..Results::default() };
    for part in parts {
        if !results.holds {
            break;
        }
        let of_part = self::results(policy, &part, access, unknown);
        results.fails |= of_part.fails;
        results.error = results.error.or(of_part.error);
        results.holds = of_part.holds;
    }
    results
}

fn of_current_value(unknown: &mut BTreeSet<Unknown>) -> Results {
    unknown.insert(Unknown::CurrentValue);
    OF_CURRENT_VALUE
}

/// A comparison of two numbers, at least one of them of the current value. If the other one cannot be evaluated, neither
/// can the comparison.
fn of_pair(policy: &Policy, chain: &Chain, access: &Access, unknown: &mut BTreeSet<Unknown>) -> Results {
    let known = chain.operands().filter(|operand| !is_of_current_value(*operand));
    let equal_to_itself =
        known.filter_map(|operand| Condition::chain(operand, [(Relation::Equal, operand)]).ok());
    let error = equal_to_itself.filter_map(|condition| holds(policy, &condition, access).err()).next();
    error.map_or_else(|| of_current_value(unknown), |error| Results::only(Err(error)))
}

fn is_of_current_value(operand: Operand) -> bool {
    matches!(
        operand,
        Operand::Only(Value::Old) | Operand::Element(Value::Old, _) | Operand::Count(Value::Old)
    )
}
