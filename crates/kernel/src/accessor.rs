//! Processes that make accesses from inside cgroups.

use std::ffi::CStr;
use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use knobgate_bpf::uapi::TASK_COMM_LEN;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Signal, WaitOptions};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::cgroup::Cgroup;
use crate::cgroup_error::CgroupError;
use crate::process_id::ProcessId;
use crate::sys::accesses::{Request, SharedBytes, fork_accessor};

/// A process inside a cgroup that reads and writes files on behalf of this one. The hook judges the process that reads
/// or writes, not the one that opened the file.
///
/// It is a child of this process, named `accessor`, with the same privileges and namespaces. It blocks all signals, and
/// ends with this value or this process. It runs on one CPU, the first that this process may use, so that a program's
/// per-CPU data is in one place.
#[derive(Debug)]
pub struct Accessor {
    process: ProcessId,
    socket: OwnedFd,
    shared: SharedBytes,
    cpu: usize,
}

/// An accessor cannot be started, or has ended too early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessorError {
    /// It cannot enter the cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The process cannot be created.
    #[error("cannot start a process inside a cgroup: {error}")]
    Start {
        /// What went wrong.
        error: io::Error,
    },
    /// It cannot take other ids or another name.
    #[error("the process inside the cgroup cannot take other ids or another name: {error}")]
    Become {
        /// What went wrong.
        error: io::Error,
    },
    /// It does not answer.
    #[error("the process inside the cgroup has ended too early: somebody killed it")]
    Gone,
}

impl Accessor {
    /// The size limit of one access in bytes.
    pub const BYTES_MAX: usize = 8 << 20;

