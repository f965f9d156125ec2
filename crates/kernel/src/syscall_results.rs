//! How the system calls ended in which the processes of a cgroup accessed knobs.
//!
//! The hook runs before the knob's handler, so it does not see whether an access succeeds. A second program on the hook
//! marks the thread, and a program on the tracepoint `sys_exit` sends the result of the system call and removes the mark. For
//! all other threads of the machine, that is one look-up for each system call. A third program, on `sched_process_exit`,
//! removes the mark of a thread that ends without a return, and a fourth one, on `sched_process_exec`, sends which process of
//! the cgroup executes another file.

mod programs;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::{ffi::CStr, io};

use knobgate_bpf::MapKind;
use knobgate_bpf::uapi::BPF_PROG_TYPE_CGROUP_SYSCTL;

use crate::cgroup::Cgroup;
use crate::link::Link;
use crate::link_error::LinkError;
use crate::locked_memory::with_raised_limit;
use crate::map::Map;
use crate::object::{BpfObjectError, kernel_name};
use crate::program::ProgramFd;
use crate::sys::bpf::{self, ProgramSpec};
use crate::traced_records::{TracedRecords, create, skipped};
use crate::tracepoint::Tracepoint;
use crate::tracking_error::TrackingError;
use programs::{Context, EXECUTED, MARK, RECORD, RETURNED};

/// What errors name.
const OWNER: &str = "syscall results";
/// How many threads can be in a system call that has accessed a knob at the same time.
const THREADS_MAX: u32 = 1 << 16;
/// Size of the ring buffer in bytes: room for about 80,000 records.
const RECORDS_MAX: u32 = 1 << 22;

/// Traces the system calls in which processes of a cgroup, or below it, access knobs, for as long as this value lives.
#[derive(Debug)]
pub struct SyscallResults {
    records: TracedRecords,
    tracepoints: [Tracepoint; 3],
    _marking: Link,
}

/// What happened in the cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyscallRecord {
    /// A system call that has accessed knobs returned.
    Returned {
        /// The thread id, in the initial pid namespace.
        tid: u32,
        /// When, in nanoseconds of `CLOCK_BOOTTIME`: after all of these accesses.
        boot_time: u64,
        /// When the first of these accesses was, in nanoseconds of `CLOCK_BOOTTIME`.
        first_access: u64,
        /// What it returned: a negative errno if it failed.
        value: i64,
        /// How many accesses it made.
        accesses: u32,
    },
    /// A process executed a file (`execve(2)`).
    Executed {
        /// The process id, in the initial pid namespace.
        pid: u32,
        /// When, in nanoseconds of `CLOCK_BOOTTIME`.
        boot_time: u64,
    },
}

/// Why system calls cannot be traced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyscallResultsError {
    /// The maps or the programs on tracepoints cannot be made.
    #[error(transparent)]
    Tracking(#[from] TrackingError),
    /// The kernel rejects the program that marks threads. Before Linux 6.1, programs on this hook are not told the thread.
    #[error("the kernel rejects the program that marks threads, which needs Linux 6.1: {error}")]
    Marking {
        /// What went wrong.
        error: io::Error,
    },
    /// The program that marks threads cannot be attached.
    #[error(transparent)]
    Attach(#[from] LinkError),
}

impl SyscallResults {
    /// Traces the system calls that write knobs in `cgroup` from now on; with `reads`, also those that read them.
    ///
    /// # Errors
    ///
    /// Every [`SyscallResultsError`]. It takes `CAP_BPF` and `CAP_PERFMON`, and Linux 6.1.
    pub fn of(cgroup: &Cgroup, reads: bool) -> Result<Self, SyscallResultsError> {
        let (marks, cgroups, records) = maps(cgroup)?;
        let context =
            Context { marks: marks.as_fd(), cgroups: cgroups.as_fd(), records: records.destination(), reads };
        let tracepoints = tracepoints(&context)?;
        let marking = context.marking().map_err(TrackingError::from)?;
        let marking = Link::create(&marking_program(&marking)?, cgroup)?;
        Ok(Self { records, tracepoints, _marking: marking })
    }

    /// The records since the last call, in the order in which they were sent.
    pub fn take(&mut self) -> Vec<SyscallRecord> {
        let mut records = Vec::new();
        self.records.for_each(|bytes| records.extend(record(bytes)));
        records
    }

    /// How many records and marks found no room, and an upper bound of how often the kernel skipped a program.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`].
    pub fn lost(&self) -> Result<u64, BpfObjectError> {
        Ok(self.records.lost()? + skipped(&self.tracepoints)?)
    }
}

impl AsFd for SyscallResults {
    /// Readable when there are records to [take](Self::take).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.records.as_fd()
    }
}

