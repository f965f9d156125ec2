//! How the verdict of a policy compares with that in an event.

use knobgate_events::{EventText, EventVerdict, StreamEvent};
use knobgate_policy::{Errno, Verdict};

use crate::decide::Decided;
use crate::recorded::Unknown;

/// How the verdict of a policy compares with that in an event.
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

    /// How `new` compares with `old`.
    pub fn between(old: &Verdict, new: &Verdict) -> Self {
        match (old, new) {
            (old, new) if old == new => Self::Same,
            (Verdict::Deny(_), Verdict::Deny(_)) => Self::Errno,
            (Verdict::Deny(_), _) | (Verdict::Rewrite(_), Verdict::Allow) => Self::NewlyAllowed,
            (_, Verdict::Deny(_)) => Self::NewlyDenied,
            (_, Verdict::Rewrite(_)) | (Verdict::Allow, Verdict::Allow) => Self::RewrittenDifferently,
        }
    }
}

/// The outcome, and what it depends on if it is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compared {
    pub(crate) outcome: Outcome,
    /// What it may be if it is unknown.
    pub(crate) may_be: Vec<Outcome>,
    pub(crate) unknown: Vec<Unknown>,
}

/// Compares the verdict of an event with what a policy decides.
pub(crate) fn compare(event: &StreamEvent, decided: &Decided) -> Compared {
    let old = verdict(event);
    let mut may_be: Vec<Outcome> =
        decided.verdicts.iter().flat_map(|new| outcomes(old.as_ref(), new.as_ref())).collect();
    may_be.sort_unstable();
    may_be.dedup();
    match may_be[..] {
        // Several verdicts may all be newly denied, but with which errno is unknown.
        [outcome] if decided.verdict().is_some() => Compared { outcome, may_be, unknown: Vec::new() },
        _ => {
            let mut unknown = decided.unknown.clone();
            if old.is_none() && unknown.is_empty() {
                unknown.push(Unknown::Replacement);
            }
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

/// The verdict of an event; `None` for a rewrite to something unknown.
fn verdict(event: &StreamEvent) -> Option<Verdict> {
    match event.event.verdict {
        EventVerdict::Allow => Some(Verdict::Allow),
        EventVerdict::Deny(errno) => Some(Verdict::Deny(errno)),
        EventVerdict::Rewrite => {
            let whole = |text: &&EventText| text.cut_from.is_none();
            let stored = event.event.stored.as_ref().filter(whole).map(|stored| stored.bytes.clone());
            stored.or_else(|| event.replacement.clone()).map(Verdict::Rewrite)
        }
    }
}

/// How `new` may compare with `old`. Each is `None` for a rewrite to something unknown.
fn outcomes(old: Option<&Verdict>, new: Option<&Verdict>) -> Vec<Outcome> {
    use Outcome::{NewlyAllowed, NewlyDenied, RewrittenDifferently, Same};
    match (old, new) {
        (Some(old), Some(new)) => vec![Outcome::between(old, new)],
        (None, Some(Verdict::Allow)) => vec![NewlyAllowed],
        (None, Some(Verdict::Deny(_))) => vec![NewlyDenied],
        (None, Some(Verdict::Rewrite(_))) => vec![RewrittenDifferently, Same],
        (old, None) => {
            let others = [Verdict::Allow, Verdict::Deny(Errno::EINVAL)];
            let rewritten = match old {
                Some(Verdict::Allow) => vec![RewrittenDifferently],
                Some(Verdict::Deny(_)) => vec![NewlyAllowed],
                Some(Verdict::Rewrite(_)) | None => vec![RewrittenDifferently, Same],
            };
            others.iter().flat_map(|new| outcomes(old, Some(new))).chain(rewritten).collect()
        }
    }
}
