//! How the verdict of a policy compares with what happened.

use knobgate_events::{EventOutcome, EventText, StreamEvent, denied_with};
use knobgate_policy::{Errno, Verdict};

use crate::decide::Decided;
use crate::recorded::Unknown;

/// How the verdict of a policy compares with what happened: the [outcome](knobgate_events::Event::outcome) of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// It succeeded, and would be denied.
    NewlyDenied,
    /// It was denied, and would succeed; or it was rewritten, and would pass as it was written.
    NewlyAllowed,
    /// It was written, and would be rewritten; or it would be rewritten to something else.
    RewrittenDifferently,
    /// It would be denied with another errno.
    Errno,
    /// That depends on what the event does not have.
    Unknown,
    /// The verdict would be the same.
    Same,
}

impl Outcome {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [
        Self::NewlyDenied,
        Self::NewlyAllowed,
        Self::RewrittenDifferently,
        Self::Errno,
        Self::Unknown,
        Self::Same,
    ];
}

/// What happened to an access.
enum Happened {
    /// It passed as it was.
    Passed,
    /// It failed with this errno.
    Denied {
        errno: u16,
        /// The errno with which a program before had denied it.
        before: Option<u16>,
    },
    /// It passed with another value; `None` if that is unknown.
    Rewritten(Option<Vec<u8>>),
    /// Whatever other programs than the observer decided.
    Unknown,
}

/// The outcome, and what it depends on if it is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compared {
    pub(crate) outcome: Outcome,
    /// What it may be if it is unknown.
    pub(crate) may_be: Vec<Outcome>,
    pub(crate) unknown: Vec<Unknown>,
}

/// Compares the outcome of an event with what a policy decides.
pub(crate) fn compare(event: &StreamEvent, decided: &Decided) -> Compared {
    let old = happened(event);
    let mut may_be: Vec<Outcome> =
        decided.verdicts.iter().flat_map(|new| outcomes(&old, new.as_ref())).collect();
    may_be.sort_unstable();
    may_be.dedup();
    match may_be[..] {
        // Several verdicts may all be newly denied, but with which errno is unknown.
        [outcome] if decided.verdict().is_some() => Compared { outcome, may_be, unknown: Vec::new() },
        _ => {
            let mut unknown = decided.unknown.clone();
            if matches!(old, Happened::Rewritten(None)) && unknown.is_empty() {
                unknown.push(Unknown::Replacement);
            }
            unknown.extend(matches!(old, Happened::Unknown).then_some(Unknown::Outcome));
            Compared { outcome: Outcome::Unknown, may_be, unknown }
        }
    }
}

/// What it may be about if the name of the knob is unknown.
pub(crate) fn without_knob(event: &StreamEvent) -> Compared {
    let any = [Verdict::Allow, Verdict::Deny(Errno::EPERM), Verdict::Deny(Errno::EINVAL)];
    let verdicts = any.map(Some).into_iter().chain([None]).collect();
    compare(event, &Decided { verdicts, by: None, unknown: vec![Unknown::Knob] })
}

/// What happened to the access of an event.
fn happened(event: &StreamEvent) -> Happened {
    match event.event.outcome() {
        // In audit mode, accesses pass as they are.
        EventOutcome::Allowed | EventOutcome::WouldDeny(_) | EventOutcome::WouldRewrite => Happened::Passed,
        EventOutcome::Denied(errno) => Happened::Denied { errno, before: event.event.denied_before },
        EventOutcome::Rewritten => {
            let whole = |text: &&EventText| text.cut_from.is_none();
            let stored = event.event.stored.as_ref().filter(whole).map(|stored| stored.bytes.clone());
            Happened::Rewritten(stored.or_else(|| event.replacement.clone()))
        }
        EventOutcome::Unknown => Happened::Unknown,
    }
}

/// How `new` may compare with what happened; `None` is a rewrite to something unknown.
fn outcomes(old: &Happened, new: Option<&Verdict>) -> Vec<Outcome> {
    use Outcome::{NewlyAllowed, NewlyDenied, RewrittenDifferently, Same};
    match (old, new) {
        (Happened::Denied { errno, before }, Some(Verdict::Deny(new))) => {
            vec![if *errno == denied_with(*new, *before) { Same } else { Outcome::Errno }]
        }
        (Happened::Denied { .. }, Some(_)) => vec![NewlyAllowed],
        (Happened::Unknown, Some(Verdict::Deny(_))) => vec![NewlyDenied, Outcome::Errno, Same],
        (Happened::Unknown, Some(Verdict::Allow)) => vec![NewlyAllowed, Same],
        (Happened::Unknown, Some(Verdict::Rewrite(_))) => vec![NewlyAllowed, RewrittenDifferently, Same],
        (_, Some(Verdict::Deny(_))) => vec![NewlyDenied],
        (Happened::Passed, Some(Verdict::Allow)) => vec![Same],
        (Happened::Passed, Some(Verdict::Rewrite(_))) => vec![RewrittenDifferently],
        (Happened::Rewritten(_), Some(Verdict::Allow)) => vec![NewlyAllowed],
        (Happened::Rewritten(None), Some(Verdict::Rewrite(_))) => vec![RewrittenDifferently, Same],
        (Happened::Rewritten(Some(old)), Some(Verdict::Rewrite(new))) => {
            vec![if old == new { Same } else { RewrittenDifferently }]
        }
        (old, None) => {
            let others = [Verdict::Allow, Verdict::Deny(Errno::EINVAL)];
            let rewritten = match old {
                Happened::Passed => vec![RewrittenDifferently],
                Happened::Denied { .. } => vec![NewlyAllowed],
                Happened::Rewritten(_) => vec![RewrittenDifferently, Same],
                Happened::Unknown => vec![NewlyAllowed, RewrittenDifferently, Same],
            };
            others.iter().flat_map(|new| outcomes(old, Some(new))).chain(rewritten).collect()
        }
    }
}