    /// Starts one inside `cgroup`.
    ///
    /// # Errors
    ///
    /// [`AccessorError::Start`], [`Cgroup`](AccessorError::Cgroup).
    pub fn start(cgroup: &Cgroup) -> Result<Self, AccessorError> {
        let start = |error: Errno| AccessorError::Start { error: error.into() };
        let allowed = sched_getaffinity(None).map_err(start)?;
        let cpu = (0..CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu)).unwrap_or(0);
        let mut only = CpuSet::new();
        only.set(cpu);

        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(start)?;
        let shared = SharedBytes::new(Self::BYTES_MAX).map_err(start)?;
        let process = fork_accessor(theirs.as_fd(), &shared).map_err(start)?;
        let accessor = Self { process, socket, shared, cpu };
        sched_setaffinity(Some(process.as_pid()), &only).map_err(start)?;
        cgroup.enter(process)?;
        Ok(accessor)
    }

    /// The CPU that it runs on.
    pub fn cpu(&self) -> usize {
        self.cpu
    }

    /// Takes these real ids and this name, up to its first NUL: what programs of the hook see of a task. The effective ids
    /// stay, and with them what it is permitted to do.
    ///
    /// # Errors
    ///
    /// [`AccessorError::Become`], [`Gone`](AccessorError::Gone).
    pub fn become_task(&mut self, uid: u32, gid: u32, name: &[u8]) -> Result<(), AccessorError> {
        self.take(Request::Become { uid, gid, name: terminated(name) })
    }

    fn take(&mut self, request: Request) -> Result<(), AccessorError> {
        match self.perform(None, request)? {
            (0, _) => Ok(()),
            (errno, _) => Err(AccessorError::Become { error: io::Error::from_raw_os_error(-errno as i32) }),
        }
    }

    /// Becomes a process of this user and group alone, with this name: the ids also decide what it is permitted to do, and it
    /// loses all capabilities unless it is root's. It keeps them for good.
    ///
    /// # Errors
    ///
    /// [`AccessorError::Become`], [`Gone`](AccessorError::Gone).
    pub fn become_user(&mut self, uid: u32, gid: u32, name: &[u8]) -> Result<(), AccessorError> {
        self.take(Request::BecomeUser { uid, gid, name: terminated(name) })
    }

    /// Moves it into another cgroup.
    ///
    /// # Errors
    ///
    /// The cgroup's.
    pub fn enter(&self, cgroup: &Cgroup) -> Result<(), CgroupError> {
        cgroup.enter(self.process)
    }

    /// Calls open(2) with this path, and returns the descriptor, or the errno.
    ///
    /// # Errors
    ///
    /// [`AccessorError::Gone`].
    pub fn open(&mut self, path: &CStr, flags: OFlags) -> Result<Result<OwnedFd, Errno>, AccessorError> {
        self.shared.store(path.to_bytes_with_nul());
        let (returned, opened) = self.perform(None, Request::Open { flags: flags.bits().cast_signed() })?;
        match opened {
            Some(opened) => Ok(Ok(opened)),
            None => Ok(Err(Errno::from_raw_os_error(-returned as i32))),
        }
    }

    /// Calls read(2) for `file`, or pread(2) if there is a `position`, with a buffer of `count` bytes that are all `fill`.
    /// Returns its result, with the errno as a negative number, and what the buffer has then, up to the length that it
    /// returned.
    ///
    /// # Errors
    ///
    /// [`AccessorError::Gone`].
    ///
    /// # Panics
    ///
    /// If `count` is more than [`BYTES_MAX`](Self::BYTES_MAX).
    pub fn read(
        &mut self,
        file: BorrowedFd<'_>,
        position: Option<i64>,
        count: usize,
        fill: u8,
    ) -> Result<(i64, Vec<u8>), AccessorError> {
        self.shared.fill(count, fill);
        let (returned, _) = self.perform(Some(file), Request::Read { count, position })?;
        let filled = usize::try_from(returned).unwrap_or(0).min(count);
        Ok((returned, self.shared.first(filled)))
    }

    /// Calls write(2) for `file`, or pwrite(2) if there is a `position`. Returns its result, with the errno as a negative
    /// number.
    ///
    /// # Errors
    ///
    /// [`AccessorError::Gone`].
    ///
    /// # Panics
    ///
    /// If `bytes` is longer than [`BYTES_MAX`](Self::BYTES_MAX).
    pub fn write(
        &mut self,
        file: BorrowedFd<'_>,
        position: Option<i64>,
        bytes: &[u8],
    ) -> Result<i64, AccessorError> {
        self.shared.store(bytes);
        let (returned, _) = self.perform(Some(file), Request::Write { count: bytes.len(), position })?;
        Ok(returned)
    }

    /// The answer, with the descriptor that came with it.
    fn perform(
        &mut self,
        file: Option<BorrowedFd<'_>>,
        request: Request,
    ) -> Result<(i64, Option<OwnedFd>), AccessorError> {
        let gone = |_| AccessorError::Gone;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if file.is_some() {
            control.push(SendAncillaryMessage::ScmRights(file.as_slice()));
        }
        sendmsg(&self.socket, &[IoSlice::new(&request.to_bytes())], &mut control, SendFlags::NOSIGNAL)
            .map_err(gone)?;
        let mut returned = [0; 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let buffers = &mut [IoSliceMut::new(&mut returned)];
        let received = recvmsg(&self.socket, buffers, &mut control, RecvFlags::CMSG_CLOEXEC).map_err(gone)?;
        let mut opened = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                opened = files.last();
            }
        }
        match received.bytes {
            8 => Ok((i64::from_ne_bytes(returned), opened)),
            _ => Err(AccessorError::Gone),
        }
    }
}

/// The name up to the length that the kernel keeps, with a NUL at its end.
fn terminated(name: &[u8]) -> [u8; TASK_COMM_LEN] {
    let mut terminated = [0; TASK_COMM_LEN];
    let length = name.len().min(TASK_COMM_LEN - 1);
    terminated[..length].copy_from_slice(&name[..length]);
    terminated
}

impl Drop for Accessor {
    fn drop(&mut self) {
        // Our child was not waited for, so its id was not reused.
        let _ = self.process.send(Signal::KILL);
        let _ = self.process.wait(WaitOptions::empty());
    }
}
