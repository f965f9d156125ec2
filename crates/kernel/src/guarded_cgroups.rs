//! Processes that leave cgroups in which they should stay.
//!
//! A process leaves a guarded cgroup when its id is written to the `cgroup.procs` of a cgroup that is not below it, or when it
//! is cloned into such a cgroup with `CLONE_INTO_CGROUP`. This is not a security boundary: it reports a process that has
//! already left.
//!
//! When the kernel has moved a process, it no longer knows from where. So programs on three tracepoints track the processes
//! of guarded cgroups: those that are there when a cgroup becomes guarded, those that are started there, and those that
//! move in. Processes elsewhere take no room.
//!
//! What it costs: on Linux 6.18, in a virtual machine, the programs took 1.4 µs for each process that was started and ended elsewhere,
//! and 1.9 µs for one in a guarded cgroup. A loop of fork, exit and wait used as much CPU time as without them (0.99 to 1.01 times,
//! within what it differs from run to run). While the processes of a cgroup are listed, for a new guard or in a rescan, the start of
//! any process takes longer: its cgroup and those above it are looked up.
//!
//! A process counts where its `cgroup.procs` lists it; in a threaded cgroup, where its first thread is. A single thread that is
//! moved to a cgroup outside is reported as that thread, each time, and its process still counts as inside.

mod guards;
mod members;
mod programs;
mod records;

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use knobgate_bpf::MapKind;

use crate::cgroup::Cgroup;
use crate::cgroup_error::CgroupError;
use crate::descendants::LostEvents;
use crate::map::Map;
use crate::object::BpfObjectError;
use crate::process_id::ProcessId;
use crate::start_time::{nanoseconds_per_tick, offset_of_time_namespace};
use crate::started_process::StartedProcess;
use crate::traced_records::{TracedRecords, create, skipped};
use crate::traced_tasks::pid_namespace;
use crate::tracepoint::Tracepoint;
use crate::tracking_error::TrackingError;
use crate::tracking_layout::TrackingLayout;
use guards::Guards;
use programs::{Context, STARTED_KEY};
use records::{KEY, MOVED, Record, STARTED, VALUE, entry, key, value};

/// What errors name.
const OWNER: &str = "guarded cgroups";
/// How many processes are tracked at the same time.
const PROCESSES_MAX: u32 = 1 << 16;
/// Size of the ring buffer in bytes: more than 4,000 departures.
const RECORDS_MAX: u32 = 1 << 19;
/// How many tasks that were started in another cgroup are remembered, so that none is reported twice.
const STARTED_MAX: u32 = 1024;

/// Notices the processes that leave guarded cgroups, for as long as this value lives.
#[derive(Debug)]
pub struct GuardedCgroups {
    guards: Guards,
    guarded: Map,
    processes: Map,
    /// The id of the guarded cgroup whose processes are being listed, or 0: for the programs.
    listing: Map,
    records: TracedRecords,
    /// Departures that were decoded before the guarded cgroups changed.
    pending: Vec<GuardedDeparture>,
    /// How often processes could not be tracked from the beginning.
    untracked: u64,
    tracepoints: [Tracepoint; 3],
}

/// A process that was in the subtree of a guarded cgroup, or whose parent is there, and now is not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuardedDeparture {
    /// The id of the guarded cgroup. A process that leaves several at a time has one departure for each, the innermost
    /// first.
    pub guarded: u64,
    /// The process.
    pub process: StartedProcess,
    /// Only this thread left.
    pub thread: Option<ProcessId>,
    /// Its name: up to 15 bytes, which it chooses itself.
    pub name: Vec<u8>,
    /// The id of its new cgroup; `None` if that is not known.
    pub to: Option<u64>,
    /// The id of the innermost guarded cgroup that has the new one in its subtree.
    pub entered: Option<u64>,
    /// How it left.
    pub how: HowItLeft,
}

/// How a process left.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HowItLeft {
    /// Its id, or 0, was written to a `cgroup.procs` or `cgroup.threads`, by this process.
    Moved(Mover),
    /// It was cloned into the other cgroup, by this process.
    Started(Mover),
    /// Nobody knows: [`GuardedCgroups::rescan`] found it outside.
    Found,
}

/// Who moved a process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mover {
    /// The process, possibly the one that left; `None` if it is in another pid namespace.
    pub process: Option<StartedProcess>,
    /// The name of its thread.
    pub name: Vec<u8>,
    /// Its user, in the initial user namespace.
    pub uid: u32,
    /// The id of its cgroup, after the move.
    pub cgroup: u64,
}

