//! How many events had each outcome.

use knobgate_events::{Event, EventOutcome, EventVerdict};
use knobgate_policy::Mode;
use knobgate_policy::filter::OutcomeKind;

/// How many events had each outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u64; OUTCOMES.len()]);

/// All outcomes, in the order in which the page has them.
pub(crate) const OUTCOMES: [OutcomeKind; 5] = [
    OutcomeKind::Denied,
    OutcomeKind::Rewritten,
    OutcomeKind::WouldDeny,
    OutcomeKind::WouldRewrite,
    OutcomeKind::Allowed,
];

impl Counts {
    /// How many had this outcome.
    pub fn of(&self, outcome: OutcomeKind) -> u64 {
        self.0[index(outcome)]
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, outcome: OutcomeKind) {
        self.0[index(outcome)] += 1;
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
pub(crate) fn index(outcome: OutcomeKind) -> usize {
    match outcome {
        OutcomeKind::Denied => 0,
        OutcomeKind::Rewritten => 1,
        OutcomeKind::WouldDeny => 2,
        OutcomeKind::WouldRewrite => 3,
        OutcomeKind::Allowed => 4,
    }
}

/// The name of an outcome, as in the JSON of events.
pub(crate) fn name(outcome: OutcomeKind) -> &'static str {
    match outcome {
        OutcomeKind::Denied => "denied",
        OutcomeKind::Rewritten => "rewritten",
        OutcomeKind::WouldDeny => "would-deny",
        OutcomeKind::WouldRewrite => "would-rewrite",
        OutcomeKind::Allowed => "allowed",
    }
}

/// What became of an access, and the errno of a denial.
pub(crate) fn outcome(event: &Event) -> (OutcomeKind, Option<u16>) {
    match event.outcome() {
        EventOutcome::Allowed => (OutcomeKind::Allowed, None),
        EventOutcome::Denied(errno) => (OutcomeKind::Denied, Some(errno)),
        EventOutcome::Rewritten => (OutcomeKind::Rewritten, None),
        EventOutcome::WouldDeny(errno) => (OutcomeKind::WouldDeny, Some(errno)),
        EventOutcome::WouldRewrite => (OutcomeKind::WouldRewrite, None),
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
