//! The values of a knob over time.

use std::collections::VecDeque;
use std::time::SystemTime;

use knobgate_events::{EventOutcome, EventText, StreamEvent};
use knobgate_policy::AccessKind;
use knobgate_policy::filter::OutcomeKind;

use crate::kept::kept;

/// How many of the first changes of a knob are kept, and how many of the last ones.
pub const CHANGES_KEPT: usize = 50;

/// What a change takes beside its values.
const CHANGE_BYTES: usize = 256;

/// What was seen of the values of a knob: the first and the last changes. Equal accesses in a row are one change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct History {
    /// The first changes.
    pub first: Vec<Change>,
    /// The last ones.
    pub last: VecDeque<Change>,
    /// How many events between the two are left out.
    pub left_out: u64,
}

/// An access that showed a value, and how often it came in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// When; of several in a row, the first one.
    pub time: Option<SystemTime>,
    /// The number of the workload.
    pub workload: Option<usize>,
    /// Whether the knob was read or written.
    pub kind: AccessKind,
    /// What became of the access.
    pub outcome: Option<OutcomeKind>,
    /// The value before.
    pub old: Option<EventText>,
    /// The value that was written.
    pub new: Option<EventText>,
    /// The value that the knob has after it, unless it rejected that.
    pub now: Option<EventText>,
    /// How often it came in a row.
    pub times: u64,
}

impl History {
    /// Adds an event, and takes its bytes from `room`. Where there is none, earlier changes make room, except for the first ones.
    pub(crate) fn add(&mut self, change: Change, room: &mut usize) {
        let newest = match self.left_out {
            0 => self.last.back_mut().or(self.first.last_mut()),
            _ => self.last.back_mut(),
        };
        if let Some(newest) = newest.filter(|newest| newest.is_same(&change)) {
            newest.times += 1;
            return;
        }
        let bytes = change.bytes();
        // Whatever was left out stays between the first and the last ones.
        let is_early = self.last.is_empty() && self.left_out == 0 && self.first.len() < CHANGES_KEPT;
        if is_early && *room >= bytes {
            *room -= bytes;
            return self.first.push(change);
        }
        while self.last.len() == CHANGES_KEPT || *room < bytes {
            let Some(oldest) = self.last.pop_front() else {
                self.left_out += 1;
                return;
            };
            *room += oldest.bytes();
            self.left_out += oldest.times;
        }
        *room -= bytes;
        self.last.push_back(change);
    }

    /// How many events it knows about.
    pub fn events(&self) -> u64 {
        self.changes().map(|change| change.times).sum::<u64>() + self.left_out
    }

    /// The changes that were kept.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.first.iter().chain(&self.last)
    }
}

impl Change {
    /// The values of an event; `None` if it shows none.
    pub(crate) fn of(
        stream_event: &StreamEvent,
        time: Option<SystemTime>,
        workload: Option<u32>,
        outcome: Option<OutcomeKind>,
    ) -> Option<Self> {
        let event = &stream_event.event;
        let value = |value: &Option<EventText>| value.as_ref().map(kept);
        let (old, new) = (value(&event.old), value(&event.new));
        let now = match (event.kind, event.outcome()) {
            (AccessKind::Read, _) | (_, EventOutcome::Denied(_)) => old.clone(),
            _ => stream_event.written().map(|written| {
                let mut text = EventText::default();
                text.bytes = written.to_vec();
                kept(&text)
            }),
        };
        let workload = workload.map(|workload| workload as usize);
        let is_known = old.is_some() || new.is_some() || now.is_some();
        is_known.then_some(Self { time, workload, kind: event.kind, outcome, old, new, now, times: 1 })
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.workload, self.kind, self.outcome) == (other.workload, other.kind, other.outcome)
            && (&self.old, &self.new, &self.now) == (&other.old, &other.new, &other.now)
    }

    fn bytes(&self) -> usize {
        let values = [&self.old, &self.new, &self.now];
        CHANGE_BYTES + values.into_iter().flatten().map(|value| value.bytes.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(value: usize) -> Change {
        let mut old = EventText::default();
        old.bytes = value.to_string().into_bytes();
        let (kind, outcome) = (AccessKind::Read, Some(OutcomeKind::Allowed));
        Change { time: None, workload: None, kind, outcome, old: Some(old), new: None, now: None, times: 1 }
    }

    #[test]
    fn the_first_and_the_last_changes_are_kept() {
        let (mut history, mut room) = (History::default(), 1 << 20);
        for value in 0..200 {
            history.add(change(value), &mut room);
            history.add(change(value), &mut room);
        }
        let values: Vec<Change> =
            (0..50).chain(150..200).map(|value| Change { times: 2, ..change(value) }).collect();
        assert_eq!(history.changes().cloned().collect::<Vec<_>>(), values);
        assert_eq!((history.left_out, history.events()), (2 * (200 - 100), 400));
        assert_eq!(room + history.changes().map(Change::bytes).sum::<usize>(), 1 << 20);
    }

    #[test]
    fn without_room_the_last_changes_make_room() {
        let (mut history, mut room) = (History::default(), 3 * change(10).bytes());
        (10..30).for_each(|value| history.add(change(value), &mut room));
        let values: Vec<Change> = [10, 11, 12].into_iter().map(change).collect();
        assert_eq!(history.changes().cloned().collect::<Vec<_>>(), values);
        assert_eq!(history.events(), 20);
        room = change(10).bytes();
        (30..40).for_each(|value| history.add(change(value), &mut room));
        assert_eq!(history.last, [change(39)]);
        assert_eq!((history.events(), room), (30, 0));
    }
}
