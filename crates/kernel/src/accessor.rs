//! Processes that make accesses from inside of cgroups.

use std::io;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    recv, sendmsg, socketpair,
};
use rustix::process::{Signal, WaitOptions};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::cgroup::{Cgroup, CgroupError};
use crate::process_id::ProcessId;
use crate::sys::accesses::{Request, SharedBytes, fork_accessor};

/// A process inside a cgroup that reads and writes files which this one hands to it: what programs of the hook judge is
/// who reads or writes, and not who has opened.
///
/// It is a child of this process, named `scenario`, with the same rights and namespaces, blocks all signals, and ends with this
/// value or with this process. It stays on one processor, the first that this process may use, so that what programs keep
/// for each processor is in one place.
#[derive(Debug)]
pub struct Accessor {
    process: ProcessId,
    socket: OwnedFd,
    shared: SharedBytes,
    processor: usize,
}

/// An accessor cannot be started, or has ended before its time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessorError {
    /// It cannot enter the cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// There could be no process.
    #[error("cannot start a process inside of a cgroup: {source}")]
    Start {
        /// What went wrong.
        source: io::Error,
    },
    /// It does not answer.
    #[error("the process inside of the cgroup has ended before its time: someone killed it")]
    Gone,
}

impl Accessor {
    /// The most bytes of one access.
    pub const MOST_BYTES: usize = 8 << 20;

    /// Starts one inside `cgroup`.
    ///
    /// # Errors
    ///
    /// [`AccessorError::Start`], [`Cgroup`](AccessorError::Cgroup).
    pub fn start(cgroup: &Cgroup) -> Result<Self, AccessorError> {
        let start = |error: Errno| AccessorError::Start { source: error.into() };
        let allowed = sched_getaffinity(None).map_err(start)?;
        let processor = (0..CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu)).unwrap_or(0);
        let mut only = CpuSet::new();
        only.set(processor);

        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(start)?;
        let shared = SharedBytes::new(Self::MOST_BYTES).map_err(start)?;
        let process = fork_accessor(theirs.as_fd(), &shared).map_err(start)?;
        let accessor = Self { process, socket, shared, processor };
        sched_setaffinity(Some(process.as_pid()), &only).map_err(start)?;
        cgroup.enter(process)?;
        Ok(accessor)
    }

    /// The number of the processor that it stays on.
    pub fn processor(&self) -> usize {
        self.processor
    }

    /// read(2) of `file` into a buffer of `count` zeros: what the system call returns, with the errno as a negative
    /// number, and as much of the buffer.
    ///
    /// # Errors
    ///
    /// [`AccessorError::Gone`].
    ///
    /// # Panics
    ///
    /// If `count` is more than [`MOST_BYTES`](Self::MOST_BYTES).
    pub fn read(&mut self, file: BorrowedFd<'_>, count: usize) -> Result<(i64, Vec<u8>), AccessorError> {
        self.shared.clear(count);
        let returned = self.perform(file, Request::Read { count })?;
        let filled = usize::try_from(returned).unwrap_or(0).min(count);
        Ok((returned, self.shared.first(filled)))
    }

    /// write(2) of `bytes` to `file`: what the system call returns, with the errno as a negative number.
    ///
    /// # Errors
    ///
    /// [`AccessorError::Gone`].
    ///
    /// # Panics
    ///
    /// If there are more than [`MOST_BYTES`](Self::MOST_BYTES).
    pub fn write(&mut self, file: BorrowedFd<'_>, bytes: &[u8]) -> Result<i64, AccessorError> {
        self.shared.store(bytes);
        self.perform(file, Request::Write { count: bytes.len() })
    }

    fn perform(&mut self, file: BorrowedFd<'_>, request: Request) -> Result<i64, AccessorError> {
        let gone = |_| AccessorError::Gone;
        let files = [file];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&files));
        sendmsg(&self.socket, &[IoSlice::new(&request.to_bytes())], &mut control, SendFlags::NOSIGNAL)
            .map_err(gone)?;
        let mut returned = [0; 8];
        match recv(&self.socket, &mut returned, RecvFlags::empty()).map_err(gone)? {
            (8, _) => Ok(i64::from_ne_bytes(returned)),
            _ => Err(AccessorError::Gone),
        }
    }
}

impl Drop for Accessor {
    fn drop(&mut self) {
        // It is ours and not waited for yet, so that the id is no other's.
        let _ = self.process.send(Signal::KILL);
        let _ = self.process.wait(WaitOptions::empty());
    }
}
