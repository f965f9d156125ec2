//! What policies remember from before the start.

use knobgate_events::{StreamContext, StreamItem};

use super::activity::ITEMS_MAX;
use super::shown::RULES_MAX;
use super::tallies::Owner;

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
    pub(super) unreadable: usize,
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
