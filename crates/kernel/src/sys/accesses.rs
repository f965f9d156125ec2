//! The process that makes accesses for another one, from inside a cgroup, and the memory that they share.

use std::ffi::CStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use knobgate_bpf::uapi::TASK_COMM_LEN;
use rustix::io::{Errno, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, send, sendmsg,
};
use rustix::process::{Gid, Uid, getegid, geteuid};
use rustix::thread::{set_name, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::fork::{close_all_but, fork_without_exec};
use crate::process_id::ProcessId;

/// Memory shared with the processes that are forked from now on.
#[derive(Debug)]
pub(crate) struct SharedBytes {
    start: *mut u8,
    length: usize,
}

// SAFETY: within this process, the mapping belongs to this value alone.
unsafe impl Send for SharedBytes {}

impl SharedBytes {
    /// Maps `length` bytes. Unused pages cost nothing.
    pub(crate) fn new(length: usize) -> Result<Self> {
        // SAFETY: a new mapping, which nothing else refers to.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED { Err(last_error()) } else { Ok(Self { start: start.cast(), length }) }
    }

    /// Stores `bytes` at its beginning.
    ///
    /// # Panics
    ///
    /// If they do not fit.
    pub(crate) fn store(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.length);
        // SAFETY: it is long enough, and the other process does not touch it before the next request.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start, bytes.len()) };
    }

    /// Sets its first bytes to `byte`.
    ///
    /// # Panics
    ///
    /// If it is shorter.
    pub(crate) fn fill(&mut self, length: usize, byte: u8) {
        assert!(length <= self.length);
        // SAFETY: as in `store`.
        unsafe { std::ptr::write_bytes(self.start, byte, length) };
    }

    /// Its first bytes.
    ///
    /// # Panics
    ///
    /// If it is shorter.
    pub(crate) fn first(&self, length: usize) -> Vec<u8> {
        assert!(length <= self.length);
        // SAFETY: it is long enough, and the other process has answered: it does not touch it before the next request.
        unsafe { std::slice::from_raw_parts(self.start, length) }.to_vec()
    }
}

impl Drop for SharedBytes {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping, and no reference to it is left.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

/// What the process shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Read from the file that comes with the request; at the position of the file, or at this one.
    Read { count: usize, position: Option<i64> },
    /// Write to it.
    Write { count: usize, position: Option<i64> },
    /// Take these real ids and this name. The effective ids stay.
    Become { uid: u32, gid: u32, name: [u8; TASK_COMM_LEN] },
    /// The same with all ids, and without supplementary groups.
    BecomeUser { uid: u32, gid: u32, name: [u8; TASK_COMM_LEN] },
    /// Open the file whose path is in the buffer, with a NUL at its end, and send its descriptor with the answer.
    Open { flags: i32 },
}

/// Bytes of a request on the socket: its kind and two numbers, or its kind, the ids and the name.
const REQUEST_BYTES: usize = 32;

impl Request {
    /// The message on the socket.
    pub(crate) fn to_bytes(self) -> [u8; REQUEST_BYTES] {
        let mut bytes = [0; REQUEST_BYTES];
        let kind: u64 = match self {
            Self::Read { position, .. } => u64::from(position.is_some()),
            Self::Write { position, .. } => 2 | u64::from(position.is_some()),
            Self::Become { .. } => 4,
            Self::BecomeUser { .. } => 5,
            Self::Open { .. } => 6,
        };
        bytes[..8].copy_from_slice(&kind.to_ne_bytes());
        match self {
            Self::Read { count, position } | Self::Write { count, position } => {
                bytes[8..16].copy_from_slice(&(count as u64).to_ne_bytes());
                bytes[16..24].copy_from_slice(&position.unwrap_or(0).to_ne_bytes());
            }
            Self::Open { flags } => bytes[8..12].copy_from_slice(&flags.to_ne_bytes()),
            Self::Become { uid, gid, name } | Self::BecomeUser { uid, gid, name } => {
                bytes[8..12].copy_from_slice(&uid.to_ne_bytes());
                bytes[12..16].copy_from_slice(&gid.to_ne_bytes());
                bytes[16..].copy_from_slice(&name);
            }
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; REQUEST_BYTES]) -> Self {
        let &[kind, number, at, _] = bytes.as_chunks().0 else { unreachable!("four words") };
        let [kind, count] = [kind, number].map(u64::from_ne_bytes);
        let position = (kind & 1 == 1).then(|| i64::from_ne_bytes(at));
        match kind {
            0 | 1 => Self::Read { count: count as usize, position },
            2 | 3 => Self::Write { count: count as usize, position },
            _ => {
                let &[first, second] = number.as_chunks().0 else { unreachable!("two halves") };
                let mut name = [0; TASK_COMM_LEN];
                name.copy_from_slice(&bytes[16..]);
                let (uid, gid) = (u32::from_ne_bytes(first), u32::from_ne_bytes(second));
                match kind {
                    4 => Self::Become { uid, gid, name },
                    5 => Self::BecomeUser { uid, gid, name },
                    _ => Self::Open { flags: i32::from_ne_bytes(first) },
                }
            }
        }
    }
}

