//! The answer as text.

use std::borrow::Cow;

use anstyle::Style;
use knobgate_catalogue::{facts, find};
use knobgate_policy::engine_writes::EngineWrite;
use knobgate_policy::{AccessKind, DecidedBy, Mode, Text, Verdict};

use super::current_value::CurrentValue;
use super::trace::{Fact, PassedOver, Why, facts};
use super::{Answer, engine_writes};
use crate::deciding_hook::DecidingHook;
use crate::knob_value::KnobValue;
use crate::printable::{printable, printable_lines};
use crate::profile_limit::profile_limit;
use crate::style;

/// The answer, in lines without a newline at the end.
pub(super) fn lines(answer: &Answer<'_>) -> String {
    let mut lines = vec![access(answer)];
    let mut row = |name: &str, text: String| {
        let dim = style::DIM;
        lines.push(format!("  {dim}{name:<8}{dim:#}  {text}"));
    };
    if let Some(knob) = find(answer.access.knob.as_bytes()) {
        row("knob", facts::line(knob));
    }
    row("verdict", verdict(answer.decided.verdict()));
    row("because", because(answer));
    for line in rule_lines(answer) {
        row("", line);
    }
    if let Some(degradation) = answer.decided.effect.degradation {
        let means = verdict(&answer.decided.decision.verdict);
        let limit = profile_limit(degradation, answer.file, answer.profile);
        row("kernel", format!("the policy says {means}, but {}", printable(limit.description())));
    }
    if answer.file.policy().mode() == Mode::Audit {
        row("mode", "audit: the verdict is reported, and the access passes unchanged".to_owned());
    }
    row("caller", caller(answer));
    row("log", log(answer));
    for write in engine_writes(answer) {
        row("engine", engine_write(write));
    }
    row("current", current(answer));
    row("task", task(answer));

    if !answer.trace.passed_over.is_empty() {
        lines.push("Rules before it that name this knob:".to_owned());
        lines.extend(answer.trace.passed_over.iter().flat_map(|passed_over| why_not(answer, passed_over)));
    }
    match (answer.trace.other_knobs, answer.trace.passed_over.len()) {
        (0, _) => {}
        (1, 0) => lines.push("1 rule before it is for other knobs.".to_owned()),
        (count, 0) => lines.push(format!("{count} rules before it are for other knobs.")),
        (1, _) => lines.push("1 more is for other knobs.".to_owned()),
        (count, _) => lines.push(format!("{count} more are for other knobs.")),
    }
    let hook = DecidingHook::UserSpace(*answer.profile);
    lines.push(format!("Decided by {hook}; the knob may still reject a value."));
    lines.join("\n")
}

fn access(answer: &Answer<'_>) -> String {
    let access = answer.access;
    let heading = style::HEADING;
    let knob = access.knob.to_string();
    let mut line = format!("{heading}{} {}{heading:#}", access.kind(), printable(&knob));
    if let Some(new) = &access.new {
        line += &format!(" {}", quoted(new));
    }
    if access.pos != 0 {
        line += &format!(" at position {}", access.pos);
    }
    line
}

fn verdict(verdict: &Verdict) -> String {
    let painted = |style: Style, text: String| format!("{style}{text}{style:#}");
    match verdict {
        Verdict::Allow => painted(style::ALLOW, "allow".to_owned()),
        Verdict::Deny(errno) => painted(style::DENY, format!("deny {errno}")),
        Verdict::Rewrite(value) => painted(style::REWRITE, format!("set {}", quoted(value))),
    }
}

fn because(answer: &Answer<'_>) -> String {
    match answer.decided.decision.by {
        DecidedBy::Rule(rule) => format!("{} decides", place_of_rule(answer, rule)),
        DecidedBy::EvalError { rule, error } => {
            format!("{} cannot be evaluated: {error}; such an access is denied", place_of_rule(answer, rule))
        }
        DecidedBy::Default(kind) => match answer.file.default_place(kind) {
            Some(place) => {
                format!("no rule applies, and this is the default, {}", printable(&place.to_string()))
            }
            None => {
                let default = answer.file.policy().defaults().of(kind);
                format!("no rule applies, and the policy states no default: {kind} {default}")
            }
        },
    }
}

fn place_of_rule(answer: &Answer<'_>, rule: usize) -> String {
    let place = answer.file.rule_place(rule).map(|place| place.to_string()).unwrap_or_default();
    format!("rule {} of {}, {},", rule + 1, answer.file.policy().rules().len(), printable(&place))
}

/// The text of the rule or default that decided.
fn rule_lines(answer: &Answer<'_>) -> Vec<String> {
    let text = match answer.decided.decision.by {
        DecidedBy::Rule(rule) | DecidedBy::EvalError { rule, .. } => answer.file.rule_text(rule),
        DecidedBy::Default(kind) => {
            answer.file.default_span(kind).map(|span| answer.file.source().slice(span))
        }
    };
    as_written(text.unwrap_or_default())
}

fn as_written(text: &str) -> Vec<String> {
    text.lines().map(|line| format!("  {}", printable_lines(line))).collect()
}

