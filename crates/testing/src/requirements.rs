//! What the tests require of the machine and the kernel.

use std::fmt;
use std::path::Path;

use knobgate_hook::Profile;
use knobgate_kernel::{Capabilities, Hierarchy, ProbeOutcome, probe, probe_cached};
use rustix::mount::{MountFlags, mount};

/// Set in the process inside the mount namespace.
pub(crate) const INSIDE: &str = "KNOBGATE_TEST_INSIDE";

/// What the machine lacks, for all tests or for one.
#[derive(Debug)]
#[non_exhaustive]
pub enum Missing {
    /// The tests are not run as root.
    Capabilities,
    /// There is no cgroup v2 hierarchy.
    Hierarchy(String),
    /// Programs of this hook cannot be loaded.
    Hook(ProbeOutcome),
    /// There is no mount namespace, or nothing can be mounted there.
    Mounts(String),
    /// A command that a test uses is not installed.
    Command(&'static str),
}

impl Missing {
    /// This command, if it is not installed.
    pub(crate) fn command(command: &'static str) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_installed = std::env::split_paths(&path).any(|directory| directory.join(command).is_file());
        (!is_installed).then_some(Self::Command(command))
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capabilities => f.write_str("needs root (CAP_BPF and CAP_NET_ADMIN)"),
            Self::Hierarchy(why) => write!(f, "{why}"),
            Self::Hook(outcome) => write!(f, "needs programs for /proc/sys: {outcome}"),
            Self::Mounts(why) => write!(f, "needs a bpffs and a /run of its own: {why}"),
            Self::Command(command) => write!(f, "needs the command {command}"),
        }
    }
}

/// Mounts what the tests share.
pub(crate) fn prepare() -> Option<Missing> {
    if !Capabilities::of_this_process().is_ok_and(Capabilities::can_load) {
        return Some(Missing::Capabilities);
    }
    if let Err(error) = Hierarchy::find().and_then(|hierarchy| hierarchy.root()) {
        return Some(Missing::Hierarchy(error.to_string()));
    }
    // Outside the namespace, the mounts would stay.
    if std::env::var_os(INSIDE).is_none() {
        return Some(Missing::Mounts("there is no mount namespace".to_owned()));
    }
    let mounts = [("tmpfs", "/run"), ("bpf", "/sys/fs/bpf")];
    for (fs_type, point) in mounts {
        if let Err(error) = mount(fs_type, point, fs_type, MountFlags::empty(), None) {
            return Some(Missing::Mounts(format!("{point}: {error}")));
        }
    }
    let hook = probe().hook;
    (!hook.is_yes()).then_some(Missing::Hook(hook))
}

/// The [`Requirement`](crate::Requirement) of tests with [`Descendants`](knobgate_kernel::Descendants) or
/// [`GuardedCgroups`](knobgate_kernel::GuardedCgroups).
pub fn process_tracking(_: &Profile) -> Option<String> {
    let btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    let ringbuf = probe_cached().ringbuf.is_yes();
    (!btf || !ringbuf).then(|| "needs the kernel's BTF, and ring buffers".to_owned())
}
