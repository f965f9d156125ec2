//! What would be different, as JSON. Lines and rules count from 1.

use std::collections::BTreeMap;

use knobgate_events::json::to_json;
use knobgate_policy::{DecidedBy, Mode, PolicyFile};
use knobgate_replay::{Class, Now, Outcome, Unknown};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Replayed;
use crate::json_decision::{JsonRule, JsonVerdict};
use crate::timestamp;

/// Everything.
#[derive(Serialize)]
pub(super) struct JsonReplay<'a> {
    policy: JsonPolicy<'a>,
    /// How many events of each outcome there are.
    events: BTreeMap<&'static str, u64>,
    /// How many of them are not in the classes, of which there were too many.
    further_events: BTreeMap<&'static str, u64>,
    suppressed: u64,
    lost: u64,
    classes: Vec<JsonClass<'a>>,
}

#[derive(Serialize)]
struct JsonPolicy<'a> {
    file: &'a str,
    policy: &'a str,
    enforced: bool,
}

/// Accesses to one knob that were decided by one rule, and would be decided by one rule.
#[derive(Serialize)]
struct JsonClass<'a> {
    outcome: &'static str,
    /// What the policy decides about the example; absent if that is unknown.
    #[serde(flatten)]
    now: Option<JsonNow<'a>>,
    /// What the outcome depends on, if it is unknown.
    depends_on: Vec<&'static str>,
    /// The outcomes that are possible, if it is unknown.
    may_be: Vec<&'static str>,
    events: u64,
    /// How many of the accesses another program had denied before.
    denied_before: u64,
    first: Option<String>,
    last: Option<String>,
    workloads: &'a [String],
    more_workloads: bool,
    /// The first event.
    example: Box<RawValue>,
}

/// A verdict. There is no rule if the default decides, or if several rules may.
#[derive(Serialize)]
struct JsonNow<'a> {
    now: JsonVerdict<'a>,
    rule: Option<JsonRule<'a>>,
    default_line: Option<usize>,
    /// Why the rule cannot be evaluated.
    error: Option<String>,
}

pub(super) fn of(Replayed { policy, report }: &Replayed) -> JsonReplay<'_> {
    let by_outcome = |events: fn(&knobgate_replay::Report, Outcome) -> u64| {
        Outcome::ALL.into_iter().map(|outcome| (name(outcome), events(report, outcome))).collect()
    };
    JsonReplay {
        policy: JsonPolicy {
            file: policy.source().name(),
            policy: policy.policy().name(),
            enforced: policy.policy().mode() == Mode::Enforce,
        },
        events: by_outcome(knobgate_replay::Report::events),
        further_events: by_outcome(|report, outcome| report.further[outcome as usize]),
        suppressed: report.suppressed,
        lost: report.lost,
        classes: report.classes.iter().filter_map(|class| class_of(class, policy)).collect(),
    }
}

/// None if its example cannot be written, which does not happen.
fn class_of<'a>(class: &'a Class, policy: &'a PolicyFile) -> Option<JsonClass<'a>> {
    let (now, depends_on, may_be) = match &class.now {
        Now::Decided { verdict, by } => {
            let rule = by.and_then(|by| match by {
                DecidedBy::Rule(rule) | DecidedBy::EvalError { rule, .. } => Some(JsonRule::of(policy, rule)),
                DecidedBy::Default(_) => None,
            });
            let default_line = by.and_then(|by| match by {
                DecidedBy::Default(kind) => policy.default_place(kind).map(|place| place.line),
                DecidedBy::Rule(_) | DecidedBy::EvalError { .. } => None,
            });
            let error = by.and_then(|by| match by {
                DecidedBy::EvalError { error, .. } => Some(error.to_string()),
                DecidedBy::Rule(_) | DecidedBy::Default(_) => None,
            });
            (Some(JsonNow { now: verdict.into(), rule, default_line, error }), Vec::new(), Vec::new())
        }
        Now::Unknown { unknown, may_be } => {
            let may_be = may_be.iter().map(|&outcome| name(outcome)).collect();
            (None, unknown.iter().map(|&unknown| input(unknown)).collect(), may_be)
        }
    };
    Some(JsonClass {
        outcome: name(class.outcome),
        now,
        depends_on,
        may_be,
        events: class.tally.events,
        denied_before: class.tally.denied_before,
        first: class.tally.first.map(timestamp::rfc_3339),
        last: class.tally.last.map(timestamp::rfc_3339),
        workloads: &class.tally.workloads,
        more_workloads: class.tally.has_more_workloads,
        example: RawValue::from_string(to_json(&class.example)).ok()?,
    })
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NewlyDenied => "newly-denied",
        Outcome::NewlyAllowed => "newly-allowed",
        Outcome::RewrittenDifferently => "rewritten-differently",
        Outcome::Errno => "errno",
        Outcome::Unknown => "unknown",
        Outcome::Same => "same",
    }
}

/// Of what an event does not have. Values are named as in events.
fn input(unknown: Unknown) -> &'static str {
    match unknown {
        Unknown::Knob => "knob",
        Unknown::Secret => "secret",
        Unknown::New => "new",
        Unknown::Old => "old",
        Unknown::Uid => "uid",
        Unknown::Gid => "gid",
        Unknown::Comm => "comm",
        Unknown::KnobNetns => "netns",
        Unknown::Replacement => "replacement",
        Unknown::Outcome => "outcome",
    }
}
