//! What `run` prints at its end about the events of the policy.

use std::collections::BTreeMap;

use knobgate::EventMemory;
use knobgate_events::{Event, EventOutcome, RuleRef, StreamEvent};
use knobgate_policy::limits::EVENTS_PER_SECOND;
use knobgate_policy::{Mode, PolicyFile};

use crate::output::Output;
use crate::printable::printable;
use crate::stream::line;
use crate::stream::words::Length;

/// How many knobs are shown.
const SHOWN: usize = 20;

/// The accesses of a rule to one knob.
struct Accesses<'a> {
    times: u64,
    last: &'a Event,
}

/// Prints which accesses did not pass as they were, or would not have, if there are any.
pub(crate) fn print(policy: &str, file: Option<&PolicyFile>, memory: &EventMemory, output: &Output) {
    let mut by_knob: BTreeMap<(usize, &[u8]), Accesses<'_>> = BTreeMap::new();
    for event in memory.recent.iter().filter(|event| is_noted(event)) {
        let accesses =
            by_knob.entry((order(event), &event.knob.bytes)).or_insert(Accesses { times: 0, last: event });
        accesses.times += 1;
        accesses.last = event;
    }
    // The memory counts all of them, and has the most recent ones.
    let noted = memory.entries.iter().filter(|entry| {
        let event = entry.last.as_ref().or(entry.first.as_ref());
        event.is_some_and(is_noted)
    });
    let others = memory.others.iter().map(|counters| counters.sent + counters.suppressed).sum::<u64>();
    let all = noted.map(|entry| entry.counters.sent + entry.counters.suppressed).sum::<u64>() + others;
    if all == 0 {
        return;
    }
    let audits = file.is_some_and(|file| file.policy().mode() == Mode::Audit);
    let (accesses, it_was) = if all == 1 { ("access", "it was") } else { ("accesses", "they were") };
    let passed = if audits { "would not have passed" } else { "did not pass" };
    output.note(format_args!("{policy} had {all} {accesses} that {passed} as {it_was}:"));
    let mut shown = 0;
    for Accesses { times, last } in by_knob.values().take(SHOWN) {
        shown += times;
        let rule = rule_text(file, last);
        let what = line::what_happened(&StreamEvent::from((*last).clone()), &rule, Length::Short);
        output.report(format_args!("{times:>6}× {what}"));
    }
    if all > shown {
        output.report(format_args!(
            "{:>6}× more, of which there is no record: rules send {EVENTS_PER_SECOND} events a second, unless they say `log(all)`",
            all - shown
        ));
    }
}

/// Whether the access did not pass as it was, or would not have.
fn is_noted(event: &Event) -> bool {
    event.outcome() != EventOutcome::Allowed
}

/// Rules in the order of the policy, then its defaults.
fn order(event: &Event) -> usize {
    match event.rule.rule {
        RuleRef::Rule(rule) => rule as usize,
        RuleRef::Default(kind) => usize::MAX - 1 + kind as usize,
    }
}

/// `web.knob:7`
fn rule_text(file: Option<&PolicyFile>, event: &Event) -> String {
    let place = file.and_then(|file| match event.rule.rule {
        RuleRef::Rule(rule) => file.rule_place(rule as usize),
        RuleRef::Default(kind) => file.default_place(kind),
    });
    if let Some(place) = place {
        return printable(&place.to_string()).into_owned();
    }
    let name = printable(file.map_or(&*event.policy, |file| file.source().name()));
    event.rule.line.map_or_else(|| format!("{name}: default"), |line| format!("{name}:{line}"))
}
