//! Descriptions of kernels.
//!
//! A profile describes one kernel; each field is something in which kernels differ. Distributions backport fixes, so a
//! version number proves little: to describe another kernel, take the closest profile ([`Profile::closest`]) and change
//! what differs. `knobgate_snapshot::running_profile` does that for the running kernel: it probes what can be probed without
//! harm, and its documentation lists what it takes from here.

use std::fmt;
use std::str::FromStr;

/// What differs between kernels, as far as this hook and its programs are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// Its name: `6.18`, `6.12.94`.
    pub name: &'static str,

    /// The release whose helpers this kernel has: `(6, 18)`. Fixes and backports have fields of their own.
    pub version: (u16, u16),
    /// Programs share a return value that `bpf_get_retval` and `bpf_set_retval` (for programs with expected attach type
    /// 18) read and set, so that a denial is not final (5.18). Before, the results of all programs are ANDed
    /// (`bpf_prog_run_array_cg`, kernel/bpf/cgroup.c).
    pub retval_helpers: bool,
    /// The verifier only accepts arguments of `bpf_set_retval` that it knows to be in `[-4095, 0]` (7.2). Before, programs
    /// could make a system call return any number.
    pub set_retval_checked: bool,
    /// If programs leave a return value that is neither 0 nor an errno, the access is denied with `EPERM`. Some builds of
    /// 6.18.44 do that, without the check in the verifier; on other kernels, the system call returns the number.
    pub odd_retvals_deny: bool,
    /// `bpf_get_current_comm` fills the rest of the buffer with zeros (6.4; `strscpy_pad`, kernel/bpf/helpers.c). Before,
    /// it only writes a NUL after the name.
    pub comm_padded: bool,
    /// `bpf_strtol` and `bpf_strtoul` store 0 through `res` when they fail (6.12, 6.1.113).
    pub zero_res_on_error: bool,
    /// Programs may read uninitialized stack (6.8).
    pub uninit_stack: bool,
    /// Programs may read uninitialized stack above the lowest byte that they stored to (6.3, and Debian's 6.1.170): the
    /// verifier rejects reads deeper than `allocated_stack` (`check_stack_range_initialized`, kernel/bpf/verifier.c).
    pub uninit_above_stored: bool,
    /// Programs may store to the stack at a variable offset (5.12; `check_stack_write_var_off`,
    /// kernel/bpf/verifier.c). Debian's 5.10.262 does it too.
    pub variable_stack: bool,
    /// The verifier tracks the results of divisions and remainders by a constant (7.0; `scalar_min_max_umod` and others,
    /// kernel/bpf/verifier.c).
    pub divisions_followed: bool,
    /// The verifier decides comparisons of a register with itself (7.0; `is_scalar_branch_taken`, kernel/bpf/verifier.c).
    pub self_comparisons_decided: bool,
    /// `bpf_map_update_elem` and other map helpers return a zero-extended int (before 6.4): the verifier calls the map's
    /// own functions directly, which returned `int` then.
    pub int_map_results: bool,
    /// Formats of `bpf_snprintf` and others may have bytes above 127 as text ("bpf: allow UTF-8 literals in
    /// bpf_bprintf_prepare", 2026). Observed on 6.18.44. The change was posted for other stable kernels as well, so those
    /// of that time are taken to have it.
    pub non_ascii_formats: bool,
    /// `file_pos` of the context can be written with an immediate, `BPF_ST` (6.4).
    pub st_ctx: bool,
    /// Atomic operations other than addition (5.12).
    pub atomics: bool,
    /// ISA v4: sign-extending loads and moves, unconditional byte swaps, signed division (6.6).
    pub isa_v4: bool,
    /// `gotol`, also of ISA v4. Debian's 6.1.170 has it without the rest.
    pub long_jump: bool,
    /// `may_goto` (6.9).
    pub may_goto: bool,
    /// Load-acquire and store-release (6.15).
    pub acquire_release: bool,
    /// Bounded loops are accepted (5.3).
    pub bounded_loops: bool,
    /// `MAX_CALL_FRAMES`: how many functions may be on the call stack.
    pub call_frames: usize,
    /// How many tail calls one run may make: 33, before 6.1 32.
    pub tail_calls: u32,
    /// `CONFIG_FORTIFY_SOURCE`, which distributions enable, and which checks `strscpy` since 5.11: `bpf_sysctl_get_name`
    /// copies the slashes byte by byte, and does not pad them with zeros.
    pub fortified: bool,

    /// Replacements by `bpf_sysctl_set_new_value` are written. Kernels from 5.18 on silently drop them until they get "bpf:
    /// Restore sysctl new-value from 1 to 0".
    pub rewrites_are_applied: bool,
    /// A replaced value is followed by a NUL (CVE-2026-97420 is about kernels where it is not).
    pub rewrites_are_terminated: bool,

    /// Reads and writes of this many bytes or more fail with `ENOMEM`. `None`: there is no limit (before 5.9).
    pub size_limit: Option<usize>,
    /// A write that returns 0 moves the file position, too (5.4).
    pub empty_writes_move: bool,
    /// A negative number in a vector of `unsigned long` fails with `EINVAL` (5.19); before, the element kept its value.
    pub negative_ulongs_fail: bool,
    /// A write of an `unsigned int` or of a byte returns how many bytes were parsed, and moves the file position by that
    /// (7.3), like a write of an `int`. Before, `do_proc_douintvec_w` in kernel/sysctl.c returned the whole length,
    /// whatever followed the number, and did not move the position.
    pub uint_writes_count: bool,
    /// Knobs in milliseconds and in ticks convert the number without its sign, and numbers that do not fit an int are
    /// `EINVAL` (`proc_int_u2k_conv_uop`, kernel/sysctl.c; seen on 7.2.13 and 7.3.4). Before, negative milliseconds were
    /// `EINVAL`, and ticks wrapped around.
    pub times_checked: bool,
    /// Of a number of milliseconds the low 32 bits count (`msecs_to_jiffies` takes an unsigned int); from 7.3 on, larger
    /// ones are `EINVAL`.
    pub milliseconds_cut: bool,
    /// The minimum of each number in `net/ipv4/tcp_rmem`: 1, or 4096 (6.1.192, 6.12.117, 7.2, but not 6.18.44). Smaller
    /// numbers fail with `EINVAL`. The minimum of `net/ipv4/tcp_wmem` is always 1.
    pub tcp_rmem_min: i32,

    /// `BPF_F_REPLACE` (5.6).
    pub replace: bool,
    /// Links (5.7).
    pub links: bool,
    /// `BPF_LINK_DETACH` (5.9).
    pub link_detach: bool,
    /// `BPF_F_PREORDER` (6.15, 6.12.31).
    pub preorder: bool,
    /// `BPF_F_BEFORE` and `BPF_F_AFTER` with a relative program or link, revisions, and flags for links (6.17, 6.12.110).
    pub attach_positions: bool,
    /// `BPF_LINK_UPDATE` replaces the right program even if there are programs with `BPF_F_PREORDER`.
    pub updates_find_their_slot: bool,
    /// `BPF_LINK_UPDATE` fails with `EINVAL` unless both programs have their cgroup storage in the same maps
    /// (`cgroup_bpf_storages_compatible`, kernel/bpf/cgroup.c). Observed on 6.1.192, 6.12.117, 7.2.13 and 7.3.4. 5.10,
    /// 6.1.170, 6.12.94, 6.18.15 and 6.18.44 do not: they give the new program the storage that was allocated for the old
    /// one, and dereference a null pointer if there is none.
    pub updates_compare_storage: bool,
    /// A program array only accepts a program whose cgroup storage is in the maps of its caller (`storage_cookie`,
    /// kernel/bpf/core.c). Observed on 6.1.170 and later; 5.10 dereferences a null pointer at the call.
    pub tail_calls_compare_storage: bool,
}

