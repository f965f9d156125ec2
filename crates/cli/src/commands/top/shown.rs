//! What is shown: the events that a filter lets pass, and what they come to.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::SystemTime;

use knobgate_events::{EventOutcome, StreamContent, StreamItem};
use knobgate_policy::Mode;
use knobgate_policy::filter::Filter;

use super::activity::{Entry, ITEMS_MAX, SECOND};
use super::earlier::Earlier;
use super::rate::Rate;
use super::table::{LeftOut, Table};
use super::tallies::{Attached, AttachmentRow, Column, KnobRow, Owner, RuleKey, RuleRow};
use crate::filter_argument::passes;

/// How many attachments, pairs of a rule and a cgroup, and knobs there are rows for.
pub(super) const ATTACHMENTS_MAX: usize = 512;
pub(super) const RULES_MAX: usize = 1024;
pub(super) const KNOBS_MAX: usize = 256;
/// How many accesses of a knob are kept.
pub(super) const HISTORY_MAX: usize = 32;

/// What is shown: what the filter lets pass, as `watch` does.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    /// By [`Column`].
    pub(super) rates: [Rate; 4],
    pub(super) suppressed_rate: Rate,
    pub(super) suppressed: u64,
    /// The most recent items, the last one first.
    pub(super) items: VecDeque<Rc<Entry>>,
    /// How many events had to be left out, because there are too many.
    pub(super) items_left_out: u64,
    pub(super) attachments: Table<Owner, AttachmentRow>,
    pub(super) rules: Table<RuleKey, RuleRow>,
    pub(super) knobs: Table<Vec<u8>, KnobRow>,
    /// What is missing.
    pub(super) without: Without,
    /// For how many attachments there is no row.
    pub(super) without_row: usize,
}

/// The events that were forgotten when the filter was last changed, so that they are not shown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Without {
    pub(super) events: u64,
    /// When the first event was that is shown.
    pub(super) before: Option<SystemTime>,
    /// The second, since the boot, from which on all events are known.
    pub(super) rates_from: u64,
}

/// What is gone, and since when, in nanoseconds of `CLOCK_BOOTTIME`.
#[derive(Debug, Clone, Default)]
pub(super) struct Gone {
    pub(super) cgroups: HashMap<u64, u64>,
    pub(super) owners: HashMap<Owner, u64>,
}

impl Shown {
    pub(super) fn new(without: Without) -> Self {
        let rate = || Rate::from(without.rates_from);
        Self {
            rates: [rate(), rate(), rate(), rate()],
            suppressed_rate: rate(),
            suppressed: 0,
            items: VecDeque::new(),
            items_left_out: 0,
            attachments: Table::new(ATTACHMENTS_MAX),
            rules: Table::new(RULES_MAX),
            knobs: Table::new(KNOBS_MAX),
            without,
            without_row: 0,
        }
    }

