//! How a program is loaded.

use std::ffi::CString;

use knobgate_bpf::uapi::BPF_CGROUP_SYSCTL;

use crate::bpffs::Bpffs;
use crate::verifier_log::LogLevel;

/// Options of a load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The license of a program that does not state one. It decides whether the program may call GPL-only helpers.
    ///
    /// `Dual MIT/GPL` by default. Compiled policies call no GPL-only helper. But this is the one permissive license
    /// that the kernel knows (`license_is_gpl_compatible()` in include/linux/license.h), and tools show programs with
    /// others as incompatible.
    pub license: CString,
    /// Whether to load the program with line information, for the verifier's log and for `bpftool`. If the kernel
    /// rejects that, the program is loaded without it. Programs with callbacks are rejected without it.
    pub line_info: bool,
    /// The level of the verifier's log for a rejected program.
    pub log_level: LogLevel,
    /// The size limit of the verifier's log in bytes. A longer log loses its beginning. Before Linux 6.4, it would lose
    /// its end with the reason, so only the reason is kept.
    pub log_limit: usize,
    /// Where maps are that are pinned by name: files of their names. `None`: in the bpffs that [`Bpffs::find`] finds, which is
    /// `/sys/fs/bpf` where libbpf has them as well.
    pub pins: Option<Bpffs>,
    /// `expected_attach_type`: `BPF_CGROUP_SYSCTL` by default, which `bpf_set_retval` requires.
    pub expected_attach_type: u32,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            license: c"Dual MIT/GPL".to_owned(),
            line_info: true,
            log_level: LogLevel::Path,
            log_limit: 16 << 20,
            pins: None,
            expected_attach_type: BPF_CGROUP_SYSCTL,
        }
    }
}