/// The first version of `BPF_PROG_TYPE_CGROUP_SYSCTL`, unchanged in 5.4.
const V5_4: Profile = Profile {
    name: "5.4",
    version: (5, 4),
    retval_helpers: false,
    set_retval_checked: false,
    odd_retvals_deny: false,
    comm_padded: false,
    zero_res_on_error: false,
    uninit_stack: false,
    uninit_above_stored: false,
    variable_stack: false,
    divisions_followed: false,
    self_comparisons_decided: false,
    int_map_results: true,
    non_ascii_formats: false,
    st_ctx: false,
    atomics: false,
    isa_v4: false,
    long_jump: false,
    may_goto: false,
    acquire_release: false,
    bounded_loops: true,
    call_frames: 8,
    tail_calls: 32,
    fortified: false,
    rewrites_are_applied: true,
    rewrites_are_terminated: false,
    size_limit: None,
    empty_writes_move: true,
    negative_ulongs_fail: false,
    uint_writes_count: false,
    times_checked: false,
    milliseconds_cut: true,
    tcp_rmem_min: 1,
    replace: false,
    links: false,
    link_detach: false,
    preorder: false,
    attach_positions: false,
    updates_find_their_slot: true,
    updates_compare_storage: false,
    tail_calls_compare_storage: false,
};

