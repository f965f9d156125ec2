//! What has happened: the latest events, and what they come to by attachment, by rule and cgroup, and by knob.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use knobgate_events::{EventOutcome, RuleRef, StreamContent, StreamContext, StreamItem};
use knobgate_policy::Mode;
use knobgate_policy::filter::Filter;

use super::rate::Rate;
use super::table::{LeftOut, Row, Table};
use crate::filter_argument::passes;
use crate::stream;
use crate::stream::words::{self, Length};

/// How many items are kept.
pub(super) const ITEMS_MAX: usize = 4096;
/// How many attachments, pairs of a rule and a cgroup, and knobs there are rows for.
pub(super) const ATTACHMENTS_MAX: usize = 512;
pub(super) const RULES_MAX: usize = 1024;
pub(super) const KNOBS_MAX: usize = 256;
/// How many accesses of a knob are kept.
pub(super) const HISTORY_MAX: usize = 32;
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

/// An attachment, as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) name: String,
    pub(super) policy: Option<String>,
    pub(super) mode: Option<Mode>,
    /// How many cgroups it is on, as far as that is known.
    pub(super) cgroups: Option<usize>,
}

/// What became of an access, as the columns have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Denied,
    /// Denied or rewritten, if the policy were enforced.
    Would,
    Rewritten,
    Allowed,
}

impl Column {
    pub(super) const ALL: [Self; 4] = [Self::Denied, Self::Would, Self::Rewritten, Self::Allowed];

    fn of(outcome: EventOutcome) -> Self {
        match outcome {
            EventOutcome::Denied(_) => Self::Denied,
            EventOutcome::WouldDeny(_) | EventOutcome::WouldRewrite => Self::Would,
            EventOutcome::Rewritten => Self::Rewritten,
            // Only observers do not know the outcome, and there is none here.
            EventOutcome::Allowed | EventOutcome::Unknown => Self::Allowed,
        }
    }
}

/// What is shown: what the filter lets pass, as `watch` does.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    /// By [`Column`].
    pub(super) rates: [Rate; 4],
    pub(super) suppressed_rate: Rate,
    pub(super) suppressed: u64,
    /// The most recent items, the last one first.
    pub(super) items: VecDeque<Rc<Entry>>,
    /// How many items had to be left out, because there are too many.
    pub(super) items_left_out: u64,
    pub(super) attachments: Table<Owner, AttachmentRow>,
    pub(super) rules: Table<RuleKey, RuleRow>,
    pub(super) knobs: Table<Vec<u8>, KnobRow>,
    /// How many items were forgotten before the filter was last changed, so that they are not in here.
    pub(super) without: u64,
    /// For how many attachments there is no row.
    pub(super) without_row: usize,
    next_row: u64,
}

/// Whose events they are: those of an attachment, or of a policy that is not an attachment's, such as that of `knobgate run`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    Attachment(String),
    Policy(Option<String>),
}

/// An attachment.
#[derive(Debug, Clone)]
pub(super) struct AttachmentRow {
    pub(super) id: u64,
    pub(super) policy: Option<String>,
    pub(super) mode: Option<Mode>,
    /// How many cgroups it is on, as far as that is known.
    pub(super) cgroups: Option<usize>,
    /// By [`Column`].
    pub(super) rates: [Rate; 4],
    pub(super) suppressed_rate: Rate,
    pub(super) counts: [u64; 4],
    pub(super) suppressed: u64,
    pub(super) earlier: u64,
    last: u64,
    pub(super) gone_since: Option<u64>,
    /// That of the last event.
    cgroup_id: Option<u64>,
}

/// A rule of a policy, and a cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RuleKey {
    pub(super) owner: Owner,
    policy: Option<String>,
    rule: Option<(RuleRef, Option<u32>, Vec<u8>)>,
    pub(super) cgroup_id: Option<u64>,
}

/// What a rule did for a cgroup.
#[derive(Debug, Clone)]
pub(super) struct RuleRow {
    pub(super) id: u64,
    /// What runs in the cgroup, by its last event that says so.
    pub(super) workload: String,
    pub(super) cgroup_path: Option<Vec<u8>>,
    pub(super) rate: Rate,
    pub(super) sent: u64,
    pub(super) suppressed: u64,
    pub(super) earlier: u64,
    pub(super) last: u64,
    /// The worst that became of its accesses: see [`stream::rank`].
    pub(super) rank: u8,
    /// The first and the last event that is known.
    pub(super) first: Option<Rc<Entry>>,
    pub(super) example: Option<Rc<Entry>>,
    pub(super) gone_since: Option<u64>,
}

