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
}

impl Features {
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
    };

    /// All features; 7.2 and later have them.
    pub const ALL: Self = Self {
        set_retval: true,
        set_new_value: true,
        current_comm: true,
        current_uid_gid: true,
        uninit_stack: true,
        variable_stack: true,
        long_jump: true,
        bpf_loop: true,
    };
}