const V5_10: Profile = Profile {
    name: "5.10",
    version: (5, 10),
    size_limit: Some(4 << 20),
    empty_writes_move: false,
    replace: true,
    links: true,
    link_detach: true,
    ..V5_4
};

const V5_15: Profile =
    Profile { name: "5.15", version: (5, 15), variable_stack: true, atomics: true, fortified: true, ..V5_10 };

/// Before 6.1.178. Results of failed parses are zeroed since 6.1.113.
const V6_1_170: Profile = Profile {
    name: "6.1.170",
    version: (6, 1),
    retval_helpers: true,
    uninit_above_stored: true,
    long_jump: true,
    zero_res_on_error: true,
    tail_calls: 33,
    rewrites_are_applied: false,
    negative_ulongs_fail: true,
    tail_calls_compare_storage: true,
    ..V5_15
};

const V6_1_192: Profile = Profile {
    name: "6.1.192",
    uninit_stack: true,
    rewrites_are_applied: true,
    rewrites_are_terminated: true,
    updates_compare_storage: true,
    tcp_rmem_min: 4096,
    non_ascii_formats: true,
    ..V6_1_170
};

const V6_8: Profile = Profile {
    name: "6.8",
    version: (6, 8),
    comm_padded: true,
    zero_res_on_error: false,
    uninit_stack: true,
    int_map_results: false,
    st_ctx: true,
    isa_v4: true,
    tail_calls_compare_storage: false,
    ..V6_1_170
};

/// Before 6.12.96; with `BPF_F_PREORDER`, which came in 6.12.31, and without `BPF_F_BEFORE` and `BPF_F_AFTER`, which came
/// in 6.12.110.
const V6_12_94: Profile = Profile {
    name: "6.12.94",
    version: (6, 12),
    zero_res_on_error: true,
    may_goto: true,
    preorder: true,
    updates_find_their_slot: false,
    tail_calls_compare_storage: true,
    ..V6_8
};

const V6_12_117: Profile = Profile {
    name: "6.12.117",
    rewrites_are_applied: true,
    rewrites_are_terminated: true,
    tcp_rmem_min: 4096,
    attach_positions: true,
    updates_find_their_slot: true,
    updates_compare_storage: true,
    non_ascii_formats: true,
    ..V6_12_94
};

/// 6.18.44.
const V6_18: Profile = Profile {
    name: "6.18",
    version: (6, 18),
    acquire_release: true,
    rewrites_are_terminated: false,
    updates_compare_storage: false,
    tcp_rmem_min: 1,
    ..V6_12_117
};

const V7_2: Profile = Profile {
    name: "7.2",
    version: (7, 2),
    set_retval_checked: true,
    divisions_followed: true,
    self_comparisons_decided: true,
    times_checked: true,
    call_frames: 16,
    rewrites_are_terminated: true,
    updates_compare_storage: true,
    tcp_rmem_min: 4096,
    ..V6_18
};

