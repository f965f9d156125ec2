//! The kernel's numbers: limits, flags and layouts, under the kernel's names. Each says which file of the kernel has it.

/// The most instructions of one program, and the most that the verifier processes for it: include/linux/bpf.h.
pub const BPF_COMPLEXITY_LIMIT_INSNS: usize = 1_000_000;

/// How often `bpf_loop` calls back, and how often `may_goto` continues in one function: include/linux/bpf.h.
pub const BPF_MAX_LOOPS: u32 = 8 << 20;

/// The most programs of one cgroup for one hook: kernel/bpf/cgroup.c.
pub const BPF_CGROUP_MAX_PROGS: usize = 64;

/// Bytes for the name of a program or map, its NUL included: include/uapi/linux/bpf.h.
pub const BPF_OBJ_NAME_LEN: usize = 16;

/// Bytes for the name of a task, its NUL included: include/linux/sched.h.
pub const TASK_COMM_LEN: usize = 16;

/// The largest errno that a system call returns: include/linux/err.h.
pub const MAX_ERRNO: i32 = 4095;

/// Bytes of the longest path, its NUL included: include/uapi/linux/limits.h.
pub const PATH_MAX: usize = 4096;

/// The type of this hook's programs, of `enum bpf_prog_type`: include/uapi/linux/bpf.h.
pub const BPF_PROG_TYPE_CGROUP_SYSCTL: u32 = 23;

/// The attach type of this hook, of `enum bpf_attach_type`: include/uapi/linux/bpf.h.
pub const BPF_CGROUP_SYSCTL: u32 = 18;

/// A flag for attaching: programs of the cgroups below override this one. include/uapi/linux/bpf.h.
pub const BPF_F_ALLOW_OVERRIDE: u32 = 1 << 0;

/// A flag for attaching: the cgroup and those below have several programs. include/uapi/linux/bpf.h.
pub const BPF_F_ALLOW_MULTI: u32 = 1 << 1;

/// A flag for attaching, and for updates of links: replace the given program. include/uapi/linux/bpf.h.
pub const BPF_F_REPLACE: u32 = 1 << 2;

/// A flag for attaching: before the given program or link, or first. include/uapi/linux/bpf.h.
pub const BPF_F_BEFORE: u32 = 1 << 3;

/// A flag for attaching: after the given program or link, or last. include/uapi/linux/bpf.h.
pub const BPF_F_AFTER: u32 = 1 << 4;

/// A flag for attaching: run before the programs of the cgroups below. include/uapi/linux/bpf.h.
pub const BPF_F_PREORDER: u32 = 1 << 6;

/// A flag for attaching: the position is relative to a link. include/uapi/linux/bpf.h.
pub const BPF_F_LINK: u32 = 1 << 13;

/// A flag of `bpf_sysctl_get_name()`: the last component alone. include/uapi/linux/bpf.h.
pub const BPF_F_SYSCTL_BASE_NAME: u32 = 1 << 0;

/// A flag of maps: entries are not allocated in advance. include/uapi/linux/bpf.h.
pub const BPF_F_NO_PREALLOC: u32 = 1 << 0;

/// A flag for descriptors of maps: user space can only read through it. include/uapi/linux/bpf.h.
pub const BPF_F_RDONLY: u32 = 1 << 3;

/// A flag of maps: programs can only read it. include/uapi/linux/bpf.h.
pub const BPF_F_RDONLY_PROG: u32 = 1 << 7;

/// A map that programs can only write.
pub const BPF_F_WRONLY_PROG: u32 = 1 << 8;

/// A flag of maps, programs and BTF: what is made is made with a BPF token (Linux 6.9).
pub const BPF_F_TOKEN_FD: u32 = 1 << 16;

/// A flag for updates of maps: create the entry or replace it. include/uapi/linux/bpf.h.
pub const BPF_ANY: u64 = 0;

/// A flag for updates of maps: create the entry. include/uapi/linux/bpf.h.
pub const BPF_NOEXIST: u64 = 1;

/// A flag for updates of maps: replace the entry. include/uapi/linux/bpf.h.
pub const BPF_EXIST: u64 = 2;

/// A flag for updates of maps: hold the lock in the value. include/uapi/linux/bpf.h.
pub const BPF_F_LOCK: u64 = 4;

/// Bytes before each record of a ring buffer: include/uapi/linux/bpf.h.
pub const BPF_RINGBUF_HDR_SZ: u64 = 8;

/// `struct bpf_sysctl`, the context of a program: include/uapi/linux/bpf.h.
pub mod bpf_sysctl {
    /// The offset of `write`, which is 0 for a read and 1 for a write.
    pub const WRITE: i16 = 0;

    /// The offset of `file_pos`, the low half of the file position.
    pub const FILE_POS: i16 = 4;

    /// Bytes of each of these members.
    pub const MEMBER_BYTES: i16 = 4;

    /// Bytes of the whole structure.
    pub const BYTES: i16 = 8;
}
