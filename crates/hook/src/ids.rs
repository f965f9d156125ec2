//! The ids of cgroups, programs and links.

/// The id of a cgroup of a [`Hook`](crate::Hook): what `bpf_get_current_cgroup_id` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupId(pub(crate) u64);

impl CgroupId {
    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// The id of a program of a [`Hook`](crate::Hook).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProgramId(pub(crate) u32);

/// The id of a link of a [`Hook`](crate::Hook).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub(crate) u32);
