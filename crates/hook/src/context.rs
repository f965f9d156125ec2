//! The context of a program: [`bpf_sysctl`](knobgate_bpf::uapi::bpf_sysctl).

use knobgate_bpf::Size;
use knobgate_bpf::uapi::bpf_sysctl::{BYTES, FILE_POS, MEMBER_BYTES};

/// How the context is accessed: `enum bpf_access_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessType {
    Read,
    Write,
}

/// `sysctl_is_valid_access()` in kernel/bpf/cgroup.c: fields can be read in parts, and only `file_pos` can be written, as a
/// whole. Atomic operations are never valid.
pub(crate) fn sysctl_is_valid_access(off: i16, size: Size, access: AccessType) -> bool {
    let bytes = size.bytes() as i16;
    if off < 0 || off > BYTES - bytes || off % bytes != 0 {
        return false;
    }
    match access {
        AccessType::Read => bytes <= MEMBER_BYTES,
        AccessType::Write => off == FILE_POS && bytes == MEMBER_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_aligned_parts_and_only_file_pos_is_written() {
        for off in -8..16 {
            for size in [Size::U8, Size::U16, Size::U32, Size::U64] {
                let reads = match size {
                    Size::U8 => (0..8).contains(&off),
                    Size::U16 => matches!(off, 0 | 2 | 4 | 6),
                    Size::U32 => matches!(off, 0 | 4),
                    Size::U64 => false,
                };
                assert_eq!(sysctl_is_valid_access(off, size, AccessType::Read), reads, "{off} {size:?}");
                let writes = off == 4 && size == Size::U32;
                assert_eq!(sysctl_is_valid_access(off, size, AccessType::Write), writes, "{off} {size:?}");
            }
        }
        assert!(!sysctl_is_valid_access(i16::MAX, Size::U8, AccessType::Read));
    }
}
