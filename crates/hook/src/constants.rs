//! The kernel's constants that more than one part of the model needs.

/// `MAX_BPF_STACK`: bytes of stack of one function, and of all functions on the call chain together.
pub(crate) const MAX_BPF_STACK: usize = 512;

/// The largest `MAX_CALL_FRAMES` of any kernel; [`Profile::call_frames`](crate::Profile::call_frames) is that of one.
pub(crate) const MAX_CALL_FRAMES: usize = 16;
