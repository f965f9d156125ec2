//! What has happened, and which of it is shown.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use knobgate_events::{EventRule, RuleRef, StreamContent, StreamItem};
use knobgate_policy::filter::Filter;

use super::earlier::Earlier;
use super::shown::Shown;
use super::tallies::{Attached, Owner};
use crate::filter_argument::passes;

/// How many items are kept.
pub(super) const ITEMS_MAX: usize = 4096;
/// For how long something that is gone is shown, in nanoseconds.
const GONE_SHOWN: u64 = 60 * SECOND;
pub(super) const SECOND: u64 = 1_000_000_000;

/// Everything that is known about what has happened.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    /// The most recent items, whatever the filter says of them.
    items: VecDeque<Rc<Entry>>,
    /// How many are no longer in there.
    forgotten: u64,
    earlier: Rc<Earlier>,
    attached: Vec<Attached>,
    /// How many events were lost. No filter hides that.
    pub(super) lost: u64,
    pub(super) shown: Shown,
}

/// An item, with its place among all others.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) item: StreamItem,
    /// Whether it is from the memory of a policy, from before the start.
    pub(super) is_earlier: bool,
}

impl Activity {
    /// What was before the start.
    pub(super) fn new(mut earlier: Earlier, filter: Option<&Filter>) -> Self {
        let mut activity = Self {
            items: VecDeque::new(),
            forgotten: 0,
            earlier: Rc::default(),
            attached: Vec::new(),
            lost: 0,
            shown: Shown::new(0),
        };
        let events = std::mem::take(&mut earlier.events);
        activity.earlier = Rc::new(earlier);
        // First, so that there are rows for the events.
        activity.shown.earlier(&activity.earlier, filter);
        for item in events {
            activity.keep(item, true, filter);
        }
        activity
    }

    /// What policies remember from before the start.
    pub(super) fn earlier(&self) -> &Earlier {
        &self.earlier
    }

    pub(super) fn add(&mut self, item: StreamItem, filter: Option<&Filter>) {
        if let StreamContent::Lost(lost) = &item.content {
            self.lost += lost.count;
        }
        self.keep(item, false, filter);
    }

    fn keep(&mut self, item: StreamItem, is_earlier: bool, filter: Option<&Filter>) {
        let id = self.forgotten + self.items.len() as u64;
        let entry = Rc::new(Entry { id, item, is_earlier });
        if self.items.len() >= ITEMS_MAX {
            self.items.pop_front();
            self.forgotten += 1;
        }
        if passes(filter, &entry.item) {
            self.shown.add(&entry);
        }
        self.items.push_back(entry);
    }

    /// Shows what another filter lets pass, as far as it is still there.
    pub(super) fn filter(&mut self, filter: Option<&Filter>) {
        self.shown = Shown::new(self.forgotten);
        self.shown.earlier(&self.earlier, filter);
        for entry in self.items.iter().filter(|entry| passes(filter, &entry.item)) {
            self.shown.add(entry);
        }
        self.shown.attached(&self.attached, None);
    }

    /// The attachments are these now.
    pub(super) fn attached(&mut self, attached: Vec<Attached>, now: u64) {
        self.attached = attached;
        self.shown.attached(&self.attached, Some(now));
    }

    /// The whole text of a rule of which an event has only the start, if the attachment still has it.
    pub(super) fn whole_text(&self, owner: &Owner, rule: &EventRule) -> Option<&str> {
        let (Owner::Attachment(name), RuleRef::Rule(index)) = (owner, rule.rule) else { return None };
        let attached = self.attached.iter().find(|attached| attached.name == *name)?;
        let text = attached.long_rules.get(&index)?;
        text.as_bytes().starts_with(&rule.text.bytes).then_some(text)
    }

    /// The cgroups of which it is not known that they are gone, with their paths.
    pub(super) fn cgroups(&self) -> impl Iterator<Item = (u64, Option<&[u8]>)> {
        let present = self.shown.rules.iter().filter(|(_, row)| row.gone_since.is_none());
        present.filter_map(|(key, row)| Some((key.cgroup_id?, row.cgroup_path.as_deref())))
    }

    /// The policies without attachment of which it is not known that they are gone, by their memories.
    pub(super) fn policies(&self) -> impl Iterator<Item = u64> {
        let present = self.shown.attachments.iter().filter(|(_, row)| row.gone_since.is_none());
        present.filter_map(|(owner, _)| match owner {
            Owner::Policy(origin) => Some(*origin),
            Owner::Attachment(_) => None,
        })
    }

    /// These cgroups were removed, and so were the programs with these memories.
    pub(super) fn gone(&mut self, cgroups: &HashSet<u64>, policies: &HashSet<u64>, now: u64) {
        for (key, row) in self.shown.rules.iter_mut() {
            if key.cgroup_id.is_some_and(|id| cgroups.contains(&id)) {
                row.gone_since.get_or_insert(now);
            }
        }
        for (owner, row) in self.shown.attachments.iter_mut() {
            if matches!(owner, Owner::Policy(origin) if policies.contains(origin)) {
                row.gone_since.get_or_insert(now);
            }
        }
    }

    /// Removes what has been gone for a minute.
    pub(super) fn tick(&mut self, now: u64) {
        let stays = |gone_since: Option<u64>| gone_since.is_none_or(|since| now < since + GONE_SHOWN);
        self.shown.rules.retain(|row| stays(row.gone_since));
        self.shown.attachments.retain(|row| stays(row.gone_since));
    }
}
