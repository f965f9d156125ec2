//! What would be different, for people.

use anstyle::Style;
use knobgate_events::{Event, EventOutcome, EventRule, EventVerdict, RuleRef, StreamItem};
use knobgate_policy::{Mode, Text, Verdict};
use knobgate_replay::{Class, Now, Outcome};

use super::{Replayed, heading};
use crate::decider::decider;
use crate::failure::Failure;
use crate::output::{Lines, Output};
use crate::printable::printable;
use crate::stream::tally::{count, when, workloads};
use crate::stream::words::{self, Length};
use crate::style;

/// How many classes of one outcome are printed.
const CLASSES_MAX: usize = 50;

pub(super) fn print(replayed: &Replayed, output: &Output) -> Result<(), Failure> {
    let Replayed { policy, report } = replayed;
    let mut lines = output.lines();
    let mut counts = Vec::new();
    for outcome in Outcome::ALL {
        let events = report.events(outcome);
        if events == 0 {
            continue;
        }
        counts.push(format!("{events} {}", heading(outcome)));
        if outcome == Outcome::Same {
            continue;
        }
        let style = style_of(outcome);
        lines.line(format_args!("{style}{}{style:#}", heading(outcome)))?;
        let classes: Vec<&Class> = report.classes.iter().filter(|class| class.outcome == outcome).collect();
        for class in classes.iter().take(CLASSES_MAX) {
            print_class(class, replayed, &mut lines)?;
        }
        if classes.len() > CLASSES_MAX {
            let more = classes.len() - CLASSES_MAX;
            lines.line(format_args!("  … and {more} more; --json has all of them\n"))?;
        }
        match report.further[outcome as usize] {
            0 => {}
            further => lines.line(format_args!("  … and {} of further ones\n", count(further, "event")))?,
        }
    }
    let all: u64 = Outcome::ALL.iter().map(|&outcome| report.events(outcome)).sum();
    lines.line(match counts.len() {
        0 => "no events".to_owned(),
        _ => format!("{}: {}", count(all, "event"), counts.join(", ")),
    })?;
    lines.flush()?;
    if report.suppressed > 0 || report.lost > 0 {
        let (suppressed, lost) = (report.suppressed, report.lost);
        output.note(format_args!("{suppressed} suppressed and {lost} lost events are unknown, too"));
    }
    if all > 0 && report.passed == 0 {
        output.note(
            "no event is of an access that passed, so nothing could be newly denied; rules send events of what \
             they allow only with `log`",
        );
    }
    if policy.policy().mode() == Mode::Audit {
        output.note("the policy is in mode audit, and was replayed as if it were enforced");
    }
    Ok(())
}

fn print_class(class: &Class, replayed: &Replayed, lines: &mut Lines) -> Result<(), Failure> {
    let Some(event) = class.example.event().map(|event| &event.event) else { return Ok(()) };
    let heading = style::HEADING;
    let access = format!("{} {}", words::access(event.kind), words::knob(&event.knob));
    lines.line(format_args!("  {heading}{access}{heading:#}  {}", when(&class.tally)))?;
    let was = was(&class.example, event);
    lines.line(format_args!("    was   {was}"))?;
    match &class.now {
        Now::Decided { verdict, by: Some(by) } => {
            let decider = decider(*by, &replayed.policy);
            lines.line(format_args!(
                "    now   {} by {}: {}",
                words_of(verdict),
                decider.place,
                decider.text
            ))?;
            if let Some(error) = decider.eval_error {
                lines.line(format_args!("          cannot be evaluated: {error}"))?;
            }
        }
        Now::Decided { verdict, by: None } => {
            lines.line(format_args!("    now   {}, by one of several rules", words_of(verdict)))?;
        }
        Now::Unknown { unknown, may_be } => {
            let unknown: Vec<String> = unknown.iter().map(ToString::to_string).collect();
            let may_be: Vec<&str> = may_be.iter().map(|&outcome| super::heading(outcome)).collect();
            lines.line(format_args!("    now   {}", may_be.join(", or ")))?;
            lines.line(format_args!("          the events do not have {}", unknown.join(" or ")))?;
        }
    }
    if let Some(workloads) = workloads(&class.tally) {
        lines.line(format_args!("    in    {workloads}"))?;
    }
    if let Some(example) = example(event) {
        lines.line(format_args!("    such as {example}"))?;
    }
    match class.tally.denied_before {
        0 => {}
        before if before == class.tally.events => {
            lines.line(
                "    another program had denied all of them before, which this policy does not change",
            )?;
        }
        before => lines.line(format_args!(
            "    another program had denied {before} of them before, which this policy does not change"
        ))?,
    }
    lines.line("")
}

