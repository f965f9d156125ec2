//! Starting a command inside a cgroup with clone3(2), so that no process has to be moved.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{Errno, fcntl_dupfd_cloexec, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::WaitOptions;

use super::fork::EndHere;
use crate::process_id::ProcessId;

/// `CLONE_INTO_CGROUP` in include/uapi/linux/sched.h.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of the same file, as of Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Why a command was not started.
#[derive(Debug)]
pub(crate) enum SpawnError {
    /// There is no child: the kernel is too old for this or forbids it, or this process has several threads. Another
    /// way to start the command may work.
    CloneFailed,
    /// The child could not execute the command, and has ended.
    ExecFailed(io::Error),
}

/// Starts `command` in the cgroup of this directory. Fails if this process has several threads: one of them may hold a
/// lock that the child needs before it executes.
pub(crate) fn spawn_into(command: &mut Command, cgroup: BorrowedFd<'_>) -> Result<ProcessId, SpawnError> {
    if !has_one_thread() {
        return Err(SpawnError::CloneFailed);
    }
    let (errors, report) = error_pipe().map_err(|_| SpawnError::CloneFailed)?;
    let args = CloneArgs {
        flags: INTO_CGROUP,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: cgroup.as_raw_fd() as u64,
        ..CloneArgs::default()
    };
    // SAFETY: like fork, since no memory is shared. The child is a copy of a process with one thread, so no lock is
    // held, and it ends here if the exec fails.
    let returned = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    if returned == 0 {
        let end = EndHere;
        let error = Errno::from_io_error(&command.exec()).unwrap_or(Errno::INVAL);
        let _ = write(&report, &error.raw_os_error().to_ne_bytes());
        drop(end);
    }
    drop(report);
    let child = ProcessId::new(returned).ok_or(SpawnError::CloneFailed)?;
    let mut error = [0; 4];
    let length = loop {
        match read(&errors, &mut error) {
            Err(Errno::INTR) => {}
            done => break done,
        }
    };
    if length != Ok(error.len()) {
        return Ok(child);
    }
    let _ = child.wait(WaitOptions::empty());
    Err(SpawnError::ExecFailed(io::Error::from_raw_os_error(i32::from_ne_bytes(error))))
}

/// A pipe whose write end is not one of the standard streams, which the command replaces.
fn error_pipe() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (read_end, write_end) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((read_end, fcntl_dupfd_cloexec(write_end, 3)?))
}

fn has_one_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}
