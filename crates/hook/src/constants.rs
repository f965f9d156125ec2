//! The kernel's constants that more than one part of the model needs.

/// `BPF_CGROUP_SYSCTL` of `enum bpf_attach_type`
pub(crate) const BPF_CGROUP_SYSCTL: u32 = 18;

/// `MAX_BPF_STACK`: bytes of stack of one function, and of all functions on the call chain together.
pub(crate) const MAX_BPF_STACK: usize = 512;

/// The largest `MAX_CALL_FRAMES` of any kernel; [`Profile::call_frames`](crate::Profile::call_frames) is that of one.
pub(crate) const MAX_CALL_FRAMES: usize = 16;

/// `BPF_MAX_LOOPS`: how often `bpf_loop` calls back, and how often `may_goto` continues in one function.
pub(crate) const BPF_MAX_LOOPS: u32 = 8 << 20;

/// `MAX_ERRNO`
pub(crate) const MAX_ERRNO: i32 = 4095;