    /// What had to be left out, of the attachments, the rules and the knobs.
    pub(super) fn left_out(&self) -> [(&'static str, LeftOut); 3] {
        [
            ("attachment", self.attachments.left_out()),
            ("rule", self.rules.left_out()),
            ("knob", self.knobs.left_out()),
        ]
    }

    pub(super) fn add(&mut self, entry: &Rc<Entry>) {
        match &entry.item.content {
            StreamContent::Event(event) => {
                let column = Column::of(event.event.outcome());
                self.knob(entry, &event.event.knob.bytes, column);
                self.rule_event(entry, event.event.outcome());
                if !entry.is_earlier {
                    self.attachment_event(&entry.item, column, event.event.mode);
                }
            }
            StreamContent::Suppressed(suppressed) => {
                let (second, count) = (suppressed.boot_time / SECOND, suppressed.count);
                self.suppressed += count;
                self.suppressed_rate.add(second, count);
                let rule = self.rule(RuleKey::of(&entry.item));
                rule.rate.add(second, count);
                rule.suppressed += count;
                rule.saw(&entry.item.context, entry.item.cgroup_id(), suppressed.boot_time);
                let attachment = self.attachment(Owner::of(&entry.item));
                if attachment.policy.is_none() {
                    attachment.policy = entry.item.policy().map(str::to_owned);
                }
                attachment.suppressed += count;
                attachment.suppressed_rate.add(second, count);
                attachment.last = attachment.last.max(suppressed.boot_time);
            }
            StreamContent::Lost(_) => {}
        }
        self.items.push_front(Rc::clone(entry));
        if self.items.len() > ITEMS_MAX {
            let left_out = self.items.pop_back();
            self.items_left_out += u64::from(left_out.is_some_and(|entry| entry.item.event().is_some()));
        }
    }

    fn attachment_event(&mut self, item: &StreamItem, column: Column, mode: Mode) {
        let time = item.boot_time();
        self.rates[column as usize].add(time / SECOND, 1);
        let policy = item.policy().map(str::to_owned);
        let row = self.attachment(Owner::of(item));
        row.rates[column as usize].add(time / SECOND, 1);
        row.counts[column as usize] += 1;
        row.mode = Some(mode);
        row.policy = policy;
        row.last = row.last.max(time);
    }

    fn rule_event(&mut self, entry: &Rc<Entry>, outcome: EventOutcome) {
        let item = &entry.item;
        let key = RuleKey::of(item);
        // The memory counts what was before, and may no longer have a row for it.
        if entry.is_earlier && self.rules.get_mut(&key).is_none() {
            return;
        }
        let row = self.rule(key);
        if !entry.is_earlier {
            row.rate.add(item.boot_time() / SECOND, 1);
            row.sent += 1;
        }
        row.example(entry, outcome);
        row.saw(&item.context, item.cgroup_id(), item.boot_time());
    }

    fn knob(&mut self, entry: &Rc<Entry>, knob: &[u8], column: Column) {
        let make = || KnobRow {
            id: row_id(knob),
            counts: [0; 4],
            last: 0,
            history: VecDeque::with_capacity(HISTORY_MAX),
        };
        let row = self.knobs.row(knob.to_vec(), make);
        row.counts[column as usize] += 1;
        row.last = row.last.max(entry.item.boot_time());
        if row.history.len() >= HISTORY_MAX {
            row.history.pop_front();
        }
        row.history.push_back(Rc::clone(entry));
    }

    pub(super) fn earlier(&mut self, earlier: &Earlier, filter: Option<&Filter>) {
        for rule in &earlier.rules {
            let example = rule.example.as_ref();
            if !example.is_none_or(|item| passes(filter, item)) {
                continue;
            }
            let owner = rule.owner();
            self.attachment(owner.clone()).earlier += rule.events;
            let key = match example {
                Some(item) => RuleKey::of(item),
                None => RuleKey { owner, policy: None, rule: None, cgroup_id: Some(rule.cgroup_id) },
            };
            let row = self.rule(key);
            row.earlier += rule.events;
            if let Some(item) = example {
                let entry = Rc::new(Entry { id: 0, item: item.clone(), is_earlier: true });
                if let Some(event) = item.event() {
                    row.example(&entry, event.event.outcome());
                }
            }
            row.saw(&rule.context, Some(rule.cgroup_id), rule.last);
        }
    }

    /// These are attached.
    pub(super) fn attached(&mut self, attached: &[Attached]) {
        self.without_row = 0;
        for Attached { name, policy, mode, cgroups, .. } in attached {
            let owner = Owner::Attachment(name.clone());
            if self.attachments.get_mut(&owner).is_none() && !self.attachments.has_room() {
                self.without_row += 1;
                continue;
            }
            let row = self.attachment(owner);
            row.gone_since = None;
            row.policy.clone_from(policy);
            row.mode = *mode;
            row.cgroups = *cgroups;
        }
    }

    /// Marks the rows of what is gone.
    pub(super) fn gone(&mut self, gone: &Gone) {
        for (key, row) in self.rules.iter_mut() {
            let since = key.cgroup_id.and_then(|id| gone.cgroups.get(&id));
            row.gone_since = row.gone_since.or(since.copied());
        }
        for (owner, row) in self.attachments.iter_mut() {
            row.gone_since = row.gone_since.or(gone.owners.get(owner).copied());
        }
    }

    fn attachment(&mut self, owner: Owner) -> &mut AttachmentRow {
        let (id, from) = (row_id(&owner), self.without.rates_from);
        let rate = || Rate::from(from);
        self.attachments.row(owner, || AttachmentRow {
            id,
            policy: None,
            mode: None,
            cgroups: None,
            rates: [rate(), rate(), rate(), rate()],
            suppressed_rate: rate(),
            counts: [0; 4],
            suppressed: 0,
            earlier: 0,
            last: 0,
            gone_since: None,
        })
    }

    fn rule(&mut self, key: RuleKey) -> &mut RuleRow {
        let id = row_id(&key);
        self.rules.row(key, || RuleRow {
            id,
            workload: String::new(),
            cgroup_path: None,
            rate: Rate::default(),
            sent: 0,
            suppressed: 0,
            earlier: 0,
            last: 0,
            rank: u8::MAX,
            first: None,
            example: None,
            gone_since: None,
        })
    }
}

/// A number for a row, by what it is about: another filter and a pause do not change it.
fn row_id(key: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
