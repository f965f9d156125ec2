//! Why a command cannot be run under a policy.

use std::io;

use knobgate_kernel::{BpfObjectError, CgroupError, GuardError, LinkError, TrackingError};

/// Why a command cannot be run under a policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Signals cannot be blocked.
    #[error("cannot block signals")]
    Signals(#[source] io::Error),
    /// The cgroup of the command cannot be created.
    #[error("cannot create a cgroup for the command")]
    Cgroup(#[from] CgroupError),
    /// The memory of events cannot be prepared.
    #[error("cannot prepare the memory of events")]
    Memory(#[from] BpfObjectError),
    /// The program cannot be attached to that cgroup.
    #[error("cannot attach the program to the command's cgroup")]
    Attach(#[from] LinkError),
    /// The guard cannot be started.
    #[error("cannot start the guard of the command's cgroup")]
    Guard(#[from] GuardError),
    /// Processes that leave are to be killed, and cannot be tracked.
    #[error("cannot kill processes that leave the policy")]
    Departures(#[from] TrackingError),
    /// The command cannot be started, in its cgroup or at all.
    #[error("cannot start the command")]
    Start(#[source] io::Error),
    /// The command cannot be waited for. It is killed.
    #[error("cannot wait for the command")]
    Wait(#[source] io::Error),
    /// The guard was killed, and no other one can be started. The command is killed.
    #[error("the command was killed, because its guard was killed and cannot be replaced")]
    Unguarded(#[source] GuardError),
}