/// Starts a process that serves the requests on `socket`, with the beginning of `shared` as its buffer, until the
/// socket is closed.
pub(crate) fn fork_accessor(socket: BorrowedFd<'_>, shared: &SharedBytes) -> Result<ProcessId> {
    // SAFETY: `serve` makes system calls only.
    unsafe { fork_without_exec(|| serve(socket, shared)) }
}

fn serve(socket: BorrowedFd<'_>, shared: &SharedBytes) -> u8 {
    let _ = set_name(c"accessor");
    close_all_but([socket.as_raw_fd(); 4]);
    loop {
        match receive(socket) {
            Ok(Some((request, file))) => {
                let returned = perform(request, file.as_ref().map_or(-1, AsRawFd::as_raw_fd), shared);
                // Close the descriptor before answering.
                drop(file);
                let answered = match request {
                    Request::Open { .. } if returned >= 0 => send_opened(socket, returned as RawFd),
                    _ => send(socket, &returned.to_ne_bytes(), SendFlags::NOSIGNAL).map(drop),
                };
                if answered.is_err() {
                    return 1;
                }
            }
            Ok(None) => return 0,
            Err(_) => return 1,
        }
    }
}

/// Answers 0, with a descriptor that this process has just opened, and closes it.
fn send_opened(socket: BorrowedFd<'_>, opened: RawFd) -> Result<()> {
    // SAFETY: openat(2) has returned it, and nothing else owns it.
    let opened = unsafe { OwnedFd::from_raw_fd(opened) };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let opened = [opened.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&opened));
    sendmsg(socket, &[IoSlice::new(&0_i64.to_ne_bytes())], &mut control, SendFlags::NOSIGNAL).map(drop)
}

fn receive(socket: BorrowedFd<'_>) -> Result<Option<(Request, Option<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; REQUEST_BYTES];
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut file = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            file = files.last();
        }
    }
    match received.bytes {
        0 => Ok(None),
        REQUEST_BYTES => Ok(Some((Request::from_bytes(&bytes), file))),
        _ => Err(Errno::PROTO),
    }
}

/// The result of the system call, with the errno as a negative number. It is a raw number because a program of the hook
/// can set one that is neither a length nor an errno.
fn perform(request: Request, file: i32, shared: &SharedBytes) -> i64 {
    let (plain, at_position, count, position) = match request {
        Request::Read { count, position } => (libc::SYS_read, libc::SYS_pread64, count, position),
        Request::Write { count, position } => (libc::SYS_write, libc::SYS_pwrite64, count, position),
        Request::Become { uid, gid, name } => return answer(become_task(uid, gid, &name)),
        Request::BecomeUser { uid, gid, name } => return answer(become_user(uid, gid, &name)),
        Request::Open { flags } => {
            let flags = flags | libc::O_CLOEXEC;
            // SAFETY: the path in `shared` ends with a NUL, and the requesting process does not touch it before the answer.
            let opened = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, shared.start, flags, 0) };
            return if opened == -1 { -i64::from(last_error().raw_os_error()) } else { opened };
        }
    };
    let number = if position.is_some() { at_position } else { plain };
    let count = count.min(shared.length);
    // SAFETY: `shared` has `count` bytes, and the requesting process does not touch them before the answer. read(2) and
    // write(2) ignore the last argument.
    let returned = unsafe { libc::syscall(number, file, shared.start, count, position.unwrap_or(0)) };
    if returned == -1 { -i64::from(last_error().raw_os_error()) } else { returned }
}

fn answer(result: Result<()>) -> i64 {
    result.map_or_else(|error| -i64::from(error.raw_os_error()), |()| 0)
}

/// The ids last: without them, this process may change nothing more.
fn become_user(uid: u32, gid: u32, name: &[u8; TASK_COMM_LEN]) -> Result<()> {
    set_name(CStr::from_bytes_until_nul(name).map_err(|_| Errno::INVAL)?)?;
    set_thread_groups(&[])?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

fn become_task(uid: u32, gid: u32, name: &[u8; TASK_COMM_LEN]) -> Result<()> {
    let (effective_uid, effective_gid) = (geteuid(), getegid());
    set_thread_res_gid(Gid::from_raw(gid), effective_gid, effective_gid)?;
    set_thread_res_uid(Uid::from_raw(uid), effective_uid, effective_uid)?;
    set_name(CStr::from_bytes_until_nul(name).map_err(|_| Errno::INVAL)?)
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
