//! The descendants of a command, and which of them have left its cgroup.
//!
//! A process leaves when its id is written to another `cgroup.procs`, or when it is cloned into another cgroup with
//! `CLONE_INTO_CGROUP`. Programs on three tracepoints track all descendants, beginning with the first process that is
//! started in the cgroup. This is not a security boundary: it reports a process that has already left.

mod programs;

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use knobgate_bpf::MapKind;
use knobgate_bpf::uapi::TASK_COMM_LEN;
use rustix::io::Errno;
use rustix::process::Signal;

use crate::cgroup::Cgroup;
use crate::map::Map;
use crate::object::BpfObjectError;
use crate::process_id::ProcessId;
use crate::spawn::ProcessFd;
use crate::start_time::StartTime;
use crate::traced_records::{TracedRecords, create, skipped};
use crate::traced_tasks::pid_namespace;
use crate::tracepoint::Tracepoint;
use crate::tracking_error::TrackingError;
use crate::tracking_layout::TrackingLayout;
use programs::{Context, KEY, LEFT, OUTSIDE, RECORD, VALUE};

/// What errors name.
const OWNER: &str = "descendants";
/// How many processes are tracked at the same time.
const PROCESSES_MAX: u32 = 1 << 15;
/// Size of the ring buffer in bytes.
const RECORDS_MAX: u32 = 1 << 18;

/// Tracks the processes that are started in a cgroup, and their descendants in any cgroup, for as long as this value
/// lives.
#[derive(Debug)]
pub struct Descendants {
    processes: Map,
    records: TracedRecords,
    tracepoints: [Tracepoint; 3],
}

/// A process that left the cgroup, or that was started outside by one that had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Departure {
    /// The process.
    pub process: Departed,
    /// Its name: up to 15 bytes, which it chooses itself.
    pub name: Vec<u8>,
    /// The id of its new cgroup.
    pub cgroup: u64,
    /// It moved or was moved itself. Otherwise, one that had left started it.
    pub left: bool,
}

/// What was missed since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LostEvents {
    /// Processes and departures that did not fit: more than 32,768 processes at the same time, or too many departures
    /// between two calls of [`Descendants::take`].
    pub dropped: u64,
    /// Upper bound of how often the kernel skipped a program, for tasks of the whole machine. Seen on Linux 7.3 with
    /// more processes than CPUs.
    pub skipped: u64,
}

/// A process outside the cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Departed {
    /// Its id in the pid namespace of this process.
    id: ProcessId,
    /// Its id in the initial pid namespace, which is its key in the hash.
    key: u32,
    /// When it was started. Its end can be missed, and then another process can have its id.
    start: StartTime,
}

impl Departed {
    /// Its id in the pid namespace of this process.
    pub fn id(&self) -> ProcessId {
        self.id
    }
}

impl Descendants {
    /// Tracks what is started in `cgroup` from now on. [`take`](Self::take) reports each process that leaves. With
    /// `all`, it also reports what these processes start.
    ///
    /// # Errors
    ///
    /// Every [`TrackingError`]. It takes `CAP_BPF` and `CAP_PERFMON`, Linux 5.8, and the kernel's BTF.
    pub fn of(cgroup: &Cgroup, all: bool) -> Result<Self, TrackingError> {
        // The cache must not decide when processes are killed.
        let layout = TrackingLayout::of_this_kernel(all)?;
        let namespace = pid_namespace().map_err(|error| TrackingError::Namespace { error })?;
        let processes = create(OWNER, "processes", MapKind::Hash, KEY, VALUE, PROCESSES_MAX)?;
        let records = TracedRecords::create(OWNER, RECORDS_MAX)?;
        let context = Context {
            layout,
            processes: processes.as_fd(),
            records: records.destination(),
            cgroup: cgroup.id(),
            namespace,
            all,
        };
        let tracepoints = [
            attach(c"sched_process_exit", &context.on_exit()?)?,
            attach(c"cgroup_attach_task", &context.on_attach()?)?,
            attach(c"sched_process_fork", &context.on_fork()?)?,
        ];
        Ok(Self { processes, records, tracepoints })
    }

