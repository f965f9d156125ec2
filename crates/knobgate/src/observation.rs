//! What the processes of a cgroup do, without a policy for them.

use std::time::Duration;

use knobgate_events::{CallResult, Event, UnknownResult};
use knobgate_kernel::{
    BpfObjectError, Cgroup, Link, LinkError, LoadedProgram, SyscallRecord, SyscallResults,
    SyscallResultsError,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::events::{
    self, EventMemoryMaps, EventReader, EventReaderError, EventReaders, ObserverError, Pairing, Return,
    load_observer,
};

/// The size of the buffer for events, in bytes: room for about 80,000. A workload may set itself up with many writes at once.
const EVENTS_BYTES: u32 = 4 * EventReader::DEFAULT_BYTES;

/// Records every access of the processes in a cgroup and below it, and how its system call ended.
#[derive(Debug)]
pub struct Observation {
    reads: bool,
    reader: EventReader,
    memory: EventMemoryMaps,
    tracing: Tracing,
    pairing: Pairing<Event>,
    link: Option<Link>,
    /// How many events could be decoded.
    received: u64,
}

/// Whether system calls are traced.
#[derive(Debug)]
enum Tracing {
    NotYet,
    On(Box<SyscallResults>),
    Failed(SyscallResultsError),
}

/// Something that an [`Observation`] has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observed {
    /// An access.
    Access {
        /// The access. The observer has allowed it.
        event: Box<Event>,
        /// How its system call ended.
        result: CallResult,
    },
    /// A process executed a file (`execve(2)`). This comes before the accesses after it.
    Executed {
        /// The process id, in the initial pid namespace.
        pid: u32,
        /// When, in nanoseconds of `CLOCK_BOOTTIME`.
        boot_time: u64,
    },
}

/// What an observation has missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ObservationLoss {
    /// Accesses of which nothing is known.
    pub accesses: u64,
    /// Results of system calls. The accesses are known.
    pub results: u64,
}

