//! From a policy to the [IR](crate::ir): which rules can match which names, and what to look at first to tell.

mod names;
mod plan;
mod width;

use std::collections::BTreeSet;

use foldhash::HashMap;
use knobgate_policy::{AccessKind, Policy};

use crate::error::CompileError;
use crate::ir::{Action, FetchSet, Ir, Plan, Rule, RuleId, Step, StepId, Steps, Tables, hoist_condition};

/// The IR of `policy`.
///
/// # Errors
/// The patterns of the policy make too large an automaton.
pub(crate) fn analyse(policy: &Policy) -> Result<Ir, CompileError> {
    let names = names::Names::new(policy)?;
    let mut steps = Steps::default();
    let plans = AccessKind::ALL.map(|kind| plan::plan(policy, kind, &names, &mut steps));

    let mut reached: BTreeSet<StepId> = plans.iter().flat_map(Plan::first_steps).collect();
    let mut tried: BTreeSet<RuleId> = BTreeSet::new();
    for (id, step) in steps.iter().rev() {
        if reached.contains(&id) {
            reached.extend(step.next());
            if let Step::Rule { rule, width, .. } = step {
                tried.insert((rule, width));
            }
        }
    }
    let mut tables = Tables::default();
    let rules: HashMap<RuleId, Rule> =
        tried.into_iter().map(|id| (id, hoist(policy, id, &mut tables))).collect();
    let defaults = AccessKind::ALL.map(|kind| Action::of_default(policy.defaults().of(kind).action));
    Ok(Ir {
        mode: policy.mode(),
        plans,
        steps,
        reached: reached.into_iter().collect(),
        rules,
        defaults,
        tables,
        rule_count: policy.rules().len(),
    })
}

fn hoist(policy: &Policy, (rule, width): RuleId, tables: &mut Tables) -> Rule {
    let rule = &policy.rules()[rule];
    let mut fetch = FetchSet { width: width.unwrap_or_default(), ..FetchSet::default() };
    let (graph, graph_constants) = match rule.condition() {
        Some(condition) => hoist_condition(condition, &mut fetch, tables),
        None => Default::default(),
    };
    let (action, action_constants) = Action::hoist(rule.action(), &mut fetch);
    Rule { graph, graph_constants, action, action_constants, fetch }
}