/// Why the processes of a cgroup cannot be tracked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardingError {
    /// A cgroup cannot be read.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A map cannot be used. With `E2BIG`, there are [`GuardedCgroups::MAX`] guarded cgroups already.
    #[error(transparent)]
    Object(#[from] BpfObjectError),
}

impl GuardedCgroups {
    /// How many cgroups can be guarded at the same time.
    pub const MAX: u32 = 8192;

    /// Without any cgroup.
    ///
    /// # Errors
    ///
    /// Every [`TrackingError`]. It takes `CAP_BPF` and `CAP_PERFMON`, Linux 5.8, and the kernel's BTF.
    pub fn new() -> Result<Self, TrackingError> {
        let layout = TrackingLayout::of_this_kernel(false)?;
        let guarded = create(OWNER, "guarded", MapKind::Hash, 8, 8, Self::MAX)?;
        let processes = create(OWNER, "processes", MapKind::Hash, KEY, VALUE, PROCESSES_MAX)?;
        let started = create(OWNER, "started", MapKind::LruHash, STARTED_KEY, 8, STARTED_MAX)?;
        let listing = create(OWNER, "listing", MapKind::Array, 4, 8, 1)?;
        let records = TracedRecords::create(OWNER, RECORDS_MAX)?;
        let context = Context {
            layout,
            guarded: guarded.as_fd(),
            processes: processes.as_fd(),
            started: started.as_fd(),
            listing: listing.as_fd(),
            records: records.destination(),
            namespace: pid_namespace().map_err(|error| TrackingError::Namespace { error })?,
            time_offset: offset_of_time_namespace(),
            tick: i32::try_from(nanoseconds_per_tick()).unwrap_or(i32::MAX),
        };
        let tracepoints = [
            attach(Tracepoint::attach, c"sched_process_exit", &context.on_exit()?)?,
            // One move at a time on the machine: this program is never skipped.
            attach(Tracepoint::attach_once, c"cgroup_attach_task", &context.on_attach()?)?,
            attach(Tracepoint::attach, c"sched_process_fork", &context.on_fork()?)?,
        ];
        Ok(Self {
            guards: Guards::default(),
            guarded,
            processes,
            listing,
            records,
            pending: Vec::new(),
            untracked: 0,
            tracepoints,
        })
    }

    /// Guards a cgroup from when this returns, with the processes that are in it and below. If it is guarded already, this
    /// does nothing.
    ///
    /// # Errors
    ///
    /// Every [`GuardingError`]. Then it is not guarded.
    pub fn add(&mut self, cgroup: &Cgroup) -> Result<(), GuardingError> {
        let id = cgroup.id();
        if self.guards.contains(id) {
            return Ok(());
        }
        self.decode_records();
        self.guards.add(cgroup)?;
        let added = self.guarded.update(&id.to_ne_bytes(), &[0; 8]).map_err(GuardingError::from);
        let tracked = added.and_then(|()| self.track_members(id));
        if tracked.is_err() {
            // The first error says why.
            let _ = self.remove(id);
        }
        tracked
    }

    /// No longer guards the cgroup with this id, which may have been removed.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`].
    pub fn remove(&mut self, id: u64) -> Result<(), BpfObjectError> {
        self.guarded.delete(&id.to_ne_bytes())?;
        let populated = self.guards.is_populated(id);
        if populated {
            let around = self.guards.around(id).nth(1);
            for (process, _) in self.tracked()?.into_iter().filter(|(_, innermost)| *innermost == id) {
                self.set(process, around)?;
            }
        }
        self.decode_records();
        self.guards.remove(id);
        Ok(())
    }