/// Why nothing can be observed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObservationError {
    /// There can be no observer.
    #[error(transparent)]
    Observer(#[from] ObserverError),
    /// Its events cannot be read.
    #[error("cannot read the observer's events")]
    Reader(#[from] EventReaderError),
    /// Its memory cannot be used.
    #[error("cannot use the observer's maps")]
    Object(#[from] BpfObjectError),
    /// It cannot be attached.
    #[error("cannot attach the observer")]
    Attach(#[from] LinkError),
}

impl Observation {
    /// Observes the writes in `cgroup`, and with `reads` also the reads, for as long as this value lives.
    ///
    /// # Errors
    ///
    /// Every [`ObservationError`].
    pub fn of(cgroup: &Cgroup, reads: bool) -> Result<Self, ObservationError> {
        let (mut observation, loaded) = Self::load(reads)?;
        events::prepare(&loaded, [(cgroup.id(), cgroup.path())])?;
        observation.trace(cgroup);
        observation.link = Some(Link::create(&loaded.program, cgroup)?);
        Ok(observation)
    }

    /// Loads the program of an observer that is on no cgroup yet, with places for readers of its own.
    pub(crate) fn load(reads: bool) -> Result<(Self, LoadedProgram), ObservationError> {
        let loaded = load_observer(reads)?;
        let (Some(readers), Some(memory)) = (EventReaders::of(&loaded)?, EventMemoryMaps::of(&loaded)?)
        else {
            return Err(ObserverError::NoEvents.into());
        };
        let observation = Self {
            reads,
            reader: EventReader::open(vec![readers], EVENTS_BYTES)?,
            memory,
            tracing: Tracing::NotYet,
            pairing: Pairing::new(),
            link: None,
            received: 0,
        };
        Ok((observation, loaded))
    }

    /// Traces the system calls in `cgroup`, before anything happens there. Without that, no result is known.
    ///
    /// This comes before the program of the observer is attached: an access is marked first then, and its event is later.
    pub(crate) fn trace(&mut self, cgroup: &Cgroup) {
        self.tracing = match SyscallResults::of(cgroup, self.reads) {
            Ok(results) => Tracing::On(Box::new(results)),
            Err(error) => Tracing::Failed(error),
        };
    }

    /// Why system calls are not traced, so that no result is known.
    pub fn not_traced(&self) -> Option<&SyscallResultsError> {
        match &self.tracing {
            Tracing::Failed(error) => Some(error),
            Tracing::NotYet | Tracing::On(_) => None,
        }
    }

    /// Waits until there is something to [take](Self::take), or until `others` are readable or `timeout` is over. Returns whether
    /// one of `others` is readable.
    ///
    /// # Errors
    ///
    /// poll(2) fails.
    pub fn wait(
        &self,
        others: &[std::os::fd::BorrowedFd<'_>],
        timeout: Option<Duration>,
    ) -> std::io::Result<bool> {
        let mut waited: Vec<PollFd<'_>> =
            others.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        waited.push(PollFd::new(&self.reader, PollFlags::IN));
        if let Tracing::On(results) = &self.tracing {
            waited.push(PollFd::new(results, PollFlags::IN));
        }
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match poll(&mut waited, timeout.as_ref()) {
            Ok(_) => Ok(waited[..others.len()].iter().any(|fd| !fd.revents().is_empty())),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Calls `consume` with what has been seen since the last call.
    pub fn take(&mut self, consume: &mut dyn FnMut(Observed)) {
        let mut take_records = || match &mut self.tracing {
            Tracing::On(results) => results.take(),
            Tracing::NotYet | Tracing::Failed(_) => Vec::new(),
        };
        // What happened before an event is in the records that are taken after it.
        let mut records = take_records();
        let mut events = Vec::new();
        // The memory counts those that cannot be decoded.
        self.reader.for_each(|event| events.extend(event.ok()));
        self.received += events.len() as u64;
        records.append(&mut take_records());
        for record in &records {
            if let SyscallRecord::Executed { pid, boot_time } = *record {
                consume(Observed::Executed { pid, boot_time });
            }
        }
        let is_traced = matches!(self.tracing, Tracing::On(_));
        let mut access = |event, result| consume(Observed::Access { event: Box::new(event), result });
        // Returns first: few events wait then.
        for record in records {
            if let SyscallRecord::Returned { tid, boot_time, first_access, value, accesses } = record {
                let call = Return { boot_time, first_access, value, accesses };
                self.pairing.returned(tid, call, &mut access);
            }
        }
        for event in events {
            match event.tid.filter(|_| is_traced) {
                Some(tid) => self.pairing.event(tid, event.boot_time, event, &mut access),
                None => access(event, CallResult::Unknown(UnknownResult::NotTraced)),
            }
        }
    }

    /// Ends the observation. Calls `consume` with the rest, and returns what was missed.
    ///
    /// # Errors
    ///
    /// It is not known what was missed.
    pub fn end(mut self, consume: &mut dyn FnMut(Observed)) -> Result<ObservationLoss, ObservationError> {
        self.link = None;
        self.take(consume);
        self.pairing.end(&mut |event, result| consume(Observed::Access { event: Box::new(event), result }));
        let memory = self.memory.read()?;
        let counters = memory.entries.iter().map(|entry| entry.counters).chain(memory.others);
        let sent: u64 = counters.map(|counters| counters.sent + counters.suppressed).sum();
        let results = match &self.tracing {
            Tracing::On(results) => results.lost()?,
            Tracing::NotYet | Tracing::Failed(_) => 0,
        };
        // The reader counts what found no room, and the memory what was sent.
        let missing = sent.saturating_sub(self.received).max(self.reader.lost()?);
        Ok(ObservationLoss { accesses: missing.max(memory.state.not_recorded), results })
    }
}
