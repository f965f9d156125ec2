//! What a program does not record, from what it does: its rule decides again.

use knobgate_policy::limits::SHORT_VALUE_MAX;
use knobgate_policy::{
    Access, AccessKind, CheckOptions, DecidedBy, EvalError, KnobName, KnobNetns, Source, Task, Value,
    Verdict, evaluate, parse,
};

use crate::event::{Event, EventText, EventVerdict, too_long};

/// What follows from an event and the text of its rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Reconstructed {
    /// Why the rule could not be evaluated.
    pub eval_error: Option<EvalError>,
    /// The value that the rule replaces the written one with. In audit mode that is not stored.
    pub replacement: Option<Vec<u8>>,
}

/// What follows from an event and the text of its rule. Both are absent if the event does not have all that the rule may look at.
pub fn reconstruct(event: &Event) -> Reconstructed {
    let is_needed = event.rule.eval_error || event.verdict == EventVerdict::Rewrite;
    if !is_needed || event.secret {
        return Reconstructed::default();
    }
    decide(event).unwrap_or_default()
}

/// What follows if it does whatever width the policy gives the knob, and whichever network namespace owns it. The event has
/// neither.
fn decide(event: &Event) -> Option<Reconstructed> {
    // Kernels do not fail to say which namespace it is.
    let of_netns = |netns: &[Option<KnobNetns>]| {
        let widths: &[&str] = if event.declares_widths { &["", "width 64 **\n"] } else { &[""] };
        let all = widths.iter().flat_map(|width| netns.iter().map(move |netns| (*width, *netns)));
        all.filter_map(|(width, netns)| decide_with(event, width, netns)).collect::<Vec<_>>()
    };
    let known = of_netns(&KnobNetns::ALL.map(Some));
    let mut possible = if known.is_empty() { of_netns(&[None]) } else { known }.into_iter();
    let first = possible.next()?;
    if possible.all(|other| other == first) { first } else { None }
}

/// What follows with this statement in the policy, for a knob of this network namespace, if it is possible. That is `None` if it depends
/// on more of a value than was recorded.
fn decide_with(event: &Event, width: &str, knob_netns: Option<KnobNetns>) -> Option<Option<Reconstructed>> {
    let text = whole(&event.rule.text).and_then(|text| str::from_utf8(text).ok())?;
    let source = Source::new("rule", format!("policy rule\n{width}{text}\n"));
    let policy = parse(source, &CheckOptions::default().only_errors()).ok()?;
    let mut task = Task::default().uid(event.uid?).gid(event.gid?);
    // A policy that looks at the name of the task runs only on kernels that tell it.
    task.comm = event.comm.clone().unwrap_or_default();
    // Of a value of which only the start was recorded, what matters is whether the rule looks at it: then it finds it too long.
    let value =
        |text: &Option<EventText>| text.as_ref().map(|text| text.seen_by_rules().unwrap_or_else(too_long));
    let is_unknown =
        |text: &Option<EventText>| text.as_ref().is_some_and(|text| text.seen_by_rules().is_none());
    let new = match event.kind {
        AccessKind::Read => None,
        AccessKind::Write => Some(value(&event.new).unwrap_or_default()),
    };
    let knob = KnobName::from_path(whole(&event.knob)?).ok()?;
    let access = Access { knob, new, old: value(&event.old), pos: event.position.into(), knob_netns, task };
    let follows = |access: &Access| {
        let decision = evaluate(policy.policy(), access);
        match (decision.by, decision.verdict) {
            (DecidedBy::EvalError { error, .. }, _) if event.rule.eval_error => {
                Some(Reconstructed { eval_error: Some(error), replacement: None })
            }
            (DecidedBy::Rule(_), Verdict::Rewrite(value)) if !event.rule.eval_error => {
                Some(Reconstructed { eval_error: None, replacement: Some(value) })
            }
            _ => None,
        }
    };
    // Some programs can look at less of a value.
    let found = match (follows(&access), follows(&access.seen_up_to(SHORT_VALUE_MAX))) {
        (Some(one), Some(other)) if one != other => return Some(None),
        (one, other) => one.or(other),
    };
    found.map(|found| match found.eval_error {
        Some(EvalError::TooLong(Value::New)) if is_unknown(&event.new) => None,
        Some(EvalError::TooLong(Value::Old)) if is_unknown(&event.old) => None,
        _ => Some(found),
    })
}

/// The bytes of a text, if they are all there.
fn whole(text: &EventText) -> Option<&[u8]> {
    text.cut_from.is_none().then_some(&text.bytes[..])
}
