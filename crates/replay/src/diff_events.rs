//! How many events are in the classes of a diff.

use knobgate_diff::Diff;
use knobgate_events::{Event, StreamContent, StreamEvent, StreamItem};
use knobgate_policy::Policy;

use crate::decide::Decider;
use crate::recorded::{Recorded, Unknown};
use crate::seen::Seen;
use crate::tally::{Label, Tally};

/// Counts events by the class of a diff in which their accesses are.
#[derive(Debug)]
pub struct DiffEvents<'a> {
    diff: &'a Diff,
    policies: [&'a Policy; 2],
    deciders: [Decider<'a>; 2],
    label: Label,
    seen: Seen<Place>,
    /// A tally for each class of the diff.
    pub classes: Vec<Tally>,
    /// How many events are of accesses that both policies decide in the same way.
    pub same: u64,
    /// How many events are in a class or in none, depending on what they do not have.
    pub unknown: u64,
    /// What that is.
    pub unknown_inputs: Vec<Unknown>,
    /// How many events were counted and not sent, because of the limit of their rule.
    pub suppressed: u64,
    /// How many events were lost.
    pub lost: u64,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Class(usize),
    Same,
    Unknown,
}

impl<'a> DiffEvents<'a> {
    /// Counts for `diff`, the diff between these policies.
    pub fn new(diff: &'a Diff, old: &'a Policy, new: &'a Policy, label: Label) -> Self {
        let policies = [old, new];
        Self {
            diff,
            policies,
            deciders: policies.map(Decider::new),
            label,
            seen: Seen::new(),
            classes: vec![Tally::default(); diff.classes().len()],
            same: 0,
            unknown: 0,
            unknown_inputs: Vec::new(),
            suppressed: 0,
            lost: 0,
        }
    }

    /// Counts an item of a stream.
    pub fn add(&mut self, item: &StreamItem) {
        match &item.content {
            StreamContent::Event(event) => self.add_event(item, event),
            StreamContent::Suppressed(suppressed) => {
                self.suppressed = self.suppressed.saturating_add(suppressed.count);
            }
            StreamContent::Lost(lost) => self.lost = self.lost.saturating_add(lost.count),
        }
    }

    fn add_event(&mut self, item: &StreamItem, event: &StreamEvent) {
        let place = match self.seen.find(event) {
            Some(place) => place,
            None => {
                let place = self.place(&event.event);
                self.seen.insert(place);
                place
            }
        };
        match place {
            Place::Class(class) => self.classes[class].add(item, &event.event, self.label),
            Place::Same => self.same += 1,
            Place::Unknown => self.unknown += 1,
        }
    }

    fn place(&mut self, event: &Event) -> Place {
        let recorded = match Recorded::of(event) {
            Ok(recorded) => recorded,
            Err(unknown) => return self.depends_on(&[unknown]),
        };
        for decider in &mut self.deciders {
            let decided = decider.decide(&recorded);
            // The rule says in which class an access is.
            if decided.verdict().is_none() || decided.by.is_none() {
                return self.depends_on(&decided.unknown);
            }
        }
        let [old, new] = self.policies;
        let found = self.diff.find(old, new, &recorded.access);
        let class = found
            .and_then(|(class, _)| self.diff.classes().iter().position(|other| std::ptr::eq(other, class)));
        class.map_or(Place::Same, Place::Class)
    }

    fn depends_on(&mut self, unknown: &[Unknown]) -> Place {
        self.unknown_inputs.extend(unknown);
        self.unknown_inputs.sort_unstable();
        self.unknown_inputs.dedup();
        Place::Unknown
    }
}
