//! The guard of a cgroup: a process that tears it down if this process dies.
//!
//! If the process that started a command under a policy is killed, the command would go on in a cgroup that nobody
//! removes. So the guard notices the death of its parent, kills the command, and removes the cgroup.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, send, shutdown, socketpair};
use rustix::process::{WaitOptions, WaitStatus};

use crate::cgroup::Cgroup;
use crate::cgroup_error::CgroupError;
use crate::process_id::ProcessId;
use crate::sys::fork::{GuardedCgroup, fork_guard};

/// A running guard.
///
/// When this process ends in any way, or this value is dropped (as in a panic), the guard kills everything in the
/// cgroup and below, waits for its end, and removes the cgroup. Only [`dismiss`](Self::dismiss) ends the guard without
/// that.
#[derive(Debug)]
pub struct Guard {
    process: ProcessId,
    alive: Option<OwnedFd>,
}

/// Why a guard cannot be started or dismissed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The directory of the cgroup cannot be used.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The process cannot be created.
    #[error("cannot start the guard process of a cgroup: {error}")]
    Start {
        /// What went wrong.
        error: io::Error,
    },
    /// The guard has ended already.
    #[error("the guard process of the cgroup has ended too early: somebody killed it")]
    Gone,
}

/// Starts the guard of `cgroup`.
///
/// The guard is a child of this process, in the cgroup of this process, named `knobgate-guard`. It has its own session,
/// blocks all signals except `SIGKILL`, and holds only the descriptors that it needs. Tracing it takes `CAP_SYS_PTRACE`
/// (`PR_SET_DUMPABLE`). Killing this process and the guard at the same time defeats it, as `cgroup.kill` on *our*
/// cgroup does.
///
/// # Errors
///
/// [`GuardError::Start`], [`Cgroup`](GuardError::Cgroup).
pub fn guard(cgroup: &Cgroup) -> Result<Guard, GuardError> {
    let start = |error: Errno| GuardError::Start { error: error.into() };
    let (parent, name) = cgroup.parent_and_name()?;
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(start)?;
    let process = fork_guard(&GuardedCgroup {
        alive: theirs.as_fd(),
        cgroup: cgroup.as_fd(),
        parent: parent.as_fd(),
        name: &name,
    })
    .map_err(start)?;
    Ok(Guard { process, alive: Some(ours) })
}

impl Guard {
    /// The guard's process id.
    pub fn process(&self) -> ProcessId {
        self.process
    }

    /// Ends the guard, and leaves the cgroup and its processes as they are.
    ///
    /// # Errors
    ///
    /// [`GuardError::Gone`] if it has ended already.
    pub fn dismiss(mut self) -> Result<(), GuardError> {
        let Some(alive) = self.alive.take() else { return Err(GuardError::Gone) };
        // Pipes do not have this flag, so this is a socket.
        let sent = send(&alive, b".", SendFlags::NOSIGNAL);
        match (sent, self.wait(&alive, Duration::from_secs(5))) {
            (Ok(_), Some(0)) => Ok(()),
            _ => Err(GuardError::Gone),
        }
    }

    /// Waits for the guard's end, and returns its exit status. The guard holds the other end of `alive`.
    fn wait(&self, alive: &OwnedFd, at_most: Duration) -> Option<i32> {
        let deadline = Instant::now() + at_most;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(alive, PollFlags::IN)], Some(&left)) {
                Ok(0) => return None,
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        // Its descriptors are closed shortly before it ends.
        self.process.wait(WaitOptions::empty()).ok().flatten().and_then(WaitStatus::exit_status)
    }
}

impl AsFd for Guard {
    /// Becomes readable when the guard has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.alive.as_ref().expect("taken only by what consumes the guard").as_fd()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(alive) = self.alive.take() {
            // The guard waits for the end of file.
            let _ = shutdown(&alive, Shutdown::Write);
            self.wait(&alive, Duration::from_secs(10));
        }
    }
}
