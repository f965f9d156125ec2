//! The process that makes accesses for another one, from inside a cgroup, and the memory that they share.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};
use rustix::thread::set_name;

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

    /// Zeroes its first bytes.
    ///
    /// # Panics
    ///
    /// If it is shorter.
    pub(crate) fn clear(&mut self, length: usize) {
        assert!(length <= self.length);
        // SAFETY: as in `store`.
        unsafe { std::ptr::write_bytes(self.start, 0, length) };
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

/// What the process shall do with the file that it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Read { count: usize },
    Write { count: usize },
}

impl Request {
    /// The message on the socket.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let (kind, count) = match self {
            Self::Read { count } => (0_u64, count),
            Self::Write { count } => (1, count),
        };
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&kind.to_ne_bytes());
        bytes[8..].copy_from_slice(&(count as u64).to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; 16]) -> Self {
        let (kind, count) = bytes.split_at(8);
        let number =
            |half: &[u8]| half.iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
        match number(kind) {
            0 => Self::Read { count: number(count) as usize },
            _ => Self::Write { count: number(count) as usize },
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
    let _ = set_name(c"scenario");
    close_all_but([socket.as_raw_fd(); 4]);
    loop {
        match receive(socket) {
            Ok(Some((request, file))) => {
                let returned = perform(request, file.as_raw_fd(), shared);
                // Close the descriptor before answering.
                drop(file);
                if send(socket, &returned.to_ne_bytes(), SendFlags::NOSIGNAL).is_err() {
                    return 1;
                }
            }
            Ok(None) => return 0,
            Err(_) => return 1,
        }
    }
}

fn receive(socket: BorrowedFd<'_>) -> Result<Option<(Request, OwnedFd)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 16];
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut file = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            file = files.last();
        }
    }
    match (received.bytes, file) {
        (0, _) => Ok(None),
        (16, Some(file)) => Ok(Some((Request::from_bytes(bytes), file))),
        _ => Err(Errno::PROTO),
    }
}

/// The result of the system call, with the errno as a negative number. It is a raw number because a program of the hook
/// can set one that is neither a length nor an errno.
fn perform(request: Request, file: i32, shared: &SharedBytes) -> i64 {
    let (number, count) = match request {
        Request::Read { count } => (libc::SYS_read, count),
        Request::Write { count } => (libc::SYS_write, count),
    };
    let count = count.min(shared.length);
    // SAFETY: `shared` has `count` bytes, and the requesting process does not touch them before the answer.
    let returned = unsafe { libc::syscall(number, file, shared.start, count) };
    if returned == -1 { -i64::from(last_error().raw_os_error()) } else { returned }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
