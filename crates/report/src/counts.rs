//! How many events had each outcome.

use knobgate_events::{Event, EventOutcome, EventVerdict};
use knobgate_policy::Mode;
use knobgate_policy::filter::OutcomeKind;

/// How many events had each outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u64; OUTCOMES.len()]);

/// All outcomes, in the order in which the page has them. `None` is an unknown one.
pub(crate) const OUTCOMES: [Option<OutcomeKind>; 6] = [
    Some(OutcomeKind::Denied),
    Some(OutcomeKind::Rewritten),
    Some(OutcomeKind::WouldDeny),
    Some(OutcomeKind::WouldRewrite),
    Some(OutcomeKind::Allowed),
    None,
];

impl Counts {
    /// How many had this outcome; with `None`, how many of an observer had an unknown one.
    pub fn of(&self, outcome: impl Into<Option<OutcomeKind>>) -> u64 {
        self.0[index(outcome.into())]
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, outcome: impl Into<Option<OutcomeKind>>) {
        self.0[index(outcome.into())] += 1;
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }

    /// In the order of [`OUTCOMES`].
    pub(crate) fn as_array(&self) -> [u64; OUTCOMES.len()] {
        self.0
    }
}

/// The place of an outcome in [`OUTCOMES`].
pub(crate) fn index(outcome: Option<OutcomeKind>) -> usize {
    match outcome {
        Some(OutcomeKind::Denied) => 0,
        Some(OutcomeKind::Rewritten) => 1,
        Some(OutcomeKind::WouldDeny) => 2,
        Some(OutcomeKind::WouldRewrite) => 3,
        Some(OutcomeKind::Allowed) => 4,
        None => 5,
    }
}

/// The name of an outcome, as in the JSON of events.
pub(crate) fn name(outcome: Option<OutcomeKind>) -> &'static str {
    match outcome {
        Some(OutcomeKind::Denied) => "denied",
        Some(OutcomeKind::Rewritten) => "rewritten",
        Some(OutcomeKind::WouldDeny) => "would-deny",
        Some(OutcomeKind::WouldRewrite) => "would-rewrite",
        Some(OutcomeKind::Allowed) => "allowed",
        None => "unknown",
    }
}

/// What became of an access, and the errno of a denial.
pub(crate) fn outcome(event: &Event) -> (Option<OutcomeKind>, Option<u16>) {
    match event.outcome() {
        EventOutcome::Allowed => (Some(OutcomeKind::Allowed), None),
        EventOutcome::Denied(errno) => (Some(OutcomeKind::Denied), Some(errno)),
        EventOutcome::Rewritten => (Some(OutcomeKind::Rewritten), None),
        EventOutcome::WouldDeny(errno) => (Some(OutcomeKind::WouldDeny), Some(errno)),
        EventOutcome::WouldRewrite => (Some(OutcomeKind::WouldRewrite), None),
        EventOutcome::Unknown => (None, None),
    }
}

/// What the rule made of an access, even if another program had denied that before.
pub(crate) fn decided(event: &Event) -> OutcomeKind {
    match (event.mode, event.verdict) {
        (_, EventVerdict::Allow) => OutcomeKind::Allowed,
        (Mode::Enforce, EventVerdict::Deny(_)) => OutcomeKind::Denied,
        (Mode::Enforce, EventVerdict::Rewrite) => OutcomeKind::Rewritten,
        (Mode::Audit, EventVerdict::Deny(_)) => OutcomeKind::WouldDeny,
        (Mode::Audit, EventVerdict::Rewrite) => OutcomeKind::WouldRewrite,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_place() {
        for (place, outcome) in OUTCOMES.into_iter().enumerate() {
            assert_eq!(index(outcome), place);
        }
    }
}
