//! What a workload did, summed up by knob: it takes no more memory than the knobs and their values.

use std::collections::{BTreeMap, BTreeSet};

use knobgate_policy::{AccessKind, Errno, Integer, KnobName, PolicyFile, parse_numbers};

use crate::extended::{Extended, Opinion};
use crate::recorded::{Doubt, Lesson, RecordedAccess};

/// How many values of a knob are kept.
pub(crate) const VALUES_MAX: usize = 1024;
/// How many names of tasks are kept.
const COMMS_MAX: usize = 4;

/// What a workload did, in one or more runs.
#[derive(Debug, Default)]
pub struct Recording<'a> {
    /// The policy that is extended.
    pub(crate) extended: Option<Extended<'a>>,
    pub(crate) knobs: BTreeMap<KnobName, KnobUse>,
    pub(crate) runs: u32,
    /// Accesses of knobs whose names were not recorded whole.
    pub(crate) unnamed: u64,
    /// Whether the policy that is extended allows something that was seen.
    pub(crate) some_allowed: bool,
}

/// What was done with one knob.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnobUse {
    pub(crate) reads: Use,
    pub(crate) writes: Use,
}

/// The reads or the writes of a knob.
#[derive(Debug, Clone, Default)]
pub(crate) struct Use {
    /// What succeeded.
    pub(crate) allowed: Group,
    /// What does not become a rule.
    pub(crate) doubtful: BTreeMap<Doubt, Group>,
    pub(crate) failed: BTreeMap<Option<u32>, Group>,
}

/// Accesses of which the same is said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    /// How many there are.
    pub(crate) count: u64,
    /// In which runs.
    pub(crate) runs: BTreeSet<u32>,
    /// The names of the tasks.
    pub(crate) comms: BTreeSet<Vec<u8>>,
    /// There are more tasks.
    pub(crate) more_comms: bool,
    pub(crate) values: Values,
}

/// Written values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    /// The first ones.
    pub(crate) distinct: BTreeSet<Vec<u8>>,
    /// The least and the greatest numbers of the others, by how many numbers they have.
    pub(crate) extents: BTreeMap<usize, Vec<(Integer, Integer)>>,
    /// There are others that are no lists of numbers.
    pub(crate) more_texts: bool,
}

impl<'a> Recording<'a> {
    /// Nothing so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing so far, for what `file` does not allow. Each access is decided by it when it is added, with all that is known of the
    /// access.
    pub fn extending(file: &'a PolicyFile) -> Self {
        Self { extended: Some(Extended::new(file)), ..Self::default() }
    }

    /// Begins a run of the workload.
    pub fn begin_run(&mut self) {
        self.runs += 1;
    }

    /// Adds an access in the current run.
    pub fn add(&mut self, access: &RecordedAccess) {
        let Some(name) = access.name() else {
            self.unnamed += 1;
            return;
        };
        let event = &access.event;
        let lesson = match (access.lesson(&name), &mut self.extended) {
            (lesson @ Lesson::Failed(_), _) | (lesson, None) => lesson,
            (lesson, Some(extended)) => match (extended.opinion(event), lesson) {
                (Opinion::Allows, _) => {
                    self.some_allowed = true;
                    return;
                }
                (Opinion::Otherwise(doubt), Lesson::Allow(value)) => Lesson::Doubt(doubt, value),
                (_, lesson) => lesson,
            },
        };
        let knob = self.knobs.entry(name).or_default();
        let used = match event.kind {
            AccessKind::Read => &mut knob.reads,
            AccessKind::Write => &mut knob.writes,
        };
        let (group, value) = match lesson {
            Lesson::Allow(value) => (&mut used.allowed, value),
            Lesson::Failed(errno) => (used.failed.entry(errno.map(Errno::number)).or_default(), None),
            Lesson::Doubt(doubt, value) => (used.doubtful.entry(doubt).or_default(), value),
        };
        group.add(self.runs, event.comm.as_deref(), value);
    }

    /// How many runs there were.
    pub fn runs(&self) -> u32 {
        self.runs
    }
}

impl KnobUse {
    pub(crate) fn of(&self, kind: AccessKind) -> &Use {
        match kind {
            AccessKind::Read => &self.reads,
            AccessKind::Write => &self.writes,
        }
    }
}

impl Group {
    /// Adds an access in this run.
    pub(crate) fn add(&mut self, run: u32, comm: Option<&[u8]>, value: Option<Vec<u8>>) {
        self.count += 1;
        self.runs.insert(run);
        if let Some(comm) = comm.filter(|comm| !comm.is_empty()) {
            self.add_comm(comm);
        }
        if let Some(value) = value {
            self.values.add(value);
        }
    }

    fn add_comm(&mut self, comm: &[u8]) {
        if self.comms.len() < COMMS_MAX {
            self.comms.insert(comm.to_owned());
        } else {
            self.more_comms |= !self.comms.contains(comm);
        }
    }

    /// Adds the accesses of another group.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.runs.extend(&other.runs);
        self.more_comms |= other.more_comms;
        other.comms.iter().for_each(|comm| self.add_comm(comm));
        other.values.distinct.iter().for_each(|value| self.values.add(value.clone()));
        for extents in other.values.extents.values() {
            self.values.extend(extents);
        }
        self.values.more_texts |= other.values.more_texts;
    }
}

impl Values {
    pub(crate) fn add(&mut self, value: Vec<u8>) {
        if self.distinct.len() < VALUES_MAX || self.distinct.contains(&value) {
            self.distinct.insert(value);
            return;
        }
        match parse_numbers(&value) {
            Ok(numbers) if !numbers.is_empty() => {
                self.extend(&numbers.into_iter().map(|number| (number, number)).collect::<Vec<_>>());
            }
            _ => self.more_texts = true,
        }
    }

    pub(crate) fn extend(&mut self, extents: &[(Integer, Integer)]) {
        let known = self.extents.entry(extents.len()).or_insert_with(|| extents.to_vec());
        for (known, other) in known.iter_mut().zip(extents) {
            *known = (known.0.min(other.0), known.1.max(other.1));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.distinct.is_empty() && self.extents.is_empty() && !self.more_texts
    }
}