/// What the system call does.
fn caller(answer: &Answer<'_>) -> String {
    let access = answer.access;
    let written = access.new.as_deref().unwrap_or_default();
    let verdict = match answer.file.policy().mode() {
        Mode::Audit => &Verdict::Allow,
        Mode::Enforce => answer.decided.verdict(),
    };
    match (access.kind(), verdict) {
        (kind, Verdict::Deny(errno)) => {
            format!("{kind}(2) fails with {errno} ({})", errno.description())
        }
        (AccessKind::Read, _) => match answer.current.bytes() {
            Some(old) => format!("read(2) returns what the knob holds, {}", quoted(old)),
            None => "read(2) returns what the knob holds".to_owned(),
        },
        (AccessKind::Write, Verdict::Allow) => {
            let (count, written) = (written.len(), quoted(written));
            format!("write(2) returns {count} and the knob is given {written} unchanged")
        }
        (AccessKind::Write, Verdict::Rewrite(value)) => {
            format!("write(2) returns {} and the knob is given {}", written.len(), quoted(value))
        }
    }
}

fn engine_write(write: &EngineWrite) -> String {
    let (engine, value) = (write.engine_name(), write.value());
    format!("{engine} writes \"{value}\" itself at the start of each container with a network of its own")
}

const SENT: &str = "an event is sent";

fn log(answer: &Answer<'_>) -> String {
    let logs = answer.decided.decision.log;
    let stated = match answer.decided.decision.by {
        DecidedBy::Rule(rule) => answer.file.policy().rules()[rule].log(),
        DecidedBy::Default(kind) => answer.file.policy().defaults().of(kind).log,
        DecidedBy::EvalError { .. } => {
            return format!("{SENT}, as always when a rule cannot be evaluated");
        }
    };
    let why = match (stated, logs) {
        (Some(stated), _) => &format!("`{stated}`"),
        (None, true) => "denials and rewrites log",
        (None, false) => "what passes as it is does not log",
    };
    format!("{}: {why}", if logs { SENT } else { "no event is sent" })
}

fn current(answer: &Answer<'_>) -> String {
    match answer.current {
        CurrentValue::Given(value) => format!("{}, as given", quoted(value)),
        CurrentValue::OfThisMachine(KnobValue::Value(value)) => {
            format!("{}, from this machine", quoted(value))
        }
        CurrentValue::OfThisMachine(KnobValue::NoSuchKnob) => {
            "no current value: this machine has no such knob".to_owned()
        }
        CurrentValue::OfThisMachine(KnobValue::WriteOnly) => {
            "no current value: the knob is write-only".to_owned()
        }
        CurrentValue::OfThisMachine(KnobValue::Unreadable(error)) => {
            format!("no current value: it cannot be read here ({error})")
        }
    }
}

fn task(answer: &Answer<'_>) -> String {
    let task = &answer.access.task;
    format!("uid {}, gid {}, comm {}", task.uid, task.gid, quoted(&task.comm))
}

fn why_not(answer: &Answer<'_>, passed_over: &PassedOver) -> Vec<String> {
    let rule = passed_over.rule;
    let mut written = as_written(answer.file.rule_text(rule).unwrap_or_default());
    let place = match answer.file.rule_place(rule) {
        Some(place) if place.name != answer.file.source().name() => {
            printable(&place.to_string()).into_owned()
        }
        place => format!("line {}", place.map_or(0, |place| place.line)),
    };
    let mut lines = vec![format!("  rule {}, {place}:", rule + 1)];
    lines.extend(written.drain(..).map(|line| format!("  {line}")));
    lines.push(format!("    {}", reason(answer, &passed_over.why)));
    lines
}

fn reason(answer: &Answer<'_>, why: &Why) -> String {
    match why {
        Why::OtherKind => match answer.access.kind() {
            AccessKind::Read => "is for writes".to_owned(),
            AccessKind::Write => "is for reads".to_owned(),
        },
        Why::Condition(parts) => {
            let conditions: Vec<String> = parts.iter().map(|part| format!("`{part}`")).collect();
            let seen: Vec<String> = facts(parts).into_iter().map(|seen| fact(answer, seen)).collect();
            let holds = if parts.len() == 1 { "does not hold" } else { "do not hold" };
            let line = format!("{} {holds}, with {}", conditions.join(" and "), seen.join(", "));
            printable(&line).into_owned()
        }
    }
}

fn fact(answer: &Answer<'_>, fact: Fact) -> String {
    let access = answer.access;
    let value = |value: &Option<Vec<u8>>| value.as_deref().map_or("nothing".into(), quoted);
    match fact {
        Fact::New => format!("new {}", value(&access.new)),
        Fact::Old => format!("old {}", value(&access.old)),
        Fact::Pos => format!("pos {}", access.pos as u32),
        Fact::Uid => format!("uid {}", access.task.uid),
        Fact::Gid => format!("gid {}", access.task.gid),
        Fact::Comm => format!("comm {}", quoted(&access.task.comm)),
        Fact::Netns => {
            format!("netns {}", access.knob_netns.map_or("unknown".into(), |netns| netns.to_string()))
        }
    }
}

fn quoted(bytes: &[u8]) -> Cow<'static, str> {
    printable(&Text::from(bytes).to_string()).into_owned().into()
}
