//! What policies remember from before the start.

use std::collections::{HashMap, HashSet};

use knobgate_events::{StreamContext, StreamItem};

use super::activity::ITEMS_MAX;
use super::shown::RULES_MAX;
use super::tallies::{Owner, RuleKey};

/// What policies remember from before the start.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    pub(super) rules: Vec<EarlierRule>,
    /// By time, the most recent ones.
    pub(super) events: Vec<StreamItem>,
    /// Events about which nothing else is known: those of cgroups for which the memory had no room or that had to make room, and those
    /// that happened at the same moment as too many others.
    pub(super) unknown: u64,
    /// Events that could not be decoded.
    pub(super) undecodable: usize,
    /// Attachments whose memories were not read, because there are too many.
    pub(super) attachments_left_out: usize,
}

impl Earlier {
    /// Keeps the most recent events and rules, as many as there is room for. What rules counted is not forgotten.
    pub(super) fn shorten(&mut self) {
        self.events.sort_by_key(StreamItem::boot_time);
        self.events.drain(..self.events.len().saturating_sub(ITEMS_MAX));
        self.rules.sort_by_key(|rule| rule.last);
        let more = self.rules.len().saturating_sub(RULES_MAX);
        self.unknown += self.rules.drain(..more).map(|rule| rule.events).sum::<u64>();
    }
}

/// The earlier events of a rule for a cgroup.
#[derive(Debug)]
pub(super) struct EarlierRule {
    /// Any of its events.
    pub(super) example: Option<StreamItem>,
    pub(super) context: StreamContext,
    pub(super) cgroup_id: u64,
    /// How many events were sent.
    pub(super) sent: u64,
    /// How many events there were, with those that were suppressed.
    pub(super) events: u64,
    /// When the last one was, in nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) last: u64,
}

impl EarlierRule {
    pub(super) fn owner(&self) -> Owner {
        Owner::Attachment(self.context.attachment.clone().unwrap_or_default())
    }
}

/// The events of a reader that are counted as earlier ones already: a reader starts before the memories are read.
#[derive(Debug)]
pub(super) struct Counted {
    /// Those that the memories have.
    events: HashSet<EventId>,
    /// How many events of each rule were sent, by the origin of its memory.
    sent: HashMap<(u64, RuleKey), u64>,
    /// When the memories had been read, in nanoseconds of `CLOCK_BOOTTIME`.
    until: u64,
}

/// What tells an event from others: the memory, the time and the thread.
type EventId = (u64, u64, Option<u32>);

impl Counted {
    pub(super) fn new(earlier: &Earlier, until: u64) -> Self {
        let rules = earlier.rules.iter();
        let sent = rules.filter_map(|rule| {
            let example = rule.example.as_ref()?;
            Some(((example.event()?.event.origin, RuleKey::of(example)), rule.sent))
        });
        Self { events: earlier.events.iter().filter_map(id).collect(), sent: sent.collect(), until }
    }

    /// Whether it is one of them.
    pub(super) fn has(&self, item: &StreamItem) -> bool {
        let Some(event) = item.event().map(|event| &event.event) else { return false };
        event.boot_time <= self.until
            && (id(item).is_some_and(|id| self.events.contains(&id))
                || self
                    .sent
                    .get(&(event.origin, RuleKey::of(item)))
                    .is_some_and(|&sent| event.totals.sent <= sent))
    }
}

fn id(item: &StreamItem) -> Option<EventId> {
    let event = &item.event()?.event;
    Some((event.origin, event.boot_time, event.tid))
}
