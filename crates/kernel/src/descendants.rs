//! The processes that a command has started, and which of them have left its cgroup.
//!
//! A process leaves when its id is written to another `cgroup.procs`, or when it is started in another cgroup with
//! `CLONE_INTO_CGROUP`. Programs on three tracepoints follow all of them, from the first one that is started in the cgroup.
//! This is not a boundary: who leaves has left before anybody hears of it.

mod layout;
mod programs;
mod start_time;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::{fs, io};

use knobgate_bpf::{AsmError, LayoutError, MapDef, MapKind};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::cgroup::Cgroup;
use crate::load::create_map;
use crate::load_error::LoadError;
use crate::locked_memory::within_limit;
use crate::machine::kernel_version;
use crate::map::Map;
use crate::object::{ObjectError, kernel_name};
use crate::process_id::ProcessId;
use crate::ring_buffer::RingBuffer;
use crate::spawn::ProcessFd;
use crate::sys::bpf::{self, ProgramInfo, ProgramSpec};
use layout::Layout;
use programs::{KEY, LEFT, OUTSIDE, RECORD, Refers, VALUE};
use start_time::StartTime;

/// Where the kernel's BTF is.
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// How many processes are followed at the same time.
const PROCESSES_MAX: u32 = 1 << 15;
/// Bytes of records that wait to be taken.
const RECORDS_MAX: u32 = 1 << 18;

/// All processes that are started in a cgroup, and what these start, wherever that is.
///
/// They are followed for as long as this value lives. Nothing is changed by it.
#[derive(Debug)]
pub struct Descendants {
    processes: Map,
    records: RingBuffer,
    ring: Map,
    lost: Map,
    tracepoints: [Tracepoint; 3],
}

/// A program at its tracepoint.
///
/// The kernel does not run a program for a task that passes the tracepoint while another task, on the same CPU, is in the middle of
/// that program (`__bpf_trace_run()`, kernel/trace/bpf_trace.c). That was seen on 7.3, and not on 6.12. So there are copies
/// on 7.0 and later, each of which the kernel counts for itself. (It takes luck to see it, so it cannot be probed.)
#[derive(Debug)]
struct Tracepoint {
    copies: Vec<ProgramCopy>,
}

#[derive(Debug)]
struct ProgramCopy {
    program: OwnedFd,
    _link: OwnedFd,
}

/// A process outside of the cgroup in which it was started, or one that it started there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The process.
    pub process: Departed,
    /// What it is called: up to 15 bytes, of its own choice.
    pub name: Vec<u8>,
    /// The id of the cgroup that it came to.
    pub cgroup: u64,
    /// Whether it left by itself (or somebody moved it), and was not started by one that had.
    pub left: bool,
}

/// What could not be noticed, since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// Processes and departures for which there was no room: more than 32,768 processes at the same time, or more departures
    /// between two calls of [`Descendants::take`] than fit.
    pub no_room: u64,
    /// How often, at most, the kernel did not run a program, for tasks of the whole machine. Seen on Linux 7.3, when more processes
    /// ran than there were CPUs.
    pub not_run: u64,
}

/// A process that was last seen outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Departed {
    /// Its id in the pid namespace of this process.
    pub id: ProcessId,
    /// Its id in the first one, by which the kernel's side knows it.
    key: u32,
    /// When it was started. Another process can have its id: that it has ended can be missed.
    start: StartTime,
}