/// What happened, the verdict in the event if that is something else, and what decided.
fn was(item: &StreamItem, event: &Event) -> String {
    let verdict = match event.verdict {
        EventVerdict::Allow => "allow".to_owned(),
        EventVerdict::Deny(errno) => format!("deny {errno}"),
        EventVerdict::Rewrite => {
            match (&event.stored, item.event().and_then(|event| event.replacement.as_ref())) {
                (Some(stored), _) => format!("set {}", words::value(stored, Length::Short)),
                (None, Some(replacement)) => format!("set {}", words::quoted(replacement, Length::Short)),
                (None, None) => "set".to_owned(),
            }
        }
    };
    let happened = match (event.outcome(), event.verdict) {
        (EventOutcome::WouldDeny(_) | EventOutcome::WouldRewrite, _) => "passed in audit mode; ".to_owned(),
        (EventOutcome::Unknown, _) => "observed before other programs decided; ".to_owned(),
        (EventOutcome::Denied(errno), verdict) if !is_denial(verdict, event.mode) => {
            format!("denied by another program with {}; ", words::errno(errno))
        }
        _ => String::new(),
    };
    let EventRule { rule, text, eval_error, .. } = &event.rule;
    let text = match (rule, &*text.bytes) {
        (RuleRef::Default(kind), b"") => format!("the default for a {kind}, which is not stated"),
        (_, bytes) => printable(bytes).into_owned() + if text.cut_from.is_some() { "…" } else { "" },
    };
    let place = words::rule(item).unwrap_or_default();
    let error = if *eval_error { ", which could not be evaluated" } else { "" };
    format!("{happened}{verdict} by {place}: {text}{error}")
}

/// Whether it is this verdict that denies.
fn is_denial(verdict: EventVerdict, mode: Mode) -> bool {
    mode == Mode::Enforce && matches!(verdict, EventVerdict::Deny(_))
}

/// A verdict as a phrase.
fn words_of(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allow => "allow".to_owned(),
        Verdict::Deny(errno) => format!("deny {errno}"),
        Verdict::Rewrite(value) => format!("set {}", printable(&Text::from(value.as_slice()).to_string())),
    }
}

/// The values and the task of an event.
fn example(event: &Event) -> Option<String> {
    let value = |value: &Option<knobgate_events::EventText>, before: &str| {
        value.as_ref().map(|value| format!("{before}{}", words::value(value, Length::Short)))
    };
    let position = (event.position > 0).then(|| format!("at {}", event.position));
    let old = value(&event.old, "old ");
    let uid = event.uid.map(|uid| format!("uid {uid}"));
    let gid = event.gid.map(|gid| format!("gid {gid}"));
    let comm = event.comm.as_deref().map(|comm| format!("comm {}", printable(&Text::from(comm).to_string())));
    let parts: Vec<String> =
        [position, value(&event.new, "new "), old, uid, gid, comm].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn style_of(outcome: Outcome) -> Style {
    match outcome {
        Outcome::NewlyDenied => style::DENY,
        Outcome::NewlyAllowed | Outcome::RewrittenDifferently | Outcome::Unknown => style::REWRITE,
        Outcome::Errno | Outcome::Same => style::HEADING,
    }
}
