//! Processes: who makes accesses, with which rights, and from which cgroup.

use crate::{CgroupId, Task};

/// By what the permissions of knobs are judged: effective ids in the initial user namespace. Those of `Default` are root's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// Effective user id (`fsuid` plays no part).
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// A process, of one thread.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// What programs see of it. Its cgroups are kept up by the hook.
    pub task: Task,
    /// Its rights.
    pub credentials: Credentials,
}

/// Names a process of a [`Hook`](crate::Hook).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId(pub(crate) u32);

/// A process where it lives.
#[derive(Debug)]
pub(crate) struct ProcessEntry {
    pub(crate) process: Process,
    pub(crate) cgroup: CgroupId,
}
