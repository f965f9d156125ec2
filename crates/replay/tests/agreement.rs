//! Replays and `evaluate` agree.

mod common;

use common::{event, item};
use knobgate_arbitrary::{access, policy};
use knobgate_events::record::TEXT_MAX;
use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{Access, Action, Condition, DecidedBy, Kinds, Policy, Rule, evaluate};
use knobgate_replay::{Decider, Outcome, Recorded, Replay};
use proptest::collection::vec;
use proptest::prelude::*;

/// A policy, and accesses that it is likely to have rules for.
fn policy_and_accesses(accesses: usize) -> BoxedStrategy<(Policy, Vec<Access>)> {
    policy()
        .prop_flat_map(move |policy| (vec(access(&policy), accesses), Just(policy)))
        .prop_map(swap)
        .boxed()
}

fn swap<A, B>((a, b): (A, B)) -> (B, A) {
    (b, a)
}

/// The same with rules that are for other knobs in between, so many that the rules for a knob are picked.
fn among_others(policy: &Policy) -> (Policy, Vec<usize>) {
    let other = |number: usize| {
        let pattern = format!("no.such.knob{number}");
        Rule::new(Action::Allow, Kinds::Both, [pattern.as_str()]).expect("a rule")
    };
    let mut rules: Vec<Rule> = (0..70).map(other).collect();
    let mut indices = Vec::new();
    for rule in policy.rules() {
        indices.push(rules.len());
        rules.push(rule.clone());
        rules.push(other(rules.len()));
    }
    (policy.clone().with_rules(rules), indices)
}

/// What an event may not have.
#[derive(Debug, Clone, Copy)]
struct Missing {
    uid: bool,
    gid: bool,
    comm: bool,
    values: bool,
}

fn missing() -> BoxedStrategy<Missing> {
    any::<[bool; 4]>().prop_map(|[uid, gid, comm, values]| Missing { uid, gid, comm, values }).boxed()
}

/// `access` with what is missing taken from `other`.
fn completed(access: &Access, other: &Access, missing: Missing) -> Access {
    let mut access = access.clone();
    // It always is.
    access.knob_netns = other.knob_netns.filter(|_| access.knob.is_below_net());
    if missing.uid {
        access.task.uid = other.task.uid;
    }
    if missing.gid {
        access.task.gid = other.task.gid;
    }
    if missing.comm {
        access.task.comm = other.task.comm.clone();
    }
    if missing.values {
        access.old = other.old.clone();
        access.new = access.new.map(|_| other.new.clone().unwrap_or_default());
    }
    access
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn events_replay_the_same_under_the_policy_that_made_them((policy, accesses) in policy_and_accesses(8)) {
        let mut replay = Replay::new(&policy, |_| None);
        let mut count = 0;
        for access in &accesses {
            // Of longer names, only the start is recorded.
            if access.knob.as_bytes().len() <= NAME_MAX {
                replay.add(&item(&event(access, &evaluate(&policy, access))));
                count += 1;
            }
        }
        let report = replay.finish();
        // No event says which network namespace owns the knob, or has more than the start of a long value.
        let looks_at_netns = policy.rules().iter().filter_map(Rule::condition).any(Condition::looks_at_netns);
        let is_cut = |value: &Option<Vec<u8>>| value.as_ref().is_some_and(|value| value.len() > TEXT_MAX);
        let any_is_cut = accesses.iter().any(|access| is_cut(&access.new) || is_cut(&access.old));
        let unknown = if looks_at_netns || any_is_cut { report.events(Outcome::Unknown) } else { 0 };
        prop_assert_eq!(report.events(Outcome::Same) + unknown, count, "{:#?}", report.classes);
        let is_right = |outcome| outcome == Outcome::Same || (unknown > 0 && outcome == Outcome::Unknown);
        prop_assert!(report.classes.iter().all(|class| is_right(class.outcome)));
    }

    #[test]
    fn rules_for_other_knobs_change_nothing((policy, accesses) in policy_and_accesses(4), missing in missing()) {
        let (among_others, indices) = among_others(&policy);
        let (mut alone, mut picked) = (Decider::new(&policy), Decider::new(&among_others));
        for access in accesses.iter().filter(|access| access.knob.as_bytes().len() <= NAME_MAX) {
            let mut event = event(access, &evaluate(&policy, access));
            if missing.uid {
                event["task"].as_object_mut().unwrap().remove("uid");
            }
            let recorded = Recorded::of(&item(&event).event().unwrap().event).unwrap();
            let mut expected = alone.decide(&recorded);
            expected.by = expected.by.map(|by| match by {
                DecidedBy::Rule(rule) => DecidedBy::Rule(indices[rule]),
                DecidedBy::EvalError { rule, error } => DecidedBy::EvalError { rule: indices[rule], error },
                default @ DecidedBy::Default(_) => default,
            });
            prop_assert_eq!(picked.decide(&recorded), expected);
        }
    }

    /// Whatever an event does not have, a verdict that is known is that of every completion.
    #[test]
    fn a_known_verdict_is_that_of_all_completions(
        (policy, accesses) in policy_and_accesses(12),
        missing in missing(),
    ) {
        let access = &accesses[0];
        prop_assume!(access.knob.as_bytes().len() <= NAME_MAX);
        let mut event = event(access, &evaluate(&policy, access));
        let mut remove = |member: &str, of: Option<&str>| {
            let object = match of {
                Some(of) => &mut event[of],
                None => &mut event,
            };
            object.as_object_mut().unwrap().remove(member);
        };
        for (is_missing, member) in [(missing.uid, "uid"), (missing.gid, "gid"), (missing.comm, "comm")] {
            if is_missing {
                remove(member, Some("task"));
            }
        }
        if missing.values {
            ["new", "old", "stored"].into_iter().for_each(|member| remove(member, None));
            event["secret"] = true.into();
        }
        let item = item(&event);
        let recorded = Recorded::of(&item.event().unwrap().event).unwrap();
        let decided = Decider::new(&policy).decide(&recorded);
        for other in &accesses {
            let completion = completed(access, other, missing);
            let decision = evaluate(&policy, &completion);
            if let Some(verdict) = decided.verdict() {
                prop_assert_eq!(verdict, &decision.verdict, "{:?}", completion);
            }
            if let Some(by) = decided.by {
                match (by, decision.by) {
                    // Why may depend on what is missing.
                    (DecidedBy::EvalError { rule, .. }, DecidedBy::EvalError { rule: other, .. }) => prop_assert_eq!(rule, other),
                    (by, other) if decided.verdict().is_some() => prop_assert_eq!(by, other),
                    _ => {}
                }
            }
            let is_possible = decided.verdicts.iter().any(|verdict| {
                verdict.as_ref().is_none_or(|verdict| *verdict == decision.verdict)
            });
            prop_assert!(is_possible, "{:?} is not one of {:?}", decision, decided.verdicts);
        }
    }
}
