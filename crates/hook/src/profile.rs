//! Descriptions of kernels.

/// What differs between kernels, as far as programs of this hook can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// What people call it: `6.18`, `6.12-before-fixes`.
    pub name: &'static str,
    /// The release whose helpers this kernel has: `(6, 18)`. Fixes and back-ports have fields of their own.
    pub version: (u16, u16),
    /// `bpf_get_retval` and `bpf_set_retval` exist (5.18), for programs with expected attach type 18.
    pub retval_helpers: bool,
    /// The verifier wants the argument of `bpf_set_retval` in `[-4095, 0]` (7.2).
    pub set_retval_checked: bool,
    /// `bpf_strtol` and `bpf_strtoul` store 0 through `res` when they fail (6.12, 6.1.113).
    pub zero_res_on_error: bool,
    /// Programs may read stack that nothing was stored to (6.3).
    pub uninit_stack: bool,
    /// `file_pos` of the context may be written with an immediate, `BPF_ST` (6.4).
    pub st_ctx: bool,
    /// Atomic operations other than plain addition (5.12).
    pub atomics: bool,
    /// ISA v4: sign-extending loads and moves, unconditional byte swaps, signed division, `gotol` (6.6).
    pub isa_v4: bool,
    /// `may_goto` (6.9).
    pub may_goto: bool,
    /// Load-acquire and store-release (6.15).
    pub acquire_release: bool,
    /// Jumps backwards are accepted where the loop ends (5.3).
    pub bounded_loops: bool,
    /// How many functions may be in progress at once.
    pub call_frames: usize,
    /// How many tail calls one run may make: 33, before 6.1 32.
    pub tail_calls: u32,
    /// `CONFIG_FORTIFY_SOURCE`: `bpf_sysctl_get_name` copies the slashes byte by byte.
    pub fortified: bool,
}

impl Profile {
    /// Linux 6.18.44.
    pub const LINUX_6_18: Self = Self {
        name: "6.18",
        version: (6, 18),
        retval_helpers: true,
        set_retval_checked: false,
        zero_res_on_error: true,
        uninit_stack: true,
        st_ctx: true,
        atomics: true,
        isa_v4: true,
        may_goto: true,
        acquire_release: true,
        bounded_loops: true,
        call_frames: 8,
        tail_calls: 33,
        fortified: false,
    };
}
