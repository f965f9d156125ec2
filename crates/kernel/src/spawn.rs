//! Starting commands in a cgroup and in new namespaces.
//!
//! The child applies this in the order of the calls, after it has changed its user and directory and before it
//! executes. So the command itself never runs outside its cgroup.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{PidfdFlags, Signal, pidfd_send_signal};
use rustix::thread::UnshareFlags;

use crate::cgroup::Cgroup;
use crate::cgroup_error::CgroupError;
use crate::process_id::ProcessId;
use crate::sys::clone_into_cgroup::{SpawnError, spawn_into};
use crate::sys::{exec, startup};

/// Makes `command` start inside `cgroup`.
///
/// This opens `cgroup.procs` now, with the permissions of this process, so that a command with another user or other
/// namespaces can enter, too (Linux 5.16 and stable trees; before, the kernel checked the permissions of the command).
///
/// # Errors
///
/// [`CgroupError::Io`] if `cgroup.procs` cannot be opened. If the cgroup cannot be entered, starting the command fails.
pub fn start_inside(command: &mut Command, cgroup: &Cgroup) -> Result<(), CgroupError> {
    let procs = cgroup.open_procs()?;
    let procs = clear_of_stdio(procs.as_fd()).map_err(|error| CgroupError::Io {
        doing: "open cgroup.procs of",
        path: cgroup.path().to_owned(),
        error: error.into(),
    })?;
    exec::enter_cgroup(command, procs);
    Ok(())
}

/// Starts `command` inside `cgroup` and returns its process id. The standard streams of the command must be inherited
/// or files.
///
/// clone3(2) with `CLONE_INTO_CGROUP` (Linux 5.7) takes microseconds. On older kernels, under a seccomp(2) filter, or
/// if this process has several threads, the command [enters](start_inside) the cgroup instead. That waits for an RCU
/// grace period, often for more than ten milliseconds.
///
/// # Errors
///
/// As [`Command::spawn`] and [`start_inside`]: `EAGAIN` at the limit of processes (`pids.max`), `EOPNOTSUPP` in a
/// cgroup that cannot have processes ([`CgroupType::DomainInvalid`](crate::CgroupType::DomainInvalid)).
pub fn spawn_inside(command: &mut Command, cgroup: &Cgroup) -> io::Result<ProcessId> {
    match spawn_into(command, cgroup.as_fd()) {
        Ok(child) => Ok(child),
        Err(SpawnError::ExecFailed(error)) => Err(error),
        Err(SpawnError::CloneFailed) => {
            start_inside(command, cgroup).map_err(io::Error::other)?;
            Ok(ProcessId::of_child(&command.spawn()?))
        }
    }
}

/// Closes the standard streams of `command` that were closed when this process was started. (Rust opens `/dev/null` for
/// these.) Not for a command whose streams are redirected.
pub fn keep_closed_streams(command: &mut Command) {
    exec::close(command, startup::closed_streams().collect());
}

/// Which new namespaces a command gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Namespaces {
    /// Network: its own `net` knobs, most of them at the kernel's defaults, and no interface except a `lo` that is
    /// down.
    pub net: bool,
    /// UTS: its own `kernel/hostname` and `kernel/domainname`, with our values.
    pub uts: bool,
    /// IPC: its own `kernel/shm*`, `kernel/msg*`, `kernel/sem`, `fs/mqueue`.
    pub ipc: bool,
    /// Mounts: a copy of ours, without propagation.
    pub mount: bool,
}

/// Makes `command` run in new namespaces. Without `CAP_SYS_ADMIN`, starting it fails.
///
/// A command can so write the knobs of these namespaces without changing those of the host.
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

/// A pidfd: a process whose id cannot be reused (pidfd_open(2), Linux 5.3).
#[derive(Debug)]
pub struct ProcessFd {
    fd: OwnedFd,
}

impl ProcessFd {
    /// Opens a process. For a child that was not waited for yet, it is certain to be that child.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is none, `ENOSYS` before Linux 5.3.
    pub fn open(process: ProcessId) -> io::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "it is the id of one process")]
        Ok(Self { fd: rustix::process::pidfd_open(process.as_pid(), PidfdFlags::empty())? })
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// `ESRCH` if it has ended, `EPERM`.
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

/// A duplicate other than 0, 1 and 2, which the child replaces with its standard streams before it uses this.
fn clear_of_stdio(fd: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    fcntl_dupfd_cloexec(fd, 3)
}
