//! The context of a program: the offsets in `struct bpf_sysctl`, include/uapi/linux/bpf.h.

/// 4 bytes: 0 for a read, 1 for a write.
pub(super) const WRITE: i16 = 0;
/// 4 bytes: the low half of the file position.
pub(super) const FILE_POS: i16 = 4;
