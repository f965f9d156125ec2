//! The features of a kernel that compiled code depends on.

/// The features of the kernel that a program is compiled for. They come from probes, because versions prove nothing, or are
/// chosen so that the program runs on many kernels.
///
/// Later versions add fields. So start from a constant, and change what is different:
///
/// ```
/// use knobgate_bpf::Features;
///
/// let features = Features { set_retval: true, ..Features::BASELINE };
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// `bpf_set_retval` can be called: a denial can carry any errno. Without it every denial is `EPERM`.
    pub set_retval: bool,
    /// `bpf_sysctl_set_new_value` has an effect. Without it a rewrite is silently dropped by the kernel.
    pub set_new_value: bool,
    /// `bpf_get_current_comm` can be called.
    pub current_comm: bool,
    /// `bpf_get_current_uid_gid` can be called.
    pub current_uid_gid: bool,
    /// Helpers may read uninitialized stack.
    pub uninit_stack: bool,
    /// The stack can be written at a variable offset.
    pub variable_stack: bool,
    /// The `gotol` instruction of ISA v4: jumps beyond 32,767 instructions.
    pub long_jump: bool,
    /// `bpf_loop` can be called: a loop whose body the verifier follows once, however often it runs.
    pub bpf_loop: bool,
    /// Atomic operations can return the old value.
    pub atomic_fetch: bool,
    /// How programs find out which network namespace owns a knob; `None` if they cannot.
    pub knob_owner: Option<KnobOwner>,
}

/// How programs find out whether the network namespace of the host owns a knob below `net/`, with `bpf_probe_read_kernel`: from
/// the context to the set of knobs that it is in, and from there to the namespace. The offsets are in bytes, and differ from
/// kernel to kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnobOwner {
    /// `bpf_sysctl_kern.head`
    pub head: i16,
    /// `ctl_table_header.set`
    pub set: i16,
    /// `ctl_table_set.is_seen`, which is null in the set of the knobs that are not a namespace's.
    pub is_seen: i16,
    /// From the set, which is `net.sysctls`, to `net.ns.inum`.
    pub inum: i32,
    /// The number of the host's network namespace, which holds until the next boot.
    pub host: u32,
}

impl Features {
    /// Whether compiled policies can look at values of up to 4,095 bytes, which is all that the hook shows. They loop over them in
    /// memory that they lock. Elsewhere they take values of up to 135 bytes, for which there is room on the stack.
    pub const fn long_values(&self) -> bool {
        self.bpf_loop && self.atomic_fetch
    }

    /// What every kernel with links for this hook has (5.7 and later): only the hook's own helpers and
    /// `bpf_get_current_uid_gid`.
    pub const BASELINE: Self = Self {
        set_retval: false,
        set_new_value: true,
        current_comm: false,
        current_uid_gid: true,
        uninit_stack: false,
        variable_stack: false,
        long_jump: false,
        bpf_loop: false,
        atomic_fetch: false,
        knob_owner: None,
    };

    /// All features that do not differ from kernel to kernel; 7.2 and later have them.
    pub const ALL: Self = Self {
        set_retval: true,
        set_new_value: true,
        current_comm: true,
        current_uid_gid: true,
        uninit_stack: true,
        variable_stack: true,
        long_jump: true,
        bpf_loop: true,
        atomic_fetch: true,
        knob_owner: None,
    };
}

/// What programs of a kernel can report about an access, in addition to what the hook itself tells them. Programs that report need
/// ring buffers, arrays of maps and queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventFeatures {
    /// `bpf_get_current_pid_tgid` can be called.
    pub current_pid_tgid: bool,
    /// The members of a task, with `bpf_get_current_task_btf`.
    pub task: Option<TaskOffsets>,
}

/// Offsets in bytes of the members of a task, and of those through which its namespaces are found. They differ from kernel to
/// kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskOffsets {
    /// `task_struct.pid`, the number of the thread
    pub tid: i16,
    /// `task_struct.tgid`, the number of the process
    pub tgid: i16,
    /// `task_struct.comm`
    pub comm: i16,
    /// `cred.uid`
    pub uid: i16,
    /// `cred.gid`
    pub gid: i16,
    /// `task_struct.nsproxy`
    pub nsproxy: i16,
    /// `nsproxy.net_ns`, `uts_ns`, `ipc_ns` and `mnt_ns`
    pub of_nsproxy: [i16; 4],
    /// `ns.inum` in `net`, `uts_namespace`, `ipc_namespace` and `mnt_namespace`
    pub inums: [i16; 4],
    /// `task_struct.cred`
    pub cred: i16,
    /// `cred.user_ns`
    pub user: i16,
    /// `user_namespace.ns.inum`
    pub user_inum: i16,
    /// `task_struct.thread_pid`
    pub thread_pid: i16,
    /// How many elements of `pid.numbers` the verifier lets programs look at; the others can be read by helper.
    pub typed_numbers: u8,
    /// `pid.level`
    pub level: i16,
    /// `pid.numbers`
    pub numbers: i16,
    /// `sizeof(struct upid)`
    pub number_bytes: i16,
    /// `upid.ns`
    pub pid: i16,
    /// `pid_namespace.ns.inum`
    pub pid_inum: i16,
}
