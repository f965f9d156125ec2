//! How many events there were, when, and where.

use std::hash::{BuildHasher, Hash};
use std::sync::LazyLock;
use std::time::SystemTime;

use foldhash::fast::RandomState;
use knobgate_events::{Event, StreamContext, StreamItem};

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
    /// The cgroup of each of `workloads`: that of its first event.
    cgroups: Vec<Cgroup>,
    /// A hash of everything that the label of the last event depends on, which need not be made again.
    labelled: Option<u64>,
}

/// A cgroup, and how much was known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cgroup {
    /// A hash of the boot and the id: a later boot uses ids again.
    id: u64,
    known: Known,
}

/// How much is known about a cgroup. Streams of several readers differ in that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    Id,
    Path,
    Workload,
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
        let StreamContext { cgroup_path, workload, .. } = &item.context;
        let id = hash((&item.boot_id, event.cgroup_id));
        let all = Some(hash((id, &item.context.attachment, cgroup_path, workload)));
        if self.labelled == all {
            return;
        }
        self.labelled = all;
        let Some(label) = label(item) else { return };
        let label: String = label.chars().take(LABEL_MAX).collect();
        let known = match (workload, cgroup_path) {
            (Some(_), _) => Known::Workload,
            (None, Some(_)) => Known::Path,
            (None, None) => Known::Id,
        };
        self.name(Cgroup { id, known }, label);
    }

    /// Adds the label of a cgroup. What was known before of the same cgroup gives way to what says more.
    fn name(&mut self, cgroup: Cgroup, label: String) {
        let same = self.cgroups.iter().position(|other| other.id == cgroup.id && other.known != cgroup.known);
        if same.is_some_and(|same| self.cgroups[same].known > cgroup.known) {
            return;
        }
        if self.workloads.contains(&label) {
            if let Some(same) = same {
                self.workloads.remove(same);
                self.cgroups.remove(same);
            }
        } else if let Some(same) = same {
            self.workloads[same] = label;
            self.cgroups[same] = cgroup;
        } else if self.workloads.len() < WORKLOADS_MAX {
            self.workloads.push(label);
            self.cgroups.push(cgroup);
        } else {
            self.has_more_workloads = true;
        }
    }
}

/// Nobody can choose names that have the same hash.
fn hash(value: impl Hash) -> u64 {
    static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    STATE.hash_one(value)
}
