//! The answer as programs read it.

use knobgate_policy::{AccessKind, DecidedBy, Mode, Verdict};
use serde::Serialize;

use super::Answer;
use super::current_value::CurrentValue;
use super::trace::{PassedOver, Why};
use crate::json::{self, Bytes};

/// The answer as a line of JSON. Rules and lines count from 1. Values are strings where they are UTF-8,
/// else `{"hex": …}`.
pub(super) fn line(answer: &Answer<'_>) -> String {
    let (policy, access, decision) = (answer.file.policy(), answer.access, &answer.decision);
    let (verdict, errno, value) = match &decision.verdict {
        Verdict::Allow => ("allow", None, None),
        Verdict::Deny(errno) => ("deny", Some(errno.to_string()), None),
        Verdict::Rewrite(value) => ("set", None, Some(Bytes::from(value.as_slice()))),
    };
    let (rule, why) = match decision.by {
        DecidedBy::Rule(rule) => (Some(rule), None),
        DecidedBy::Unreadable { rule, why } => (Some(rule), Some(why.to_string())),
        DecidedBy::Default(_) => (None, None),
    };
    json::line(&Object {
        file: answer.file.source().name(),
        policy: &policy.name,
        enforced: policy.mode == Mode::Enforce,
        access: Access {
            kind: match access.kind() {
                AccessKind::Read => "read",
                AccessKind::Write => "write",
            },
            knob: access.knob.to_string(),
            new: access.new.as_deref().map(Bytes::from),
            old: access.old.as_deref().map(Bytes::from),
            old_is: match answer.current {
                CurrentValue::Given(_) => "given",
                CurrentValue::OfThisMachine(_) => "of this machine",
                CurrentValue::NoSuchKnob | CurrentValue::Unreadable(_) => "unknown",
            },
            pos: access.pos,
            uid: access.task.uid,
            gid: access.task.gid,
            comm: Bytes::from(access.task.comm.as_slice()),
        },
        verdict,
        errno,
        value,
        log: decision.log,
        rule: rule.map(|rule| rule_of(answer, rule)),
        unreadable: why,
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
    access: Access<'a>,
    verdict: &'static str,
    errno: Option<String>,
    value: Option<Bytes<'a>>,
    /// Whether the policy asks for an event.
    log: bool,
    /// The rule that decided; absent, the default did.
    rule: Option<Rule<'a>>,
    /// Why that rule could not be evaluated.
    unreadable: Option<String>,
    default_line: Option<usize>,
    passed_over: Vec<RulePassedOver<'a>>,
    /// How many rules before it name other knobs.
    other_knobs: usize,
}

#[derive(Serialize)]
struct Access<'a> {
    kind: &'static str,
    knob: String,
    new: Option<Bytes<'a>>,
    old: Option<Bytes<'a>>,
    old_is: &'static str,
    pos: u64,
    uid: u32,
    gid: u32,
    comm: Bytes<'a>,
}

#[derive(Serialize)]
struct Rule<'a> {
    number: usize,
    line: Option<usize>,
    text: Option<&'a str>,
}

#[derive(Serialize)]
struct RulePassedOver<'a> {
    #[serde(flatten)]
    rule: Rule<'a>,
    why: &'static str,
    /// The parts of the condition because of which it does not hold.
    conditions: Vec<String>,
}

fn rule_of<'a>(answer: &Answer<'a>, rule: usize) -> Rule<'a> {
    Rule { number: rule + 1, line: answer.file.rule_line(rule), text: answer.file.rule_text(rule) }
}

fn passed_over<'a>(answer: &Answer<'a>, passed: &PassedOver) -> RulePassedOver<'a> {
    let (why, conditions) = match &passed.why {
        Why::OtherKind => ("other kind of access", Vec::new()),
        Why::Condition(parts) => ("condition", parts.iter().map(ToString::to_string).collect()),
    };
    RulePassedOver { rule: rule_of(answer, passed.rule), why, conditions }
}
