//! What one access gives the programs that run on it: `struct bpf_sysctl_kern` in include/linux/filter.h, and the task.

use crate::Profile;

/// One access as the programs see it, one after another. What they change, the later ones see.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// Whether the knob is written.
    pub write: bool,
    /// The file position (`ki_pos`), in bytes. Programs see and change its low 32 bits.
    pub position: i64,
    /// The name of the knob: its path below `/proc/sys`, without a leading slash.
    pub name: &'a str,
    /// What an internal read of the knob returned, at most 4096 bytes; empty where it failed.
    pub current: &'a [u8],
    /// The first 4096 bytes of what is written, or what replaced them; `None` for reads and for empty writes.
    pub new: Option<Vec<u8>>,
    /// Whether a program has replaced the new value.
    pub replaced: bool,
    /// What `bpf_get_retval` returns and `bpf_set_retval` sets.
    pub retval: i32,
    /// Who makes the access.
    pub task: &'a Task,
    /// Which kernel this is.
    pub profile: &'a Profile,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Task {
    /// Process (thread group) id.
    pub tgid: u32,
    /// Thread id.
    pub pid: u32,
    /// Real user id in the initial user namespace.
    pub uid: u32,
    /// Real group id in the initial user namespace.
    pub gid: u32,
    /// Name; at most 15 bytes.
    pub comm: Vec<u8>,
    /// The ids of its cgroup and all that cgroup's ancestors, from the root down.
    pub cgroups: Vec<u64>,
}
