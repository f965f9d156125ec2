//! What names the objects of a [`Hook`](crate::Hook).

/// Names a cgroup of a [`Hook`](crate::Hook): what `bpf_get_current_cgroup_id` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupId(pub(crate) u64);

impl CgroupId {
    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Names a program of a [`Hook`](crate::Hook).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProgramId(pub(crate) u32);

/// Names a link of a [`Hook`](crate::Hook).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub(crate) u32);