/// Why processes cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescendantsError {
    /// The kernel does not say how its memory is laid out, as it does with `CONFIG_DEBUG_INFO_BTF`.
    #[error("cannot read the kernel's BTF ({BTF}): {source}")]
    NoBtf {
        /// What went wrong.
        source: io::Error,
    },
    /// It is laid out in another way than is known.
    #[error("the kernel's BTF ({BTF}) is not as expected: {source}")]
    Layout {
        /// What is missing.
        #[from]
        source: LayoutError,
    },
    /// The pid namespace of this process cannot be told.
    #[error("cannot tell the pid namespace of this process: {source}")]
    Namespace {
        /// What went wrong.
        source: io::Error,
    },
    /// A map cannot be created; before Linux 5.8 there are no ring buffers.
    #[error(transparent)]
    Map(#[from] LoadError),
    /// A map cannot be used.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A program is not taken, or its tracepoint is not there.
    #[error("the kernel does not take the program for its tracepoint {tracepoint}: {source}")]
    Tracepoint {
        /// Its name.
        tracepoint: String,
        /// What went wrong.
        source: io::Error,
    },
    /// A program was written wrongly.
    #[error(transparent)]
    Program(#[from] AsmError),
}

impl Descendants {
    /// Follows what is started in `cgroup` from now on. [`take`](Self::take) gives each process that leaves, and if `all` also
    /// what those start that have left.
    ///
    /// # Errors
    ///
    /// Every [`DescendantsError`]: it takes `CAP_BPF` and `CAP_PERFMON`, Linux 5.8, and the kernel's BTF.
    pub fn of(cgroup: &Cgroup, all: bool) -> Result<Self, DescendantsError> {
        // Who may write to that file could have the programs look in the wrong place.
        let layout = match Layout::remembered().filter(|_| !all) {
            Some(layout) => layout,
            None => {
                let btf = fs::read(BTF).map_err(|source| DescendantsError::NoBtf { source })?;
                let layout = Layout::of(&btf)?;
                layout.remember();
                layout
            }
        };
        let namespace = pid_namespace().map_err(|source| DescendantsError::Namespace { source })?;
        let processes = map("processes", MapKind::Hash, KEY, VALUE, PROCESSES_MAX)?;
        let ring = map("records", MapKind::Ringbuf, 0, 0, RECORDS_MAX)?;
        let lost = map("lost", MapKind::Array, 4, 8, 1)?;
        let refers = Refers {
            layout,
            processes: processes.as_fd(),
            records: ring.as_fd(),
            lost: lost.as_fd(),
            cgroup: cgroup.id(),
            namespace,
            all,
        };
        let tracepoints = [
            Tracepoint::follow(c"sched_process_exit", &refers.on_exit()?)?,
            Tracepoint::follow(c"cgroup_attach_task", &refers.on_attach()?)?,
            Tracepoint::follow(c"sched_process_fork", &refers.on_fork()?)?,
        ];
        let records = RingBuffer::open(&ring)?;
        Ok(Self { processes, records, ring, lost, tracepoints })
    }

    /// Takes out what was noticed since the last time.
    pub fn take(&mut self) -> Vec<Departure> {
        self.records.drain().iter().filter_map(|record| departure(record)).collect()
    }

    /// What could not be noticed.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Failed`].
    pub fn lost(&self) -> Result<Lost, ObjectError> {
        let value = self.lost.lookup(&[0; 4])?;
        let no_room = value.and_then(|value| Some(u64::from_ne_bytes(*value.first_chunk()?)));
        let not_run: rustix::io::Result<u64> = self.tracepoints.iter().map(Tracepoint::missed).sum();
        let not_run = not_run.map_err(ObjectError::failed("ask how often a program was not run"))?;
        Ok(Lost { no_room: no_room.unwrap_or_default(), not_run })
    }

    /// The processes that live outside at this moment, with what was started there.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Failed`].
    pub fn outside(&self) -> Result<Vec<Departed>, ObjectError> {
        let entries = self.processes.entries()?;
        let outside = entries.iter().filter_map(|entry| departed(&entry.key, &entry.value));
        Ok(outside.filter(|process| process.start.is_that_of(process.id)).collect())
    }

    /// Kills a process, if it lives and is outside; whether it did.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Failed`], and with the errno of the system calls `pidfd_open` and `pidfd_send_signal`.
    pub fn kill(&self, process: Departed) -> Result<bool, ObjectError> {
        let failed = |source| ObjectError::Failed { doing: format!("kill process {}", process.id), source };
        // An id of a thread is that of no process (EINVAL or ENOENT).
        let is_gone = |error: &io::Error| {
            let errno = Errno::from_io_error(error);
            errno.is_some_and(|errno| [Errno::SRCH, Errno::INVAL, Errno::NOENT].contains(&errno))
        };
        let held = match ProcessFd::open(process.id) {
            Err(error) if is_gone(&error) => return Ok(false),
            opened => opened.map_err(failed)?,
        };
        // Whatever has this id now is held. Is it the one?
        let key = process.key.to_ne_bytes();
        let value = self.processes.lookup(&key)?;
        let is_outside = value.and_then(|value| departed(&key, &value)) == Some(process);
        if !is_outside || !process.start.is_that_of(process.id) {
            return Ok(false);
        }
        match held.send(Signal::KILL) {
            Err(error) if is_gone(&error) => Ok(false),
            sent => sent.map(|()| true).map_err(failed),
        }
    }
}

impl AsFd for Descendants {
    /// Becomes readable when [`take`](Self::take) has something to give.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

fn map(
    name: &str,
    kind: MapKind,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
) -> Result<Map, LoadError> {
    let (name, contents) = (name.to_owned(), Vec::new());
    let def = MapDef { name, kind, key_size, value_size, max_entries, flags: 0, contents, frozen: false };
    create_map("descendants", &def)
}

/// The id of our pid namespace, if `/proc` is of it.
fn pid_namespace() -> io::Result<u32> {
    let ours = fs::read_link("/proc/self")?;
    if ours.to_str() != Some(&ProcessId::this().to_string()) {
        return Err(io::Error::other("/proc is of another one"));
    }
    Ok(fs::metadata("/proc/self/ns/pid")?.ino() as u32)
}

impl Tracepoint {
    /// Runs a program there.
    fn follow(name: &CStr, insns: &[u8]) -> Result<Self, DescendantsError> {
        let copies = if kernel_version() >= (7, 0, 0) { 2 } else { 1 };
        let copies = (0..copies).map(|_| ProgramCopy::follow(name, insns)).collect::<rustix::io::Result<_>>();
        copies.map(|copies| Self { copies }).map_err(|error| DescendantsError::Tracepoint {
            tracepoint: name.to_string_lossy().into_owned(),
            source: error.into(),
        })
    }

    /// How often no copy of the program was run, at most.
    fn missed(&self) -> rustix::io::Result<u64> {
        let missed = self.copies.iter().map(|copy| {
            let info: ProgramInfo = bpf::info(copy.program.as_fd())?;
            Ok(info.recursion_misses)
        });
        Ok(missed.collect::<rustix::io::Result<Vec<_>>>()?.into_iter().min().unwrap_or_default())
    }
}

impl ProgramCopy {
    fn follow(tracepoint: &CStr, insns: &[u8]) -> rustix::io::Result<Self> {
        const RAW_TRACEPOINT: u32 = 17;
        let spec = ProgramSpec {
            kind: RAW_TRACEPOINT,
            expected_attach_type: 0,
            insns,
            // Reading the kernel's memory is for GPL programs alone.
            license: c"Dual MIT/GPL",
            name: kernel_name("knobgate_leave"),
            debug: None,
        };
        let program = within_limit(|| bpf::prog_load(&spec, None))?;
        let link = bpf::raw_tracepoint_open(program.as_fd(), tracepoint)?;
        Ok(Self { program, _link: link })
    }
}

/// The fields of a record, in the order in which the programs write them.
fn departure(record: &[u8]) -> Option<Departure> {
    let record: &[u8; RECORD] = record.try_into().ok()?;
    let (cgroup, rest) = record.split_first_chunk()?;
    let (name, rest) = rest.split_first_chunk::<16>()?;
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

/// A process that the hash has, if it is outside.
fn departed(key: &[u8], value: &[u8]) -> Option<Departed> {
    let (place, rest) = value.split_first_chunk()?;
    let (id, start) = rest.split_first_chunk()?;
    let start = StartTime(u64::from_ne_bytes(*start.first_chunk()?));
    let key = u32::from_ne_bytes(*key.first_chunk()?);
    let id = ProcessId::new(u32::from_ne_bytes(*id))?;
    (u32::from_ne_bytes(*place) == OUTSIDE).then_some(Departed { id, key, start })
}
