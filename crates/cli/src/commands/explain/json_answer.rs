//! The answer as programs read it.

use knobgate_policy::{DecidedBy, Mode};
use serde::Serialize;

use super::Answer;
use super::current_value::CurrentValue;
use super::trace::{PassedOver, Why};
use crate::deciding_hook::DecidingHook;
use crate::json;
use crate::json_decision::{Access, Rule, Verdict};
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
            access: Access::from(access),
            old_is: match answer.current {
                CurrentValue::Given(_) => "given",
                CurrentValue::OfThisMachine(_) => "of this machine",
                CurrentValue::WriteOnly => "write-only",
                CurrentValue::NoSuchKnob | CurrentValue::Unreadable(_) => "unknown",
            },
        },
        hook: DecidingHook::UserSpace(*answer.profile),
        verdict: Verdict::from(answer.decided.verdict()),
        means: degradation.map(|_| Verdict::from(&decision.verdict)),
        stricter: degradation.map(|degradation| {
            profile_limit(degradation, answer.file, answer.profile).description().to_owned()
        }),
        asks_for_event: decision.log,
        rule: rule.map(|rule| Rule::of(answer.file, rule)),
        eval_error,
        default_line: match decision.by {
            DecidedBy::Default(kind) => answer.file.default_line(kind),
            _ => None,
        },
        passed_over: answer.trace.passed_over.iter().map(|passed| passed_over(answer, passed)).collect(),
        other_knobs: answer.trace.other_knobs,
    })
}

#[derive(Serialize)]
struct Object<'a> {
    file: &'a str,
    policy: &'a str,
    /// Whether the verdict is more than reported.
    enforced: bool,
    access: AccessAndItsOld<'a>,
    /// Which hook decided.
    hook: DecidingHook,
    #[serde(flatten)]
    verdict: Verdict<'a>,
    /// What the policy means, where the kernel makes something stricter of it.
    means: Option<Verdict<'a>>,
    /// Why it does.
    stricter: Option<String>,
    /// Whether the policy asks for an event, which nothing sends yet.
    asks_for_event: bool,
    /// The rule that decided; absent, the default did.
    rule: Option<Rule<'a>>,
    /// Why that rule could not be evaluated.
    eval_error: Option<String>,
    default_line: Option<usize>,
    passed_over: Vec<RulePassedOver<'a>>,
    /// How many rules before it name other knobs.
    other_knobs: usize,
}

#[derive(Serialize)]
struct AccessAndItsOld<'a> {
    #[serde(flatten)]
    access: Access<'a>,
    old_is: &'static str,
}

#[derive(Serialize)]
struct RulePassedOver<'a> {
    #[serde(flatten)]
    rule: Rule<'a>,
    why: &'static str,
    /// The parts of the condition because of which it does not hold.
    conditions: Vec<String>,
}

fn passed_over<'a>(answer: &Answer<'a>, passed: &PassedOver) -> RulePassedOver<'a> {
    let (why, conditions) = match &passed.why {
        Why::OtherKind => ("other kind of access", Vec::new()),
        Why::Condition(parts) => ("condition", parts.iter().map(ToString::to_string).collect()),
    };
    RulePassedOver { rule: Rule::of(answer.file, passed.rule), why, conditions }
}