/// The marks of threads, the cgroup, and the records.
fn maps(cgroup: &Cgroup) -> Result<(Map, Map, TracedRecords), TrackingError> {
    let marks = create(OWNER, "marks", MapKind::Hash, 4, MARK as u32, THREADS_MAX)?;
    let cgroups = create(OWNER, "cgroups", MapKind::CgroupArray, 4, 4, 1)?;
    cgroups.update(&[0; 4], &cgroup.as_fd().as_raw_fd().to_ne_bytes())?;
    Ok((marks, cgroups, TracedRecords::create(OWNER, RECORDS_MAX)?))
}

fn tracepoints(context: &Context<'_>) -> Result<[Tracepoint; 3], TrackingError> {
    Ok([
        on(c"sys_exit", Tracepoint::attach, &context.on_return()?)?,
        on(c"sched_process_exit", Tracepoint::attach, &context.on_exit()?)?,
        on(c"sched_process_exec", Tracepoint::attach_once, &context.on_exec()?)?,
    ])
}

fn on(
    tracepoint: &CStr,
    attach: fn(&CStr, &str, &[u8]) -> rustix::io::Result<Tracepoint>,
    insns: &[u8],
) -> Result<Tracepoint, TrackingError> {
    attach(tracepoint, "knobgate_result", insns).map_err(TrackingError::on(tracepoint))
}

/// Loads the program that marks threads.
fn marking_program(insns: &[u8]) -> Result<ProgramFd, SyscallResultsError> {
    let spec = ProgramSpec {
        kind: BPF_PROG_TYPE_CGROUP_SYSCTL,
        expected_attach_type: knobgate_bpf::uapi::BPF_CGROUP_SYSCTL,
        insns,
        license: c"Dual MIT/GPL",
        name: kernel_name("knobgate_mark"),
        debug: None,
    };
    let loaded = with_raised_limit(|| bpf::prog_load(&spec, None));
    loaded.map(ProgramFd::from_fd).map_err(|error| SyscallResultsError::Marking { error: error.into() })
}

/// Decodes a record of the programs.
fn record(bytes: &[u8]) -> Option<SyscallRecord> {
    let bytes: &[u8; RECORD] = bytes.try_into().ok()?;
    let (boot_time, rest) = bytes.split_first_chunk()?;
    let (first_access, rest) = rest.split_first_chunk()?;
    let (value, rest) = rest.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk()?;
    let (accesses, kind) = rest.split_first_chunk()?;
    let (boot_time, id) = (u64::from_ne_bytes(*boot_time), u32::from_ne_bytes(*id));
    match u32::from_ne_bytes(*kind.first_chunk()?) {
        RETURNED => Some(SyscallRecord::Returned {
            tid: id,
            boot_time,
            first_access: u64::from_ne_bytes(*first_access),
            value: i64::from_ne_bytes(*value),
            accesses: u32::from_ne_bytes(*accesses),
        }),
        EXECUTED => Some(SyscallRecord::Executed { pid: id, boot_time }),
        _ => None,
    }
}