    /// The ids of the guarded cgroups.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.guards.ids()
    }

    /// The departures since the last call.
    pub fn take(&mut self) -> Vec<GuardedDeparture> {
        self.decode_records();
        std::mem::take(&mut self.pending)
    }

    /// What was missed. If that grows, a [`rescan`](Self::rescan) may find it.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`].
    pub fn lost(&self) -> Result<LostEvents, BpfObjectError> {
        let dropped = self.records.lost()? + self.untracked;
        Ok(LostEvents { dropped, skipped: skipped(&self.tracepoints)? })
    }

    /// Finds the processes that are outside though nobody said so: those whose departure found no room. Also tracks the
    /// processes inside that are not. It reads `cgroup.procs` of all guarded cgroups and of those below.
    ///
    /// What was not tracked when it left cannot be found.
    ///
    /// # Errors
    ///
    /// Every [`GuardingError`].
    pub fn rescan(&mut self) -> Result<Vec<GuardedDeparture>, GuardingError> {
        let mut departures = Vec::new();
        // Before those that are in another guarded cgroup now are tracked there.
        for (process, from) in self.tracked()? {
            let to = match self.cgroup_of(process) {
                // It is moved all the time, or has ended and was not waited for.
                Err(CgroupError::Moved { .. }) => None,
                found => found?,
            };
            let entered = to.as_ref().map(|cgroup| self.guards.innermost(cgroup)).transpose()?.flatten();
            // It is inside, or moved in the meantime, which has its own record.
            if entered == Some(from) || self.innermost_of(process)? != Some(from) {
                continue;
            }
            self.set(process, entered)?;
            if process.is_running() {
                let left = self.guards.left(from, entered.unwrap_or_default());
                let to = to.map(|cgroup| cgroup.id());
                departures.extend(left.into_iter().map(|guarded| found(process, guarded, to, entered)));
            }
        }
        let mut ids = self.guards.ids().collect::<Vec<_>>().into_iter();
        if let Err(error) = ids.try_for_each(|id| self.track_members(id)) {
            // They are not found again.
            self.pending.extend(departures);
            return Err(error);
        }
        Ok(departures)
    }

    fn decode_records(&mut self) {
        let (guards, pending) = (&self.guards, &mut self.pending);
        self.records.for_each(|record| pending.extend(decode(record, guards)));
    }

    /// The tracked processes, and the innermost guarded cgroup of each.
    fn tracked(&self) -> Result<Vec<(StartedProcess, u64)>, BpfObjectError> {
        let entries = self.processes.entries()?;
        Ok(entries.iter().filter_map(|found| entry(&found.key, &found.value)).collect())
    }

    /// The innermost guarded cgroup of a process, if it is tracked.
    fn innermost_of(&self, process: StartedProcess) -> Result<Option<u64>, BpfObjectError> {
        let key = key(process);
        let value = self.processes.lookup(&key)?;
        let found = value.and_then(|value| entry(&key, &value));
        Ok(found.filter(|(found, _)| *found == process).map(|(_, innermost)| innermost))
    }

    fn set(&self, process: StartedProcess, innermost: Option<u64>) -> Result<(), BpfObjectError> {
        match innermost {
            Some(id) => self.processes.update(&key(process), &value(process, id)),
            None => self.processes.delete(&key(process)).map(drop),
        }
    }

    /// The cgroup of a process; `None` if it has ended, or is in one that is not mounted here.
    fn cgroup_of(&self, process: StartedProcess) -> Result<Option<Cgroup>, CgroupError> {
        match Cgroup::of_pid(process.id().get()) {
            Err(
                CgroupError::NoProcess { .. } | CgroupError::NotVisible { .. } | CgroupError::NotFound { .. },
            ) => Ok(None),
            found => found.map(Some),
        }
    }
}

impl AsFd for GuardedCgroups {
    /// Becomes readable when there are departures to [take](GuardedCgroups::take). [`add`](GuardedCgroups::add) and
    /// [`remove`](GuardedCgroups::remove) may have read some already, so take these after them.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.records.as_fd()
    }
}

fn attach(
    attach: fn(&CStr, &str, &[u8]) -> rustix::io::Result<Tracepoint>,
    tracepoint: &CStr,
    insns: &[u8],
) -> Result<Tracepoint, TrackingError> {
    attach(tracepoint, "knobgate_guard", insns).map_err(TrackingError::on(tracepoint))
}

fn is_full(error: &BpfObjectError) -> bool {
    error.os_error().and_then(io::Error::raw_os_error) == Some(libc::E2BIG)
}

fn found(process: StartedProcess, guarded: u64, to: Option<u64>, entered: Option<u64>) -> GuardedDeparture {
    let mut name = fs::read(format!("/proc/{}/comm", process.id())).unwrap_or_default();
    name.pop_if(|last| *last == b'\n');
    GuardedDeparture { guarded, process, thread: None, name, to, entered, how: HowItLeft::Found }
}

/// The departures in a record of the programs.
fn decode(record: &[u8], guards: &Guards) -> Vec<GuardedDeparture> {
    let Ok(record) = record.try_into().map(Record) else { return Vec::new() };
    let mover = Mover {
        process: record.mover(),
        name: record.mover_name(),
        uid: record.mover_uid(),
        cgroup: record.mover_cgroup(),
    };
    let how = match record.kind() {
        MOVED => HowItLeft::Moved(mover),
        STARTED => HowItLeft::Started(mover),
        _ => return Vec::new(),
    };
    let Some(process) = record.process() else { return Vec::new() };
    let departure = |guarded| GuardedDeparture {
        guarded,
        process,
        thread: ProcessId::new(record.thread()),
        name: record.name(),
        to: Some(record.to()),
        entered: Some(record.entered()).filter(|&id| id != 0),
        how: how.clone(),
    };
    guards.left(record.guarded(), record.entered()).into_iter().map(departure).collect()
}
