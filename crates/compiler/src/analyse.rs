//! From a policy to the [IR](crate::ir): which rules can match which names ([`name_classes`], [`plan`]), and what each rule
//! tests and does ([`condition`], [`action`]).

mod action;
mod condition;
mod constants;
mod name_classes;
mod plan;
mod width;

use std::collections::BTreeSet;

use foldhash::HashMap;
use knobgate_policy::{AccessKind, Logging, Policy};

use crate::error::CompileError;
use crate::ir::{Action, FetchSet, Ir, Plan, Reports, Rule, RuleId, Step, StepId, Steps, TableContents};

/// The IR of `policy`, for a program that sends events or does not.
///
/// # Errors
/// The patterns of the policy make too large an automaton.
pub(crate) fn analyse(policy: &Policy, sends_events: bool) -> Result<Ir, CompileError> {
    let names = name_classes::NameClasses::new(policy)?;
    let mut steps = Steps::default();
    let plans = AccessKind::ALL.map(|kind| plan::plan(policy, kind, &names, &mut steps));

    let mut reached: BTreeSet<StepId> = plans.iter().flat_map(Plan::first_steps).collect();
    let mut tried: BTreeSet<RuleId> = BTreeSet::new();
    for (id, step) in steps.iter().rev() {
        if reached.contains(&id) {
            reached.extend(step.next());
            if let Step::Rule { rule, width, .. } = step {
                tried.insert(RuleId { rule, width });
            }
        }
    }
    let mut tables = TableContents::default();
    let rules: HashMap<RuleId, Rule> =
        tried.into_iter().map(|id| (id, lower_rule(policy, id, sends_events, &mut tables))).collect();
    let mut fetches: Vec<FetchSet> = Vec::new();
    for (_, step) in steps.iter() {
        let own = match step {
            Step::Rule { rule, width, .. } => rules.get(&RuleId { rule, width }),
            Step::Default(_) | Step::NameTooLong { .. } => None,
        };
        let own = own.map_or(FetchSet::default(), |rule| rule.fetch);
        let later = step.next().map_or(FetchSet::default(), |next| fetches[next.0]);
        fetches.push(later.union(own));
    }
    let defaults = AccessKind::ALL.map(|kind| action::of_default(policy.defaults().of(kind).action));
    let default_reports = AccessKind::ALL.map(|kind| reports(sends_events, policy.defaults().of(kind).log));
    Ok(Ir {
        mode: policy.mode(),
        plans,
        steps,
        reached: reached.into_iter().collect(),
        rules,
        fetches,
        defaults,
        default_reports,
        tables,
        rule_count: policy.rules().len(),
    })
}

/// The rule as the IR has it, for knobs of a width.
fn lower_rule(
    policy: &Policy,
    RuleId { rule, width }: RuleId,
    sends_events: bool,
    tables: &mut TableContents,
) -> Rule {
    let rule = &policy.rules()[rule];
    let mut fetch = FetchSet { width: width.unwrap_or_default(), ..FetchSet::default() };
    let (graph, graph_constants) = match rule.condition() {
        Some(condition) => condition::lower(condition, &mut fetch, tables),
        None => Default::default(),
    };
    let (action, action_constants) = action::lower(rule.action(), &mut fetch, tables);
    let reports = reports(sends_events, rule.log());
    let reports = match action {
        // Rules that differ only in what never happens share their code.
        Action::Allow => Reports { other: reports.allow, ..reports },
        Action::Deny(_) => Reports { allow: reports.other, ..reports },
        _ => reports,
    };
    Rule { graph, graph_constants, action, action_constants, fetch, reports }
}

fn reports(sends_events: bool, log: Option<Logging>) -> Reports {
    if sends_events { Reports::of(log) } else { Reports::NONE }
}

#[cfg(test)]
mod tests {
    use knobgate_policy::{CheckOptions, Source, parse};

    use super::*;

    /// The IR of a policy with these rules, as text.
    fn printed(rules: &str) -> String {
        let text = format!("policy p\n{rules}\n");
        let file = parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy");
        analyse(file.policy(), false).expect("few patterns").to_string()
    }

    #[test]
    fn a_condition_is_one_graph() {
        let expected = r#"read:
  every name -> 0
write:
  vm/x -> 3
  other names -> 1
  too long, and ends in x -> 4
  ends in something else -> 1
steps:
  0: default read: allow
  1: default write: deny(EPERM)
  2: rule 1 (Bits32): clamp to >= 1 and <= 2, else 1
    n0: uid == 7 ? fails : holds
  3: rule 0 (Bits32): deny(EIO), else 2
    n0: 0 <= new ? n1 : n2
    n1: new < old ? n3 : n2
    n2: text of new == "a" ? n3 : fails
    n3: count(old) in a table of 20 ? fails : n4
    n4: pos >= -1 ? n5 : holds
    n5: pos <= 5 ? fails : holds
  4: rule 0: cannot be evaluated
"#;
        let members = (0..20).map(|member| member.to_string()).collect::<Vec<_>>().join(", ");
        let rules = format!(
            "deny(EIO) write vm.x if (0 <= new < old or new == \"a\") and not (count(old) in {{{members}}} or \
             pos in -1..5)\nclamp write vm.x to 1..2 if not uid == 7"
        );
        assert_eq!(printed(&rules), expected);
    }

    #[test]
    fn actions_have_their_constants() {
        let rules = "set write vm.a to \"x y\"\nclamp write vm.b to [-5.., ..7, 1..2]\nignore write vm.c\n\
                     clamp write net.ipv4.tcp_retries1 to ..4294967296";
        let printed = printed(rules);
        for expected in [
            "rule 0: set \"x y\"\n",
            "rule 1 (Bits32): clamp to [>= -5, <= 7, >= 1 and <= 2]\n",
            "rule 2: ignore\n",
            "rule 3 (Bits32): clamp to <= 4294967296 (not stored)\n",
        ] {
            assert!(printed.contains(expected), "{expected} {printed}");
        }
    }

    #[test]
    fn chains_with_the_same_end_share_it() {
        let expected = "read:
  every name -> 0
write:
  a/... -> 3
  b/... -> 4
  other names -> 2
  too long -> 5
steps:
  0: default read: allow
  1: default write: deny(EPERM)
  2: rule 2: allow, else 1
    n0: uid == 0 ? holds : fails
  3: rule 0: deny(EPERM), else 2
    n0: comm matches text DFA 0 ? holds : fails
  4: rule 1: deny(EPERM), else 2
    n0: gid == 1 ? holds : fails
  5: rule 0: cannot be evaluated
";
        let rules =
            "deny write a.** if comm matches \"x*\"\ndeny write b.** if gid == 1\nallow write ** if uid == 0";
        assert_eq!(printed(rules), expected);
    }
}
