//! Verdicts on settings as JSON.

use knobgate_policy::DecidedBy;
use knobgate_sysctl_conf::{KnobVerdict, LineError, Outcome, Possible, Unknown};
use serde::Serialize;

use super::{Linted, why};
use crate::json_decision::{JsonRule, JsonVerdict};

/// The verdict on a setting of one knob. Lines count from 1.
#[derive(Serialize)]
pub(super) struct JsonKnobVerdict<'a> {
    file: &'a str,
    line: usize,
    /// The knob, or the glob.
    key: String,
    /// For a glob, an example of the knobs that are decided like this.
    knob: Option<String>,
    value: &'a str,
    outcome: &'static str,
    /// What it depends on.
    unknown: Vec<&'static str>,
    possible: Vec<JsonPossible<'a>>,
}

/// A verdict that is possible. There is no rule if the default decides.
#[derive(Serialize)]
struct JsonPossible<'a> {
    /// `ignore` if the current value is written.
    #[serde(flatten)]
    verdict: JsonPossibleVerdict<'a>,
    rule: Option<JsonRule<'a>>,
    default_line: Option<usize>,
    /// Why the rule cannot be evaluated.
    error: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum JsonPossibleVerdict<'a> {
    Known(JsonVerdict<'a>),
    CurrentValue { verdict: &'static str },
}

/// A line that cannot be read.
#[derive(Serialize)]
pub(super) struct JsonLineError<'a> {
    file: &'a str,
    line: usize,
    outcome: &'static str,
    message: &'a str,
    help: Option<&'a str>,
}

pub(super) fn error<'a>(file: &'a str, error: &'a LineError) -> JsonLineError<'a> {
    let LineError { line, message, help } = error;
    JsonLineError { file, line: *line, outcome: "error", message, help: help.as_deref() }
}

/// One object for each verdict.
pub(super) fn objects<'a>(linted: &'a Linted<'a>) -> impl Iterator<Item = JsonKnobVerdict<'a>> {
    linted.verdicts.iter().map(|verdict| JsonKnobVerdict {
        file: linted.file,
        line: linted.setting.line,
        key: linted.setting.key.to_string(),
        knob: verdict.knob.as_ref().map(ToString::to_string),
        value: &linted.setting.value,
        outcome: outcome(verdict),
        unknown: verdict.unknown.iter().map(|unknown| self::unknown(*unknown)).collect(),
        possible: verdict.possible.iter().map(|possible| self::possible(linted, possible)).collect(),
    })
}

fn outcome(verdict: &KnobVerdict) -> &'static str {
    match verdict.outcome() {
        Outcome::Allowed => "allowed",
        Outcome::Rewritten => "rewritten",
        Outcome::Denied => "denied",
        Outcome::Depends => "depends",
    }
}

fn unknown(unknown: Unknown) -> &'static str {
    match unknown {
        Unknown::CurrentValue => "old",
        Unknown::TaskName => "comm",
        Unknown::KnobNetns => "netns",
        Unknown::Names => "names",
    }
}

fn possible<'a>(linted: &'a Linted<'a>, possible: &'a Possible) -> JsonPossible<'a> {
    let verdict = match &possible.verdict {
        Some(verdict) => JsonPossibleVerdict::Known(verdict.into()),
        None => JsonPossibleVerdict::CurrentValue { verdict: "ignore" },
    };
    let (rule, default_line, error) = match possible.by {
        DecidedBy::Rule(rule) => (Some(rule), None, None),
        DecidedBy::EvalError { rule, error } => (Some(rule), None, Some(why(error))),
        DecidedBy::Default(kind) => (None, linted.policy.default_place(kind).map(|place| place.line), None),
    };
    JsonPossible { verdict, rule: rule.map(|rule| JsonRule::of(linted.policy, rule)), default_line, error }
}