/// A knob.
#[derive(Debug, Clone)]
pub(super) struct KnobRow {
    pub(super) id: u64,
    /// By [`Column`].
    pub(super) counts: [u64; 4],
    pub(super) last: u64,
    /// The last accesses, the last one at the end.
    pub(super) history: VecDeque<Rc<Entry>>,
}

impl Row for AttachmentRow {
    fn last(&self) -> u64 {
        self.last
    }

    fn events(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.suppressed + self.earlier
    }
}

impl Row for RuleRow {
    fn last(&self) -> u64 {
        self.last
    }

    fn events(&self) -> u64 {
        self.sent + self.suppressed + self.earlier
    }
}

impl Row for KnobRow {
    fn last(&self) -> u64 {
        self.last
    }

    fn events(&self) -> u64 {
        self.counts.iter().sum()
    }
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
            shown: Shown::new(),
        };
        for item in std::mem::take(&mut earlier.events) {
            activity.keep(item, true, filter);
        }
        activity.earlier = Rc::new(earlier);
        activity.shown.earlier(&activity.earlier, filter);
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
        self.shown = Shown { without: self.forgotten, ..Shown::new() };
        for entry in self.items.iter().filter(|entry| passes(filter, &entry.item)) {
            self.shown.add(entry);
        }
        self.shown.earlier(&self.earlier, filter);
        self.shown.attached(&self.attached, None);
    }

    /// The attachments are these now.
    pub(super) fn attached(&mut self, attached: Vec<Attached>, now: u64) {
        self.attached = attached;
        self.shown.attached(&self.attached, Some(now));
    }

    /// The cgroups of which it is not known that they are gone, with their paths.
    pub(super) fn cgroups(&self) -> impl Iterator<Item = (u64, Option<&[u8]>)> {
        let present = self.shown.rules.iter().filter(|(_, row)| row.gone_since.is_none());
        present.filter_map(|(key, row)| Some((key.cgroup_id?, row.cgroup_path.as_deref())))
    }

    /// These cgroups were removed.
    pub(super) fn gone(&mut self, cgroups: &HashSet<u64>, now: u64) {
        let is_gone = |id: Option<u64>| id.is_some_and(|id| cgroups.contains(&id));
        for (key, row) in self.shown.rules.iter_mut() {
            if is_gone(key.cgroup_id) {
                row.gone_since.get_or_insert(now);
            }
        }
        // `knobgate run` removes the cgroup of its policy.
        for (owner, row) in self.shown.attachments.iter_mut() {
            if matches!(owner, Owner::Policy(_)) && is_gone(row.cgroup_id) {
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

impl Shown {
    fn new() -> Self {
        Self {
            rates: Default::default(),
            suppressed_rate: Rate::default(),
            suppressed: 0,
            items: VecDeque::new(),
            items_left_out: 0,
            attachments: Table::new(ATTACHMENTS_MAX),
            rules: Table::new(RULES_MAX),
            knobs: Table::new(KNOBS_MAX),
            without: 0,
            without_row: 0,
            next_row: 0,
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

    fn add(&mut self, entry: &Rc<Entry>) {
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
                attachment.suppressed += count;
                attachment.suppressed_rate.add(second, count);
                attachment.last = attachment.last.max(suppressed.boot_time);
            }
            StreamContent::Lost(_) => {}
        }
        self.items.push_front(Rc::clone(entry));
        if self.items.len() > ITEMS_MAX {
            self.items.pop_back();
            self.items_left_out += 1;
        }
    }

    fn attachment_event(&mut self, item: &StreamItem, column: Column, mode: Mode) {
        let (time, cgroup_id) = (item.boot_time(), item.cgroup_id());
        self.rates[column as usize].add(time / SECOND, 1);
        let policy = item.policy().map(str::to_owned);
        let owner = Owner::of(item);
        let row = self.attachment(owner.clone());
        row.rates[column as usize].add(time / SECOND, 1);
        row.counts[column as usize] += 1;
        row.mode = Some(mode);
        row.policy = policy;
        row.last = row.last.max(time);
        // Somebody may run it again.
        if matches!(owner, Owner::Policy(_)) && row.cgroup_id != cgroup_id {
            row.gone_since = None;
        }
        row.cgroup_id = cgroup_id;
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
        let id = self.row_id();
        let make = || KnobRow { id, counts: [0; 4], last: 0, history: VecDeque::with_capacity(HISTORY_MAX) };
        let row = self.knobs.row(knob.to_vec(), make);
        row.counts[column as usize] += 1;
        row.last = row.last.max(entry.item.boot_time());
        if row.history.len() >= HISTORY_MAX {
            row.history.pop_front();
        }
        row.history.push_back(Rc::clone(entry));
    }

    fn earlier(&mut self, earlier: &Earlier, filter: Option<&Filter>) {
        for rule in &earlier.rules {
            let example = rule.example.as_ref();
            if !example.is_none_or(|item| passes(filter, item)) {
                continue;
            }
            let owner = Owner::Attachment(rule.context.attachment.clone().unwrap_or_default());
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

    /// With the time if these are news.
    fn attached(&mut self, attached: &[Attached], now: Option<u64>) {
        let names: HashSet<&str> = attached.iter().map(|one| &*one.name).collect();
        for (owner, row) in self.attachments.iter_mut() {
            if let (Owner::Attachment(name), Some(now)) = (owner, now) {
                match names.contains(&**name) {
                    true => row.gone_since = None,
                    false => _ = row.gone_since.get_or_insert(now),
                }
            }
        }
        self.without_row = 0;
        for Attached { name, policy, mode, cgroups } in attached {
            let owner = Owner::Attachment(name.clone());
            if self.attachments.get_mut(&owner).is_none() && !self.attachments.has_room() {
                self.without_row += 1;
                continue;
            }
            let row = self.attachment(owner);
            row.policy.clone_from(policy);
            row.mode = *mode;
            row.cgroups = *cgroups;
        }
    }

    fn attachment(&mut self, owner: Owner) -> &mut AttachmentRow {
        let id = self.row_id();
        self.attachments.row(owner, || AttachmentRow {
            id,
            policy: None,
            mode: None,
            cgroups: None,
            rates: Default::default(),
            suppressed_rate: Rate::default(),
            counts: [0; 4],
            suppressed: 0,
            earlier: 0,
            last: 0,
            gone_since: None,
            cgroup_id: None,
        })
    }

    fn rule(&mut self, key: RuleKey) -> &mut RuleRow {
        let id = self.row_id();
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

    fn row_id(&mut self) -> u64 {
        self.next_row += 1;
        self.next_row
    }
}

impl Owner {
    fn of(item: &StreamItem) -> Self {
        match &item.context.attachment {
            Some(name) => Self::Attachment(name.clone()),
            None => Self::Policy(item.policy().map(str::to_owned)),
        }
    }
}

impl RuleKey {
    fn of(item: &StreamItem) -> Self {
        Self {
            owner: Owner::of(item),
            policy: item.policy().map(str::to_owned),
            rule: item.rule().map(|rule| (rule.rule, rule.line, rule.text.bytes.clone())),
            cgroup_id: item.cgroup_id(),
        }
    }
}

impl RuleRow {
    fn example(&mut self, entry: &Rc<Entry>, outcome: EventOutcome) {
        self.rank = self.rank.min(stream::rank(outcome));
        let is_before = |other: &Rc<Entry>| entry.item.boot_time() < other.item.boot_time();
        if self.first.as_ref().is_none_or(is_before) {
            self.first = Some(Rc::clone(entry));
        }
        if !self.example.as_ref().is_some_and(is_before) {
            self.example = Some(Rc::clone(entry));
        }
    }

    /// Takes over what is known about the cgroup. One that is gone keeps the name that it had.
    fn saw(&mut self, context: &StreamContext, cgroup_id: Option<u64>, time: u64) {
        self.last = self.last.max(time);
        if self.workload.is_empty() || context.cgroup_path.is_some() {
            self.workload = match cgroup_id {
                Some(id) => words::workload_of(context, Some(id), Length::Full).unwrap_or_default(),
                None => "other cgroups".to_owned(),
            };
            self.cgroup_path.clone_from(&context.cgroup_path);
        }
    }
}
