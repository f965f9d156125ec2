//! Starting a command in a cgroup by clone3(2), for which nothing has to move there.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{Errno, fcntl_dupfd_cloexec, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::fork::EndHere;

/// `CLONE_INTO_CGROUP` in include/uapi/linux/sched.h.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` there, as of Linux 5.7.
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

/// Why there is no command.
pub(crate) enum NotBorn {
    /// There is no process: the kernel is too old for this, or refuses.
    NoProcess,
    /// It could not become the command.
    NoCommand(io::Error),
}

/// Starts `command` in the cgroup of this directory. Nothing happens if this process has several threads: one of them may
/// hold a lock that the child needs before it execs.
pub(crate) fn start_in(command: &mut Command, cgroup: BorrowedFd<'_>) -> Result<Pid, NotBorn> {
    if !has_one_thread() {
        return Err(NotBorn::NoProcess);
    }
    let (told, tell) = report().map_err(|_| NotBorn::NoProcess)?;
    let args = CloneArgs {
        flags: INTO_CGROUP,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: cgroup.as_raw_fd() as u64,
        ..CloneArgs::default()
    };
    // SAFETY: as fork, for no memory is shared. The child is a copy of a process with one thread, which thus holds no lock,
    // and ends here if it does not exec.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    if pid == 0 {
        let end = EndHere;
        let error = Errno::from_io_error(&command.exec()).unwrap_or(Errno::INVAL);
        let _ = write(&tell, &error.raw_os_error().to_ne_bytes());
        drop(end);
    }
    drop(tell);
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(NotBorn::NoProcess)?;
    let mut error = [0; 4];
    let length = loop {
        match read(&told, &mut error) {
            Err(Errno::INTR) => {}
            done => break done,
        }
    };
    if length != Ok(error.len()) {
        return Ok(pid);
    }
    while matches!(waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
    Err(NotBorn::NoCommand(io::Error::from_raw_os_error(i32::from_ne_bytes(error))))
}

/// A pipe, of which the end to write to is none of the standard streams that the command gets.
fn report() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (told, tell) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((told, fcntl_dupfd_cloexec(tell, 3)?))
}

fn has_one_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}
