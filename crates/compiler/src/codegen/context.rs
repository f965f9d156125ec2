//! The context of a program: the offsets in `struct bpf_sysctl`.

use knobgate_bpf::uapi::bpf_sysctl;

/// 4 bytes: 0 for a read, 1 for a write.
pub(super) const WRITE: i16 = bpf_sysctl::WRITE;
/// 4 bytes: the low half of the file position.
pub(super) const FILE_POS: i16 = bpf_sysctl::FILE_POS;
