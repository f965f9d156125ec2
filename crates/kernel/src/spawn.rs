//! Starting commands inside a cgroup, and namespaces of their own.
//!
//! What is set up here happens in the child, in the order of the calls, after it has changed its user and directory
//! and before it execs: a command is never outside of its cgroup.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{PidfdFlags, Signal, pidfd_send_signal};
use rustix::thread::UnshareFlags;

use crate::cgroup::{Cgroup, CgroupError};
use crate::process_id::ProcessId;
use crate::sys::clone_into_cgroup::{SpawnError, spawn_into};
use crate::sys::{exec, startup};

/// Makes `command` start inside `cgroup`.
///
/// The cgroup's `cgroup.procs` is opened now, with the rights of this process, so that a command that runs as somebody
/// else or in other namespaces gets in too (Linux 5.16 and stable trees; before, its own rights counted).
///
/// # Errors
///
/// [`CgroupError::Io`] when `cgroup.procs` cannot be opened. When it cannot be entered, starting the command fails.
pub fn start_inside(command: &mut Command, cgroup: &Cgroup) -> Result<(), CgroupError> {
    let procs = cgroup.open_procs()?;
    let procs = clear_of_stdio(procs.as_fd()).map_err(|error| CgroupError::Io {
        doing: "open cgroup.procs of",
        path: cgroup.path().to_owned(),
        source: error.into(),
    })?;
    exec::enter_cgroup(command, procs);
    Ok(())
}

/// Starts `command` inside `cgroup`; gives its process id. Its standard streams are those of this process, or files.
///
/// clone3(2) with `CLONE_INTO_CGROUP` (Linux 5.7) does it in microseconds. Where that fails, on older kernels or under a
/// filter of seccomp(2), and if this process has several threads, the command [enters](start_inside) the cgroup: that waits
/// until all CPUs have noticed that a process moves, often for more than ten milliseconds.
///
/// # Errors
///
/// As [`Command::spawn`] and [`start_inside`]: `EAGAIN` when there may be no more processes (`pids.max`), `EOPNOTSUPP` in a
/// cgroup that no process can be in ([`CgroupType::DomainInvalid`](crate::CgroupType::DomainInvalid)).
pub fn spawn_inside(command: &mut Command, cgroup: &Cgroup) -> io::Result<ProcessId> {
    match spawn_into(command, cgroup.as_fd()) {
        Ok(child) => Ok(child),
        Err(SpawnError::NoCommand(error)) => Err(error),
        Err(SpawnError::NoProcess) => {
            start_inside(command, cgroup).map_err(io::Error::other)?;
            Ok(ProcessId::of_child(&command.spawn()?))
        }
    }
}

/// Makes `command` start with those standard streams closed that were when this process was started, in whose place Rust opens
/// `/dev/null`. Not for a command that has streams of its own.
pub fn keep_closed_streams(command: &mut Command) {
    exec::close(command, startup::closed_streams().collect());
}

/// Which namespaces a command has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Namespaces {
    /// The network: its own `net` knobs, most of them at the kernel's defaults, and no interface but a `lo` that is down.
    pub net: bool,
    /// Host and domain name: its own `kernel/hostname` and `kernel/domainname`, with the values of ours.
    pub uts: bool,
    /// System V IPC and message queues: its own `kernel/shm*`, `kernel/msg*`, `kernel/sem`, `fs/mqueue`.
    pub ipc: bool,
    /// Mounts: a copy of ours, from which nothing comes back.
    pub mount: bool,
}

/// Makes `command` run in fresh namespaces, which takes `CAP_SYS_ADMIN`. Without it, starting the command fails.
///
/// To judge a policy by a command that writes knobs without touching the machine's: set the namespaces that have
/// the knobs in question.
pub fn with_private_namespaces(command: &mut Command, namespaces: Namespaces) {
    let Namespaces { net, uts, ipc, mount } = namespaces;
    let mut flags = UnshareFlags::empty();
    flags.set(UnshareFlags::NEWNET, net);
    flags.set(UnshareFlags::NEWUTS, uts);
    flags.set(UnshareFlags::NEWIPC, ipc);
    flags.set(UnshareFlags::NEWNS, mount);
    if !flags.is_empty() {
        exec::unshare(command, flags);
    }
}

/// A process, held so that its id cannot come to mean another one (pidfd_open(2), Linux 5.3).
#[derive(Debug)]
pub struct ProcessFd {
    fd: OwnedFd,
}

impl ProcessFd {
    /// Takes hold of a process. Of a child that was not yet waited for it is sure to be that child.
    ///
    /// # Errors
    ///
    /// `ESRCH` when there is none, `ENOSYS` before Linux 5.3.
    pub fn open(process: ProcessId) -> io::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "it is the id of one process")]
        Ok(Self { fd: rustix::process::pidfd_open(process.as_pid(), PidfdFlags::empty())? })
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// `ESRCH` when it has ended, `EPERM`.
    pub fn send(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.fd, signal)?)
    }
}

impl AsFd for ProcessFd {
    /// Becomes readable when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A duplicate that is not 0, 1 or 2: over these the child puts its standard streams before it comes to use it.
fn clear_of_stdio(fd: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    fcntl_dupfd_cloexec(fd, 3)
}
