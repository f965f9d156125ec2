//! What events come to: by attachment, by rule and cgroup, and by knob.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use knobgate_events::{EventOutcome, RuleRef, StreamContent, StreamContext, StreamItem};
use knobgate_policy::Mode;

use super::activity::Entry;
use super::rate::Rate;
use super::table::Row;
use crate::stream;
use crate::stream::words::{self, Length};

/// An attachment, as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) name: String,
    pub(super) policy: Option<String>,
    pub(super) mode: Option<Mode>,
    /// How many cgroups it is on, as far as that is known.
    pub(super) cgroups: Option<usize>,
    /// The texts of the rules that are too long for events, by the index of the rule.
    pub(super) long_rules: Rc<BTreeMap<u32, String>>,
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

    pub(super) fn of(outcome: EventOutcome) -> Self {
        match outcome {
            EventOutcome::Denied(_) => Self::Denied,
            EventOutcome::WouldDeny(_) | EventOutcome::WouldRewrite => Self::Would,
            EventOutcome::Rewritten => Self::Rewritten,
            // Only observers do not know the outcome, and there is none here.
            EventOutcome::Allowed | EventOutcome::Unknown => Self::Allowed,
        }
    }
}

/// Whose events they are: those of an attachment, or of the policy with this memory (see [`Event::origin`](knobgate_events::Event::origin)), which is not an
/// attachment's, such as that of `knobgate run`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    Attachment(String),
    Policy(u64),
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
    pub(super) last: u64,
    pub(super) gone_since: Option<u64>,
}

/// A rule of a policy, and a cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RuleKey {
    pub(super) owner: Owner,
    pub(super) policy: Option<String>,
    pub(super) rule: Option<(RuleRef, Option<u32>, Vec<u8>)>,
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

impl Owner {
    pub(super) fn of(item: &StreamItem) -> Self {
        match &item.context.attachment {
            Some(name) => Self::Attachment(name.clone()),
            None => Self::Policy(match &item.content {
                StreamContent::Event(event) => event.event.origin,
                StreamContent::Suppressed(suppressed) => suppressed.origin.unwrap_or_default(),
                StreamContent::Lost(_) => 0,
            }),
        }
    }
}

impl RuleKey {
    pub(super) fn of(item: &StreamItem) -> Self {
        Self {
            owner: Owner::of(item),
            policy: item.policy().map(str::to_owned),
            rule: item.rule().map(|rule| (rule.rule, rule.line, rule.text.bytes.clone())),
            cgroup_id: item.cgroup_id(),
        }
    }
}

impl RuleRow {
    pub(super) fn example(&mut self, entry: &Rc<Entry>, outcome: EventOutcome) {
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
    pub(super) fn saw(&mut self, context: &StreamContext, cgroup_id: Option<u64>, time: u64) {
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
