//! What has happened, and which of it is shown.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use knobgate_events::{EventRule, RuleRef, StreamContent, StreamItem};
use knobgate_policy::filter::Filter;

use super::earlier::{Earlier, EarlierRule};
use super::shown::{Gone, Shown, Without};
use super::tallies::{Attached, Owner};
use crate::filter_argument::passes;

/// How many items are kept.
pub(super) const ITEMS_MAX: usize = 4096;
/// Of how much it is remembered that it is gone, beyond what kept items and earlier rules are about.
const GONE_MAX: usize = 2 * ITEMS_MAX;
/// For how long something that is gone is shown, in nanoseconds.
const GONE_SHOWN: u64 = 60 * SECOND;
pub(super) const SECOND: u64 = 1_000_000_000;

/// Everything that is known about what has happened.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    /// The most recent items, whatever the filter says of them.
    items: VecDeque<Rc<Entry>>,
    forgotten: Forgotten,
    earlier: Rc<Earlier>,
    attached: Vec<Attached>,
    gone: Gone,
    /// How many events were lost. No filter hides that.
    pub(super) lost: u64,
    /// What is shown without a filter. It is there for when the filter is cleared.
    all: Shown,
    /// What is shown with the filter, if there is one.
    filtered: Option<Shown>,
}

/// Items that are no longer kept.
#[derive(Debug, Clone, Copy, Default)]
struct Forgotten {
    items: u64,
    /// How many events these were.
    events: u64,
    /// When the last one was, in nanoseconds of `CLOCK_BOOTTIME`.
    last: u64,
}

/// An item, with its place among all others.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) item: StreamItem,
    /// Whether it is from the memory of a policy, from before the start.
    pub(super) is_earlier: bool,
}

/// How many events an item stands for, apart from those that were lost.
pub(super) fn events(item: &StreamItem) -> u64 {
    match &item.content {
        StreamContent::Event(_) => 1,
        StreamContent::Suppressed(suppressed) => suppressed.count,
        StreamContent::Lost(_) => 0,
    }
}

impl Activity {
    /// What was before the start.
    pub(super) fn new(mut earlier: Earlier, filter: Option<&Filter>) -> Self {
        let events = std::mem::take(&mut earlier.events);
        let shown = || Shown::new(Without::default());
        let mut activity = Self {
            items: VecDeque::new(),
            forgotten: Forgotten::default(),
            earlier: Rc::new(earlier),
            attached: Vec::new(),
            gone: Gone::default(),
            lost: 0,
            all: shown(),
            filtered: filter.map(|_| shown()),
        };
        // First, so that there are rows for the events.
        activity.all.earlier(&activity.earlier, None);
        if let Some(filtered) = &mut activity.filtered {
            filtered.earlier(&activity.earlier, filter);
        }
        for item in events {
            activity.keep(item, true, filter);
        }
        activity
    }

    /// What is shown.
    pub(super) fn shown(&self) -> &Shown {
        self.filtered.as_ref().unwrap_or(&self.all)
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
        let id = self.forgotten.items + self.items.len() as u64;
        let entry = Rc::new(Entry { id, item, is_earlier });
        if self.items.len() >= ITEMS_MAX
            && let Some(Entry { item, is_earlier, .. }) = self.items.pop_front().as_deref()
        {
            self.forgotten.items += 1;
            // The memory has counted those from before the start.
            let counted = if *is_earlier { 0 } else { events(item) };
            self.forgotten.events = self.forgotten.events.saturating_add(counted);
            self.forgotten.last = self.forgotten.last.max(item.boot_time());
        }
        self.all.add(&entry);
        if let Some(filtered) = self.filtered.as_mut().filter(|_| passes(filter, &entry.item)) {
            filtered.add(&entry);
        }
        self.items.push_back(entry);
    }

