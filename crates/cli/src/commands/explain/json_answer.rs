//! The answer as JSON.

use knobgate_catalogue::find;
use knobgate_policy::{DecidedBy, Mode};
use serde::Serialize;

use super::current_value::CurrentValue;
use super::trace::{PassedOver, Why};
use super::{Answer, engine_writes};
use crate::deciding_hook::DecidingHook;
use crate::json;
use crate::json_decision::{JsonAccess, JsonRule, JsonVerdict};
use crate::knob_value::KnobValue;
use crate::profile_limit::profile_limit;

/// The answer as a line of JSON. Rules and lines count from 1. Values are strings where they are UTF-8,
/// else `{"hex": …}`.
pub(super) fn line(answer: &Answer<'_>) -> String {
    let (policy, access, decision) = (answer.file.policy(), answer.access, &answer.decided.decision);
    let degradation = answer.decided.effect.degradation;
    let (rule, eval_error) = match decision.by {
        DecidedBy::Rule(rule) => (Some(rule), None),
        DecidedBy::EvalError { rule, error } => (Some(rule), Some(error.to_string())),
        DecidedBy::Default(_) => (None, None),
    };
    json::line(&Object {
        file: answer.file.source().name(),
        policy: policy.name(),
        enforced: policy.mode() == Mode::Enforce,
        access: AccessAndItsOld {
            access: JsonAccess::from(access),
            old_is: match answer.current {
                CurrentValue::Given(_) => "given",
                CurrentValue::OfThisMachine(KnobValue::Value(_)) => "of this machine",
                CurrentValue::OfThisMachine(KnobValue::WriteOnly) => "write-only",
                CurrentValue::OfThisMachine(KnobValue::NoSuchKnob | KnobValue::Unreadable(_)) => "unknown",
            },
        },
        known: find(access.knob.as_bytes()).map(|knob| JsonKnown {
            summary: knob.summary(),
            scope: knob.newest().scope().name(),
            kind: knob.newest().kind().name(),
        }),
        hook: DecidingHook::UserSpace(*answer.profile),
        verdict: JsonVerdict::from(answer.decided.verdict()),
        means: degradation.map(|_| JsonVerdict::from(&decision.verdict)),
        stricter: degradation.map(|degradation| {
            profile_limit(degradation, answer.file, answer.profile).description().to_owned()
        }),
        asks_for_event: decision.log,
        rule: rule.map(|rule| JsonRule::of(answer.file, rule)),
        eval_error,
        default_line: match decision.by {
            DecidedBy::Default(kind) => answer.file.default_place(kind).map(|place| place.line),
            _ => None,
        },
        passed_over: answer.trace.passed_over.iter().map(|passed| skipped_rule(answer, passed)).collect(),
        other_knobs: answer.trace.other_knobs,
        engine_writes: engine_writes(answer)
            .map(|write| JsonEngineWrite { engine: write.engine().name(), value: write.value() })
            .collect(),
    })
}

#[derive(Serialize)]
struct JsonKnown {
    summary: &'static str,
    scope: &'static str,
    kind: &'static str,
}

#[derive(Serialize)]
struct Object<'a> {
    file: &'a str,
    policy: &'a str,
    /// Whether the verdict is enforced, not just reported.
    enforced: bool,
    access: AccessAndItsOld<'a>,
    /// What the catalogue knows about the knob.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<JsonKnown>,
    /// Which hook decided.
    hook: DecidingHook,
    #[serde(flatten)]
    verdict: JsonVerdict<'a>,
    /// The verdict of the policy, if the kernel's is stricter.
    means: Option<JsonVerdict<'a>>,
    /// Why the kernel's verdict is stricter.
    stricter: Option<String>,
    /// Whether an event is sent.
    asks_for_event: bool,
    /// The rule that decided; absent, the default did.
    rule: Option<JsonRule<'a>>,
    /// Why that rule could not be evaluated.
    eval_error: Option<String>,
    default_line: Option<usize>,
    passed_over: Vec<SkippedRule<'a>>,
    /// How many rules before it name other knobs.
    other_knobs: usize,
    /// What engines write to this knob themselves, inside each container that they start.
    engine_writes: Vec<JsonEngineWrite>,
}

#[derive(Serialize)]
struct JsonEngineWrite {
    engine: &'static str,
    value: &'static str,
}

#[derive(Serialize)]
struct AccessAndItsOld<'a> {
    #[serde(flatten)]
    access: JsonAccess<'a>,
    old_is: &'static str,
}

#[derive(Serialize)]
struct SkippedRule<'a> {
    #[serde(flatten)]
    rule: JsonRule<'a>,
    why: &'static str,
    /// The parts of the condition that make it false.
    conditions: Vec<String>,
}

fn skipped_rule<'a>(answer: &Answer<'a>, passed: &PassedOver) -> SkippedRule<'a> {
    let (why, conditions) = match &passed.why {
        Why::OtherKind => ("other kind of access", Vec::new()),
        Why::Condition(parts) => ("condition", parts.iter().map(ToString::to_string).collect()),
    };
    SkippedRule { rule: JsonRule::of(answer.file, passed.rule), why, conditions }
}
