//! Verdicts on settings as text.

use knobgate_policy::{DecidedBy, PolicyFile, Text, Verdict};
use knobgate_sysctl_conf::{Key, KnobVerdict, Outcome, Possible, Unknown};

use super::{Linted, why};
use crate::printable::printable;
use crate::style;

/// A setting and its verdicts, in lines without a newline at the end.
pub(super) fn lines(linted: &Linted<'_>) -> String {
    let setting = linted.setting;
    let (heading, key) = (style::HEADING, setting.key.to_string());
    let place = format!("{}:{}", printable(linted.file), setting.line);
    let mut lines =
        vec![format!("{place}: {heading}{} = {}{heading:#}", printable(&key), printable(&setting.value))];
    if linted.verdicts.is_empty() {
        lines.push(
            "  sets nothing: each knob that matches has a setting or an exclusion of its own".to_owned(),
        );
    }
    for verdict in &linted.verdicts {
        let mut indent = "  ";
        if let (Key::Glob(_), Some(knob), 2..) = (&setting.key, &verdict.knob, linted.verdicts.len()) {
            lines.push(format!("  {}, for example:", printable(&knob.to_string())));
            indent = "    ";
        }
        lines.extend(of_knob(linted.policy, verdict).into_iter().map(|line| format!("{indent}{line}")));
    }
    lines.join("\n")
}

fn of_knob(policy: &PolicyFile, verdict: &KnobVerdict) -> Vec<String> {
    let possible = verdict.possible.iter().map(|possible| self::possible(policy, possible));
    if verdict.outcome() != Outcome::Depends {
        return possible.collect();
    }
    let warning = style::WARNING;
    let unknown: Vec<&str> = verdict.unknown.iter().map(|unknown| self::unknown(*unknown)).collect();
    let mut lines = vec![format!("{warning}depends{warning:#} on {}", unknown.join(" and "))];
    lines.extend(possible.map(|line| format!("  {line}")));
    lines
}

fn unknown(unknown: Unknown) -> &'static str {
    match unknown {
        Unknown::CurrentValue => "the current value",
        Unknown::TaskName => "the name of the task",
        Unknown::KnobNetns => "the network namespace that owns the knob",
        Unknown::Names => "which knobs there are: the patterns are too complex to try all",
    }
}

fn possible(policy: &PolicyFile, possible: &Possible) -> String {
    let (style, verdict) = match &possible.verdict {
        Some(verdict @ Verdict::Allow) => (style::ALLOW, verdict.to_string()),
        Some(verdict @ Verdict::Deny(_)) => (style::DENY, verdict.to_string()),
        Some(Verdict::Rewrite(value)) => (style::REWRITE, format!("set {}", Text::from(value.as_slice()))),
        None => (style::REWRITE, "keep the current value".to_owned()),
    };
    format!("{style}{}{style:#}  {}", printable(&verdict), by(policy, possible.by))
}

/// What decides, with its line.
fn by(policy: &PolicyFile, by: DecidedBy) -> String {
    let file = printable(policy.source().name());
    let rule = |rule: usize| {
        let text = policy.policy().rules().get(rule).map(ToString::to_string).unwrap_or_default();
        let place = policy.rule_place(rule).map(|place| place.to_string()).unwrap_or_default();
        format!("{}: {}", printable(&place), printable(&text))
    };
    match by {
        DecidedBy::Rule(index) => rule(index),
        DecidedBy::EvalError { rule: index, error } => {
            format!("{}, which cannot be evaluated: {}", rule(index), why(error))
        }
        DecidedBy::Default(kind) => {
            let default = policy.policy().defaults().of(kind);
            match policy.default_place(kind) {
                Some(place) => format!("{}: default {kind} {default}", printable(&place.to_string())),
                None => format!("{file}: default {kind} {default}, which is not stated"),
            }
        }
    }
}
