//! Events, as far as filters look at them.

use super::{IntegerField, OutcomeKind, TextField, ValueField, VerdictKind};
use crate::{AccessKind, Errno, Mode};

/// What an event reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// `event`: one access.
    Event,
    /// `suppressed`: how many events a rule has not sent because of its limit.
    Suppressed,
    /// `lost`: how many events found no room.
    Lost,
}

/// The fields of an event. A method returns `None` for a field that the event does not have, or that is not known.
pub trait Fields {
    /// What the event reports.
    fn event_type(&self) -> EventType;

    /// The knob: its path below `/proc/sys`, as in [`KnobName::as_bytes`](crate::KnobName::as_bytes).
    fn knob(&self) -> Option<&[u8]>;

    /// Whether it was read or written.
    fn access(&self) -> Option<AccessKind>;

    /// What the policy decided.
    fn verdict(&self) -> Option<VerdictKind>;

    /// What became of the access.
    fn outcome(&self) -> Option<OutcomeKind>;

    /// The errno of a denial: that of the outcome. No other access has one, so filters ask for it only after the outcome.
    fn errno(&self) -> Option<Errno>;

    /// The mode of the policy.
    fn mode(&self) -> Option<Mode>;

    /// The bytes of a value.
    fn value(&self, field: ValueField) -> Option<&[u8]>;

    /// An integer.
    fn integer(&self, field: IntegerField) -> Option<u64>;

    /// A text. It is empty if there is known to be none: for example, the pod of a task that is in no container.
    fn text(&self, field: TextField) -> Option<&[u8]>;
}