    /// The departures since the last call.
    pub fn take(&mut self) -> Vec<Departure> {
        let mut departures = Vec::new();
        self.records.for_each(|record| departures.extend(departure(record)));
        departures
    }

    /// What was missed.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`].
    pub fn lost(&self) -> Result<LostEvents, BpfObjectError> {
        Ok(LostEvents { dropped: self.records.lost()?, skipped: skipped(&self.tracepoints)? })
    }

    /// The processes that are outside now, including those that were started there.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`].
    pub fn outside(&self) -> Result<Vec<Departed>, BpfObjectError> {
        let entries = self.processes.entries()?;
        let outside = entries.iter().filter_map(|entry| departed(&entry.key, &entry.value));
        Ok(outside.filter(|process| process.start.matches(process.id)).collect())
    }

    /// Kills a process if it is still alive and outside. Returns whether it was.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`], also with the errno of pidfd_open(2) and pidfd_send_signal(2).
    pub fn kill(&self, process: Departed) -> Result<bool, BpfObjectError> {
        let failed = |error| BpfObjectError::Failed { doing: format!("kill process {}", process.id), error };
        // The id may belong to a thread now (EINVAL or ENOENT).
        let is_gone = |error: &io::Error| {
            let errno = Errno::from_io_error(error);
            errno.is_some_and(|errno| [Errno::SRCH, Errno::INVAL, Errno::NOENT].contains(&errno))
        };
        let held = match ProcessFd::open(process.id) {
            Err(error) if is_gone(&error) => return Ok(false),
            opened => opened.map_err(failed)?,
        };
        // The id cannot be reused from here on. Check that it still belongs to this process.
        let key = process.key.to_ne_bytes();
        let value = self.processes.lookup(&key)?;
        let is_outside = value.and_then(|value| departed(&key, &value)) == Some(process);
        if !is_outside || !process.start.matches(process.id) {
            return Ok(false);
        }
        match held.send(Signal::KILL) {
            Err(error) if is_gone(&error) => Ok(false),
            sent => sent.map(|()| true).map_err(failed),
        }
    }
}

impl AsFd for Descendants {
    /// Becomes readable when there are departures to [take](Self::take).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.records.as_fd()
    }
}

fn attach(tracepoint: &CStr, insns: &[u8]) -> Result<Tracepoint, TrackingError> {
    Tracepoint::attach(tracepoint, "knobgate_leave", insns).map_err(TrackingError::on(tracepoint))
}

/// Decodes a record of the programs.
fn departure(record: &[u8]) -> Option<Departure> {
    let record: &[u8; RECORD] = record.try_into().ok()?;
    let (cgroup, rest) = record.split_first_chunk()?;
    let (name, rest) = rest.split_first_chunk::<TASK_COMM_LEN>()?;
    let (key, rest) = rest.split_first_chunk::<4>()?;
    let (id, rest) = rest.split_first_chunk()?;
    let (start, how) = rest.split_first_chunk()?;
    let how = u64::from_ne_bytes(*how.first_chunk()?);
    Some(Departure {
        process: Departed {
            id: ProcessId::new(u32::from_ne_bytes(*id))?,
            key: u32::from_ne_bytes(*key),
            start: StartTime(u64::from_ne_bytes(*start)),
        },
        name: name.iter().copied().take_while(|&byte| byte != 0).collect(),
        cgroup: u64::from_ne_bytes(*cgroup),
        left: how == u64::from(LEFT),
    })
}

/// Decodes an entry of the hash, if the process is outside.
fn departed(key: &[u8], value: &[u8]) -> Option<Departed> {
    let (place, rest) = value.split_first_chunk()?;
    let (id, start) = rest.split_first_chunk()?;
    let start = StartTime(u64::from_ne_bytes(*start.first_chunk()?));
    let key = u32::from_ne_bytes(*key.first_chunk()?);
    let id = ProcessId::new(u32::from_ne_bytes(*id))?;
    (u32::from_ne_bytes(*place) == OUTSIDE).then_some(Departed { id, key, start })
}
