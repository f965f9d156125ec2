//! Processes: who accesses knobs, with which credentials, and from which cgroup.

use crate::{CgroupId, Namespaces, Task};

/// The credentials against which the modes of knobs are checked: effective ids in the initial user namespace. The default
/// is root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// Effective user id (not `fsuid`).
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// A single-threaded process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// What programs see of it. The hook maintains its cgroups.
    pub task: Task,
    /// Its credentials.
    pub credentials: Credentials,
}

impl Process {
    /// With this user id, real and effective.
    #[must_use]
    pub fn uid(mut self, uid: u32) -> Self {
        (self.task.uid, self.credentials.euid) = (uid, uid);
        self
    }

    /// With this group id, real and effective.
    #[must_use]
    pub fn gid(mut self, gid: u32) -> Self {
        (self.task.gid, self.credentials.egid) = (gid, gid);
        self
    }

    /// With this process id, which is also the id of its only thread. Otherwise the hook gives it the next free one.
    #[must_use]
    pub fn pid(mut self, pid: u32) -> Self {
        (self.task.tgid, self.task.pid) = (pid, pid);
        self
    }

    /// With this parent (`real_parent` of its `task_struct`).
    ///
    /// ```
    /// use knobgate_hook::prelude::*;
    ///
    /// let mut hook = Hook::default();
    /// let service = hook.create_cgroup(hook.root(), "web.service")?;
    /// let shell = hook.spawn(service, Process::default().pid(700).comm("sh"))?;
    /// let shell = hook.process(shell)?.clone();
    /// let nginx = Process::default().comm("nginx").uid(33).parent(shell);
    /// hook.spawn(service, nginx)?;
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn parent(mut self, mut parent: Self) -> Self {
        parent.effective_ids();
        self.task.parent = Some(Box::new(parent.task));
        self
    }

    /// In these namespaces.
    #[must_use]
    pub fn namespaces(mut self, namespaces: Namespaces) -> Self {
        self.task.namespaces = namespaces;
        self
    }

    /// Puts the effective ids where programs see them.
    pub(crate) fn effective_ids(&mut self) {
        (self.task.euid, self.task.egid) = (Some(self.credentials.euid), Some(self.credentials.egid));
    }

    /// With this name (`bpf_get_current_comm`), of which the kernel keeps 15 bytes.
    #[must_use]
    pub fn comm(mut self, comm: &str) -> Self {
        self.task.comm = comm.bytes().take(15).collect();
        self
    }
}

/// The id of a process of a [`Hook`](crate::Hook).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId(pub(crate) u32);

/// A process of a [`Hook`](crate::Hook), with the cgroup that it is in.
#[derive(Debug)]
pub(crate) struct ProcessEntry {
    pub(crate) process: Process,
    pub(crate) cgroup: CgroupId,
}
