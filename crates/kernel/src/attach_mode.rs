//! The attach mode of a cgroup.

use std::fmt;

use knobgate_bpf::uapi::{BPF_F_ALLOW_MULTI, BPF_F_ALLOW_OVERRIDE};

/// Which programs a cgroup and those below can have. The first attached program sets it, until the last one is
/// detached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttachMode {
    /// One program, and none on the cgroups below. (No flag.)
    Single,
    /// One program, which a program on a cgroup below overrides. (`BPF_F_ALLOW_OVERRIDE`)
    Override,
    /// Several programs, here and below. (`BPF_F_ALLOW_MULTI`; always used for links.)
    Multi,
}

impl fmt::Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::Override => "override",
            Self::Multi => "multi",
        })
    }
}

impl AttachMode {
    pub(crate) fn flags(self) -> u32 {
        match self {
            Self::Single => 0,
            Self::Override => BPF_F_ALLOW_OVERRIDE,
            Self::Multi => BPF_F_ALLOW_MULTI,
        }
    }

    pub(crate) fn from_flags(flags: u32) -> Self {
        if flags & BPF_F_ALLOW_MULTI != 0 {
            Self::Multi
        } else if flags & BPF_F_ALLOW_OVERRIDE != 0 {
            Self::Override
        } else {
            Self::Single
        }
    }
}
