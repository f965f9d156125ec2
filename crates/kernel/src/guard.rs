//! The guard of a cgroup: a process that sees to its end when this one cannot.
//!
//! If the process that started a command under a policy is killed, the command would run on in a cgroup that nobody removes.
//! So when its guard hears that its parent has died, it ends the command and clears up.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, send, shutdown, socketpair};
use rustix::process::{WaitOptions, WaitStatus};

use crate::cgroup::{Cgroup, CgroupError};
use crate::process_id::ProcessId;
use crate::sys::fork::{GuardedCgroup, fork_guard};

/// A guard that is on watch.
///
/// If this process ends, however it does, or this value is dropped (a panic does that), the guard kills all that runs
/// in the cgroup and below, waits for it to end, and removes the cgroup. Only [`dismiss`](Self::dismiss) sends it away without.
#[derive(Debug)]
pub struct Guard {
    process: ProcessId,
    alive: Option<OwnedFd>,
}

/// Why there is no guard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The cgroup's own directory cannot be used.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// There could be no process.
    #[error("cannot start the guard process of a cgroup: {source}")]
    Start {
        /// What went wrong.
        source: io::Error,
    },
    /// The guard has ended before its time.
    #[error("the guard process of the cgroup has ended before its time: someone killed it")]
    Gone,
}

/// Starts the guard of `cgroup`.
///
/// The guard is a child of this process, in the same cgroup as this one, named `knobgate-guard`. It is of a session of
/// its own, blocks all signals (`SIGKILL` ends it), holds no descriptor but those it needs, and can be traced with
/// `CAP_SYS_PTRACE` alone (`PR_SET_DUMPABLE`). Whoever kills this process and the guard at the same time, as `cgroup.kill` on *our*
/// cgroup does, defeats it.
///
/// # Errors
///
/// [`GuardError::Start`], [`Cgroup`](GuardError::Cgroup).
pub fn guard(cgroup: &Cgroup) -> Result<Guard, GuardError> {
    let start = |error: Errno| GuardError::Start { source: error.into() };
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

    /// Sends the guard away: all is clear. The cgroup and what runs there are left as they are.
    ///
    /// # Errors
    ///
    /// [`GuardError::Gone`] when it is not there any longer.
    pub fn dismiss(mut self) -> Result<(), GuardError> {
        let Some(alive) = self.alive.take() else { return Err(GuardError::Gone) };
        // A socket and not a pipe, for the sake of this flag.
        let told = send(&alive, b".", SendFlags::NOSIGNAL);
        match (told, self.wait(&alive, Duration::from_secs(5))) {
            (Ok(_), Some(0)) => Ok(()),
            _ => Err(GuardError::Gone),
        }
    }

    /// Waits for the guard's end; its exit status if it had one. `alive` is what the guard held the other end of.
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
        // Its descriptors go a moment before it does.
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
            // The end of what we send is what the guard waits for.
            let _ = shutdown(&alive, Shutdown::Write);
            self.wait(&alive, Duration::from_secs(10));
        }
    }
}
