//! The flags of maps, by name.

use crate::MapKind;

/// A flag with the kernel's name for it: include/uapi/linux/bpf.h.
type Flag = (u32, &'static str);

const NO_PREALLOC: Flag = (1 << 0, "BPF_F_NO_PREALLOC");
const NO_COMMON_LRU: Flag = (1 << 1, "BPF_F_NO_COMMON_LRU");
const NUMA_NODE: Flag = (1 << 2, "BPF_F_NUMA_NODE");
const RDONLY: Flag = (1 << 3, "BPF_F_RDONLY");
const WRONLY: Flag = (1 << 4, "BPF_F_WRONLY");
const STACK_BUILD_ID: Flag = (1 << 5, "BPF_F_STACK_BUILD_ID");
const ZERO_SEED: Flag = (1 << 6, "BPF_F_ZERO_SEED");
const RDONLY_PROG: Flag = (1 << 7, "BPF_F_RDONLY_PROG");
const WRONLY_PROG: Flag = (1 << 8, "BPF_F_WRONLY_PROG");
const CLONE: Flag = (1 << 9, "BPF_F_CLONE");
const MMAPABLE: Flag = (1 << 10, "BPF_F_MMAPABLE");
const PRESERVE_ELEMS: Flag = (1 << 11, "BPF_F_PRESERVE_ELEMS");
const INNER_MAP: Flag = (1 << 12, "BPF_F_INNER_MAP");
const LINK: Flag = (1 << 13, "BPF_F_LINK");
const PATH_FD: Flag = (1 << 14, "BPF_F_PATH_FD");
const VTYPE_BTF_OBJ_FD: Flag = (1 << 15, "BPF_F_VTYPE_BTF_OBJ_FD");
const TOKEN_FD: Flag = (1 << 16, "BPF_F_TOKEN_FD");
const SEGV_ON_FAULT: Flag = (1 << 17, "BPF_F_SEGV_ON_FAULT");
const NO_USER_CONV: Flag = (1 << 18, "BPF_F_NO_USER_CONV");

const FLAGS: [Flag; 19] = [
    NO_PREALLOC,
    NO_COMMON_LRU,
    NUMA_NODE,
    RDONLY,
    WRONLY,
    STACK_BUILD_ID,
    ZERO_SEED,
    RDONLY_PROG,
    WRONLY_PROG,
    CLONE,
    MMAPABLE,
    PRESERVE_ELEMS,
    INNER_MAP,
    LINK,
    PATH_FD,
    VTYPE_BTF_OBJ_FD,
    TOKEN_FD,
    SEGV_ON_FAULT,
    NO_USER_CONV,
];

/// Who may access a map (`BPF_F_ACCESS_MASK`).
const ACCESS: u32 = RDONLY.0 | WRONLY.0 | RDONLY_PROG.0 | WRONLY_PROG.0;

/// The names of flags of maps, joined by `|`; the number of those without a name.
pub fn map_flag_names(flags: u32) -> String {
    let known = FLAGS.iter().filter(|(bit, _)| flags & bit != 0);
    let mut names: Vec<String> = known.map(|(_, name)| (*name).to_owned()).collect();
    let rest = FLAGS.iter().fold(flags, |rest, (bit, _)| rest & !bit);
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    names.join("|")
}

impl MapKind {
    /// The flags that every map of this kind has: the kernel rejects one without.
    pub const fn implied_flags(self) -> u32 {
        if let Self::LpmTrie = self { NO_PREALLOC.0 } else { 0 }
    }

    /// The flags of maps of this kind that Linux 6.18 rejects: the `map_alloc_check` of each kind.
    pub fn invalid_flags(self, flags: u32) -> u32 {
        let of_array = NUMA_NODE.0 | ACCESS;
        let of_hash = NO_PREALLOC.0 | NO_COMMON_LRU.0 | NUMA_NODE.0 | ZERO_SEED.0 | ACCESS;
        let of_programs = RDONLY_PROG.0 | WRONLY_PROG.0;
        let valid = match self {
            Self::Array => of_array | MMAPABLE.0 | INNER_MAP.0,
            Self::PercpuArray => ACCESS,
            Self::PerfEventArray => (of_array | PRESERVE_ELEMS.0) & !of_programs,
            Self::ProgArray | Self::CgroupArray | Self::ArrayOfMaps => of_array & !of_programs,
            Self::Hash | Self::HashOfMaps => of_hash & !NO_COMMON_LRU.0,
            Self::PercpuHash => of_hash & !NO_COMMON_LRU.0 & !NUMA_NODE.0,
            Self::LruHash => of_hash & !NO_PREALLOC.0,
            Self::LruPercpuHash => of_hash & !NO_PREALLOC.0 & !NUMA_NODE.0,
            Self::LpmTrie => NO_PREALLOC.0 | NUMA_NODE.0 | ACCESS,
            Self::Queue | Self::Stack | Self::CgroupStorage | Self::PercpuCgroupStorage => of_array,
            Self::Ringbuf => NUMA_NODE.0,
            // The kernel alone has them.
            _ => u32::MAX,
        };
        let contradicting = if flags & of_programs == of_programs { of_programs } else { 0 };
        flags & (!valid | contradicting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_the_kernels_names() {
        assert_eq!(map_flag_names(0), "");
        assert_eq!(map_flag_names(1), "BPF_F_NO_PREALLOC");
        assert_eq!(map_flag_names(0x8000_0480), "BPF_F_RDONLY_PROG|BPF_F_MMAPABLE|0x80000000");
        assert!(FLAGS.iter().enumerate().all(|(index, (bit, _))| *bit == 1 << index));
    }
}
