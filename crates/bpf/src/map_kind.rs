//! The kinds of map that Linux has, and where programs for this hook can use them.
//!
//! The numbers and names are those of 7.2: `enum bpf_map_type` in include/uapi/linux/bpf.h. Which helpers take a map is in
//! `check_map_func_compatibility` of kernel/bpf/verifier.c. docs/support.md lists all kinds.

/// Where programs for this hook can use a kind of map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapSupport {
    /// On the kernel and in the model of it.
    Modelled {
        /// The first release in which programs for this hook can use it.
        since: (u16, u16),
    },
    /// Only on the kernel.
    KernelOnly {
        /// The first release in which programs for this hook can use it.
        since: (u16, u16),
    },
    /// Nowhere.
    Unsupported {
        /// Why.
        reason: &'static str,
    },
}

macro_rules! map_kinds {
    (@support modelled $major:literal $minor:literal) => { MapSupport::Modelled { since: ($major, $minor) } };
    (@support kernel $major:literal $minor:literal) => { MapSupport::KernelOnly { since: ($major, $minor) } };
    (@support unsupported $reason:literal) => { MapSupport::Unsupported { reason: $reason } };
    ($(
        $(#[$default:meta])?
        $variant:ident = $number:literal $constant:literal $name:literal ($($support:tt)*),
    )*) => {
        /// The kinds of map; the discriminant is the kernel's `enum bpf_map_type`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[repr(u32)]
        #[non_exhaustive]
        pub enum MapKind {
            $(
                #[doc = concat!("`BPF_MAP_TYPE_", $constant, "`")]
                $(#[$default])?
                $variant = $number,
            )*
        }

        impl MapKind {
            /// All kinds, by number.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name, as `bpftool` names it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Where programs for this hook can use it.
            pub const fn support(self) -> MapSupport {
                match self {
                    $(Self::$variant => map_kinds!(@support $($support)*),)*
                }
            }
        }
    };
}

map_kinds! {
    Hash = 1 "HASH" "hash" (modelled 5 2),
    #[default]
    Array = 2 "ARRAY" "array" (modelled 5 2),
    ProgArray = 3 "PROG_ARRAY" "prog_array" (modelled 5 8),
    PerfEventArray = 4 "PERF_EVENT_ARRAY" "perf_event_array" (modelled 5 8),
    PercpuHash = 5 "PERCPU_HASH" "percpu_hash" (modelled 5 2),
    PercpuArray = 6 "PERCPU_ARRAY" "percpu_array" (modelled 5 2),
    StackTrace = 7 "STACK_TRACE" "stack_trace" (unsupported "programs for this hook cannot call bpf_get_stackid"),
    CgroupArray = 8 "CGROUP_ARRAY" "cgroup_array" (modelled 6 12),
    LruHash = 9 "LRU_HASH" "lru_hash" (modelled 5 2),
    LruPercpuHash = 10 "LRU_PERCPU_HASH" "lru_percpu_hash" (modelled 5 2),
    LpmTrie = 11 "LPM_TRIE" "lpm_trie" (modelled 5 2),
    ArrayOfMaps = 12 "ARRAY_OF_MAPS" "array_of_maps" (modelled 5 2),
    HashOfMaps = 13 "HASH_OF_MAPS" "hash_of_maps" (modelled 5 2),
    Devmap = 14 "DEVMAP" "devmap" (unsupported "programs for this hook have no packets to redirect"),
    Sockmap = 15 "SOCKMAP" "sockmap" (unsupported "programs for this hook cannot call bpf_sk_release"),
    Cpumap = 16 "CPUMAP" "cpumap" (unsupported "programs for this hook have no packets to redirect"),
    Xskmap = 17 "XSKMAP" "xskmap" (unsupported "programs for this hook have no packets to redirect"),
    Sockhash = 18 "SOCKHASH" "sockhash" (unsupported "programs for this hook cannot call bpf_sk_release"),
    CgroupStorage = 19 "CGROUP_STORAGE" "cgroup_storage" (modelled 5 2),
    ReuseportSockarray = 20 "REUSEPORT_SOCKARRAY" "reuseport_sockarray"
        (unsupported "programs for this hook cannot call bpf_sk_select_reuseport"),
    PercpuCgroupStorage = 21 "PERCPU_CGROUP_STORAGE" "percpu_cgroup_storage" (modelled 5 2),
    Queue = 22 "QUEUE" "queue" (modelled 5 2),
    Stack = 23 "STACK" "stack" (modelled 5 2),
    SkStorage = 24 "SK_STORAGE" "sk_storage" (unsupported "programs for this hook cannot call bpf_sk_storage_get"),
    DevmapHash = 25 "DEVMAP_HASH" "devmap_hash" (unsupported "programs for this hook have no packets to redirect"),
    StructOps = 26 "STRUCT_OPS" "struct_ops" (unsupported "programs for this hook are not called by the kernel's structures"),
    Ringbuf = 27 "RINGBUF" "ringbuf" (modelled 5 8),
    InodeStorage = 28 "INODE_STORAGE" "inode_storage"
        (unsupported "programs for this hook cannot call bpf_inode_storage_get"),
    TaskStorage = 29 "TASK_STORAGE" "task_storage" (kernel 6 16),
    BloomFilter = 30 "BLOOM_FILTER" "bloom_filter" (kernel 5 16),
    UserRingbuf = 31 "USER_RINGBUF" "user_ringbuf" (kernel 6 1),
    CgrpStorage = 32 "CGRP_STORAGE" "cgrp_storage" (kernel 6 2),
    Arena = 33 "ARENA" "arena" (unsupported "its memory and its kernel functions are not supported"),
    InsnArray = 34 "INSN_ARRAY" "insn_array" (unsupported "jumps to addresses (gotox) are not supported"),
    Rhash = 35 "RHASH" "rhash" (kernel 7 2),
}

impl MapKind {
    /// The kernel's number of it.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The kind with this number, if Linux 7.2 has one.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.number() == number)
    }

    /// Whether the model has it.
    pub const fn is_modelled(self) -> bool {
        matches!(self.support(), MapSupport::Modelled { .. })
    }

    /// Whether each CPU has a value of its own under a key.
    pub const fn is_per_cpu(self) -> bool {
        matches!(self, Self::PercpuHash | Self::PercpuArray | Self::LruPercpuHash | Self::PercpuCgroupStorage)
    }

    /// Whether a program has one value for each attachment.
    pub const fn is_cgroup_storage(self) -> bool {
        matches!(self, Self::CgroupStorage | Self::PercpuCgroupStorage)
    }

    /// Whether its values are maps.
    pub const fn has_inner_maps(self) -> bool {
        matches!(self, Self::ArrayOfMaps | Self::HashOfMaps)
    }

    /// Whether its values belong to objects of the kernel: tasks, cgroups, sockets, inodes.
    pub const fn is_local_storage(self) -> bool {
        matches!(self, Self::SkStorage | Self::InodeStorage | Self::TaskStorage | Self::CgrpStorage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_numbered_like_the_kernels_types() {
        assert!(MapKind::ALL.iter().map(|kind| kind.number()).eq(1..=35));
        for kind in MapKind::ALL {
            assert_eq!(MapKind::from_number(kind.number()), Some(*kind));
        }
        assert_eq!(MapKind::from_number(0), None);
        assert_eq!(MapKind::from_number(36), None);
    }
}