    /// Shows what another filter lets pass, as far as it is still there.
    pub(super) fn filter(&mut self, filter: Option<&Filter>, now: u64) {
        self.filtered = filter.map(|_| {
            let before = self.items.front().and_then(|entry| entry.item.time);
            let rates_from = if self.forgotten.items == 0 { 0 } else { self.forgotten.last / SECOND + 1 };
            let without = Without { events: self.forgotten.events, before, rates_from };
            let mut shown = Shown::new(without);
            shown.earlier(&self.earlier, filter);
            for entry in self.items.iter().filter(|entry| passes(filter, &entry.item)) {
                shown.add(entry);
            }
            shown.attached(&self.attached);
            shown
        });
        self.mark_gone();
        self.tick(now);
    }

    fn both(&self) -> impl Iterator<Item = &Shown> {
        [&self.all].into_iter().chain(&self.filtered)
    }

    fn both_mut(&mut self) -> impl Iterator<Item = &mut Shown> {
        [&mut self.all].into_iter().chain(&mut self.filtered)
    }

    /// The attachments are these now.
    pub(super) fn attached(&mut self, attached: Vec<Attached>, now: u64) {
        let names: HashSet<&str> = attached.iter().map(|one| &*one.name).collect();
        self.gone
            .owners
            .retain(|owner, _| !matches!(owner, Owner::Attachment(name) if names.contains(&**name)));
        for shown in [&self.all].into_iter().chain(&self.filtered) {
            for (owner, _) in shown.attachments.iter() {
                if matches!(owner, Owner::Attachment(name) if !names.contains(&**name)) {
                    self.gone.owners.entry(owner.clone()).or_insert(now);
                }
            }
        }
        self.both_mut().for_each(|shown| shown.attached(&attached));
        self.attached = attached;
        self.mark_gone();
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
        let rows = self.both().flat_map(|shown| shown.rules.iter());
        let present = rows.filter(|(_, row)| row.gone_since.is_none());
        present.filter_map(|(key, row)| Some((key.cgroup_id?, row.cgroup_path.as_deref())))
    }

    /// The policies without attachment of which it is not known that they are gone, by their memories.
    pub(super) fn policies(&self) -> impl Iterator<Item = u64> {
        let rows = self.both().flat_map(|shown| shown.attachments.iter());
        let present = rows.filter(|(_, row)| row.gone_since.is_none());
        present.filter_map(|(owner, _)| match owner {
            Owner::Policy(origin) => Some(*origin),
            Owner::Attachment(_) => None,
        })
    }

    /// These cgroups were removed, and so were the programs with these memories.
    pub(super) fn gone(&mut self, cgroups: &HashSet<u64>, policies: &HashSet<u64>, now: u64) {
        for &id in cgroups {
            self.gone.cgroups.entry(id).or_insert(now);
        }
        for &origin in policies {
            self.gone.owners.entry(Owner::Policy(origin)).or_insert(now);
        }
        self.mark_gone();
        // Only what may get a row again has to be remembered.
        if self.gone.cgroups.len() + self.gone.owners.len() > GONE_MAX {
            let items = || self.items.iter().map(|entry| &entry.item);
            let earlier = || self.earlier.rules.iter();
            let cgroups: HashSet<u64> = items()
                .filter_map(StreamItem::cgroup_id)
                .chain(earlier().map(|rule| rule.cgroup_id))
                .collect();
            let owners: HashSet<Owner> =
                items().map(Owner::of).chain(earlier().map(EarlierRule::owner)).collect();
            self.gone.cgroups.retain(|id, _| cgroups.contains(id));
            self.gone.owners.retain(|owner, _| owners.contains(owner));
        }
    }

    /// Marks the rows of what is gone.
    fn mark_gone(&mut self) {
        for shown in [&mut self.all].into_iter().chain(&mut self.filtered) {
            shown.gone(&self.gone);
        }
    }

    /// Removes what has been gone for a minute.
    pub(super) fn tick(&mut self, now: u64) {
        let stays = |gone_since: Option<u64>| gone_since.is_none_or(|since| now < since + GONE_SHOWN);
        for shown in self.both_mut() {
            shown.rules.retain(|row| stays(row.gone_since));
            shown.attachments.retain(|row| stays(row.gone_since));
        }
    }
}
