//! How many events there were, when, and where.

use std::time::SystemTime;

use knobgate_events::{Event, StreamItem};

/// How many workloads a tally names.
pub const WORKLOADS_MAX: usize = 8;

/// The most characters of the label of a workload.
const LABEL_MAX: usize = 256;

/// The label of the workload in which an event happened, if it is known. Somebody else chose it.
pub type Label = fn(&StreamItem) -> Option<String>;

/// How many events there were, when, and in which workloads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Tally {
    /// How many.
    pub events: u64,
    /// How many of the accesses another program had denied before. They fail, whatever this policy decides.
    pub denied_before: u64,
    /// When the first one happened, by the clocks of its stream.
    pub first: Option<SystemTime>,
    /// When the last one happened.
    pub last: Option<SystemTime>,
    /// The labels of workloads, in the order of their first events; the first [`WORKLOADS_MAX`].
    pub workloads: Vec<String>,
    /// Whether there were more.
    pub has_more_workloads: bool,
    /// The cgroup of the last event, whose workload is not looked up again.
    cgroup: Option<(u64, u64)>,
}

impl Tally {
    /// Adds `event`, which is that of `item`.
    pub fn add(&mut self, item: &StreamItem, event: &Event, label: Label) {
        self.events += 1;
        self.denied_before += u64::from(event.denied_before.is_some());
        if let Some(time) = item.time {
            self.first = Some(self.first.map_or(time, |first| first.min(time)));
            self.last = Some(self.last.map_or(time, |last| last.max(time)));
        }
        let cgroup = Some((event.cgroup_id, event.origin));
        if self.cgroup == cgroup {
            return;
        }
        self.cgroup = cgroup;
        let Some(label) = label(item) else { return };
        let label: String = label.chars().take(LABEL_MAX).collect();
        if !self.workloads.contains(&label) {
            self.has_more_workloads |= self.workloads.len() == WORKLOADS_MAX;
            self.workloads.extend((self.workloads.len() < WORKLOADS_MAX).then_some(label));
        }
    }
}