const V7_3: Profile =
    Profile { name: "7.3", version: (7, 3), uint_writes_count: true, milliseconds_cut: false, ..V7_2 };

impl Profile {
    /// Linux 6.18.44.
    pub const LINUX_6_18: Self = V6_18;

    /// All profiles, oldest first. 6.1 and 6.12 are there twice: before and after the fixes of 2026.
    pub const ALL: [Self; 11] =
        [V5_4, V5_10, V5_15, V6_1_170, V6_1_192, V6_8, V6_12_94, V6_12_117, V6_18, V7_2, V7_3];

    /// The profile to start from for this release: the last of the same series that is not newer, or else the first of that
    /// series. If there is no profile of that series, it is the first of the series before it, because later fixes may be
    /// missing.
    ///
    /// ```
    /// use knobgate_hook::Profile;
    ///
    /// assert_eq!(Profile::closest((6, 12, 100)).name, "6.12.94");
    /// assert_eq!(Profile::closest((6, 6, 30)).name, "6.1.170");
    /// ```
    pub fn closest((major, minor, patch): (u16, u16, u16)) -> Self {
        let series = |version| Self::ALL.into_iter().filter(move |profile| profile.version == version);
        let version = (major, minor);
        let before = || Self::ALL.into_iter().rfind(|profile| profile.version < version);
        series(version)
            .rfind(|profile| profile.patch() <= patch)
            .or_else(|| series(version).next())
            .or_else(|| series(before()?.version).next())
            .unwrap_or(V5_4)
    }

    /// The patch level in its name; 0 if it stands for a whole series.
    fn patch(&self) -> u16 {
        self.name.split('.').nth(2).and_then(|patch| patch.parse().ok()).unwrap_or(0)
    }
}

impl Default for Profile {
    /// 6.18.
    fn default() -> Self {
        V6_18
    }
}

/// There is no profile of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no profile {0:?}; the profiles are {known}", known = known())]
pub struct UnknownProfile(pub String);

fn known() -> String {
    Profile::ALL.map(|profile| profile.name).join(", ")
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    /// Finds a profile by name; `6.1` and `6.12` are those with the fixes.
    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        let series = |profile: &Self| {
            name.contains('.')
                && profile
                    .name
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        Self::ALL.into_iter().rfind(series).ok_or_else(|| UnknownProfile(name.to_owned()))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_found_by_name() {
        for profile in Profile::ALL {
            assert_eq!(profile.name.parse(), Ok(profile));
        }
        assert_eq!("6.1".parse(), Ok(V6_1_192));
        assert_eq!("6.12".parse(), Ok(V6_12_117));
        assert_eq!(Profile::default(), V6_18);
        for unknown in ["", "6", "6.1.1", "2.6"] {
            assert!(unknown.parse::<Profile>().is_err(), "{unknown}");
        }
    }

    #[test]
    fn a_kernel_that_is_not_described_starts_from_the_closest_one_that_is() {
        for (release, expected) in [
            ((4, 19, 1), "5.4"),
            ((5, 4, 30), "5.4"),
            ((5, 7, 0), "5.4"),
            ((5, 10, 223), "5.10"),
            ((5, 19, 0), "5.15"),
            ((6, 1, 20), "6.1.170"),
            ((6, 1, 191), "6.1.170"),
            ((6, 1, 192), "6.1.192"),
            ((6, 6, 90), "6.1.170"),
            ((6, 12, 200), "6.12.117"),
            ((6, 17, 13), "6.12.94"),
            ((6, 18, 44), "6.18"),
            ((7, 1, 13), "6.18"),
            ((7, 2, 12), "7.2"),
            ((7, 3, 4), "7.3"),
            ((8, 0, 0), "7.3"),
        ] {
            assert_eq!(Profile::closest(release).name, expected, "{release:?}");
        }
    }
}
