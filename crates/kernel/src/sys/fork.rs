//! Processes that are forked and never exec: the guard of a cgroup, and the writer of a probe.
//!
//! Between fork and `_exit`, such a process may only make system calls on prepared data: at the moment of the fork,
//! another thread may have held any lock, including the allocator's. The functions below call nothing but the raw
//! system calls of `rustix`, and [`teardown`], which follows the same rule.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, Result, pread, read, write};
use rustix::process::{DumpableBehavior, chdir, set_dumpable_behavior, setsid};
use rustix::thread::{UnshareFlags, set_name, unshare_unsafe};

use crate::process_id::ProcessId;
use crate::teardown;

/// Forks a process that runs `body` and exits with the status that it returns. All signals stay blocked in the child,
/// so that no handler of this process runs there. `SIGKILL` ends it.
///
/// # Safety
///
/// `body` makes system calls only: it does not allocate, lock, or touch what another thread may have been changing.
pub(super) unsafe fn fork_without_exec(body: impl FnOnce() -> u8) -> Result<ProcessId> {
    let before = block_all_signals();
    // SAFETY: the child runs `body`, for which the caller promises the rule above, and exits.
    let returned = unsafe { libc::fork() };
    if returned == 0 {
        let _end = EndHere;
        exit_now(body());
    }
    let error = std::io::Error::last_os_error();
    restore_signals(&before);
    ProcessId::new(returned).ok_or_else(|| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))
}

/// Ends the process on drop. A forked process that unwinds must not reach the stack frames of its parent.
pub(super) struct EndHere;

impl Drop for EndHere {
    fn drop(&mut self) {
        exit_now(101);
    }
}

fn exit_now(status: u8) -> ! {
    // SAFETY: `_exit` accepts any status and does not return.
    unsafe { libc::_exit(status.into()) }
}

fn block_all_signals() -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: sigfillset fills `all`, pthread_sigmask reads it and fills `before`; neither fails with these arguments.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: reads a set that pthread_sigmask gave.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

/// The descriptors and the name that a guard process works with.
pub(crate) struct GuardedCgroup<'a> {
    /// End of file here, without a byte before it, means that the parent has died.
    pub(crate) alive: BorrowedFd<'a>,
    /// The directory of the cgroup.
    pub(crate) cgroup: BorrowedFd<'a>,
    /// The directory that the cgroup is in.
    pub(crate) parent: BorrowedFd<'a>,
    /// The name of the cgroup there.
    pub(crate) name: &'a CStr,
}

/// Starts the guard process of a cgroup.
pub(crate) fn fork_guard(guarded: &GuardedCgroup<'_>) -> Result<ProcessId> {
    // SAFETY: `watch` makes system calls only.
    unsafe { fork_without_exec(|| watch(guarded)) }
}

fn watch(guarded: &GuardedCgroup<'_>) -> u8 {
    let _ = setsid();
    let _ = chdir(c"/");
    let _ = set_name(c"knobgate-guard");
    // Tracing it takes CAP_SYS_PTRACE then.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    close_all_but([
        guarded.alive.as_raw_fd(),
        guarded.cgroup.as_raw_fd(),
        guarded.parent.as_raw_fd(),
        guarded.parent.as_raw_fd(),
    ]);
    let mut byte = [0];
    loop {
        match read(guarded.alive, &mut byte) {
            Ok(1) => return 0,
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => break,
        }
    }
    // Go on until the cgroup is empty.
    loop {
        let _ = teardown::kill_all(guarded.cgroup);
        match teardown::wait_until_empty(guarded.cgroup, Duration::from_secs(1)) {
            Ok(false) => {}
            Ok(true) | Err(_) => break,
        }
    }
    match teardown::remove_all(guarded.parent, guarded.name) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

/// Closes all descriptors except these. They may contain duplicates.
pub(super) fn close_all_but(mut kept: [i32; 4]) {
    kept.sort_unstable();
    let mut first = 0;
    for fd in kept {
        close_range(first, fd - 1);
        first = fd + 1;
    }
    close_range(first, i32::MAX);
}

fn close_range(first: i32, last: i32) {
    if first > last {
        return;
    }
    // SAFETY: runs in the forked child, which uses none of these descriptors again.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, last, 0) != 0 {
            // Linux before 5.9. This bound is above the default limit of descriptors.
            for fd in first..=last.min(65_535) {
                libc::close(fd);
            }
        }
    }
}

/// What the writer of the rewrite probe works with.
pub(crate) struct ProbeWriter<'a> {
    /// `cgroup.procs` of the scratch cgroup, open for writing.
    pub(crate) procs: BorrowedFd<'a>,
    /// A knob of the UTS namespace.
    pub(crate) knob: &'a CStr,
    /// What it writes.
    pub(crate) written: &'a [u8],
    /// What the program replaces it with; not longer.
    pub(crate) replacement: &'a [u8],
}

/// The exit status of a [`ProbeWriter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum WriterEnd {
    Replaced = 0,
    NotReplaced = 1,
    CannotUnshare = 2,
    CannotEnter = 3,
    CannotOpen = 4,
    CannotWrite = 5,
    CannotReadBack = 6,
    Unexpected = 7,
}

impl WriterEnd {
    const ALL: [Self; 8] = [
        Self::Replaced,
        Self::NotReplaced,
        Self::CannotUnshare,
        Self::CannotEnter,
        Self::CannotOpen,
        Self::CannotWrite,
        Self::CannotReadBack,
        Self::Unexpected,
    ];

    pub(crate) fn from_status(status: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|&end| end as i32 == status)
    }
}

/// Starts the writer of the rewrite probe.
pub(crate) fn fork_probe_writer(writer: &ProbeWriter<'_>) -> Result<ProcessId> {
    // SAFETY: `write_and_compare` makes system calls only.
    unsafe { fork_without_exec(|| write_and_compare(writer) as u8) }
}

fn write_and_compare(writer: &ProbeWriter<'_>) -> WriterEnd {
    // Without CAP_SYS_ADMIN, a user namespace of its own allows it. The ids of this process stay what they are for the file.
    let own_uts = [UnshareFlags::NEWUTS, UnshareFlags::NEWUSER | UnshareFlags::NEWUTS];
    // SAFETY: the descriptor table is not unshared. From here on, the host's value is out of reach.
    if !own_uts.into_iter().any(|namespaces| unsafe { unshare_unsafe(namespaces) }.is_ok()) {
        return WriterEnd::CannotUnshare;
    }
    if write(writer.procs, b"0").is_err() {
        return WriterEnd::CannotEnter;
    }
    let Ok(knob) = open(writer.knob, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) else {
        return WriterEnd::CannotOpen;
    };
    if write(&knob, writer.written).is_err() {
        return WriterEnd::CannotWrite;
    }
    let mut stored = [0; 128];
    let Ok(length) = pread(&knob, &mut stored, 0) else {
        return WriterEnd::CannotReadBack;
    };
    let stored = stored[..length].trim_ascii_end();
    if stored == writer.replacement.trim_ascii_end() {
        WriterEnd::Replaced
    } else if stored == writer.written.trim_ascii_end() {
        WriterEnd::NotReplaced
    } else {
        WriterEnd::Unexpected
    }
}
