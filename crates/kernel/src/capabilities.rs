//! Capabilities: which ones a process has, and which bpf(2) requires.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::{fs, io};

use crate::token::BpfToken;

/// The inode number of the initial user namespace: `PROC_USER_INIT_INO` in include/linux/proc_ns.h.
const INITIAL_USER_NAMESPACE: u64 = 0xefff_fffd;

/// A capability of capabilities(7) that matters to a policy. The values are those of include/uapi/linux/capability.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Capability {
    /// `CAP_CHOWN`
    Chown = 0,
    /// `CAP_DAC_OVERRIDE`
    DacOverride = 1,
    /// `CAP_DAC_READ_SEARCH`: opens files by their handles.
    DacReadSearch = 2,
    /// `CAP_FOWNER`
    Fowner = 3,
    /// `CAP_SETGID`
    Setgid = 6,
    /// `CAP_SETUID`
    Setuid = 7,
    /// `CAP_NET_ADMIN`: with [`Bpf`](Self::Bpf), loads programs for this hook; queries a cgroup.
    NetAdmin = 12,
    /// `CAP_SYS_PTRACE`
    SysPtrace = 19,
    /// `CAP_SYS_ADMIN`: opens programs, maps and links by id; before Linux 5.8, everything.
    SysAdmin = 21,
    /// `CAP_SETFCAP`
    Setfcap = 31,
    /// `CAP_PERFMON`: pointer arithmetic with values that differ between paths, as compiled policies do (without it,
    /// the verifier guards against speculation); `bpf_get_current_comm`; reads of uninitialised stack.
    Perfmon = 38,
    /// `CAP_BPF` (Linux 5.8): creates maps and loads programs.
    Bpf = 39,
}

impl Capability {
    /// Those that bpf(2) asks for.
    pub const FOR_BPF: [Self; 4] = [Self::NetAdmin, Self::SysAdmin, Self::Perfmon, Self::Bpf];
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chown => "CAP_CHOWN",
            Self::DacOverride => "CAP_DAC_OVERRIDE",
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::Fowner => "CAP_FOWNER",
            Self::Setgid => "CAP_SETGID",
            Self::Setuid => "CAP_SETUID",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Setfcap => "CAP_SETFCAP",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        })
    }
}

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// Whether this one is in the set.
    pub fn has(self, capability: Capability) -> bool {
        self.0 >> capability as u8 & 1 == 1
    }

    /// Whether there are none, including those that [`Capability`] does not list.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The ids and capabilities of a process, from its `/proc/PID/status`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The real, effective, saved and file system user id.
    pub uids: [u32; 4],
    /// The same four group ids, then the supplementary groups.
    pub gids: Vec<u32>,
    /// What is effective.
    pub effective: CapabilitySet,
    /// What it can make effective.
    pub permitted: CapabilitySet,
    /// What an exec can give it.
    pub bounding: CapabilitySet,
}

impl Credentials {
    /// Those of the process `pid`.
    ///
    /// # Errors
    ///
    /// The process does not exist, or `/proc` hides it.
    pub fn of_pid(pid: u32) -> io::Result<Self> {
        Self::read(&format!("/proc/{pid}/status"))
    }

    fn read(file: &str) -> io::Result<Self> {
        // The process name need not be UTF-8.
        let status = fs::read(file)?;
        Self::parse(&String::from_utf8_lossy(&status))
            .ok_or_else(|| io::Error::other(format!("{file} lacks ids or capabilities")))
    }

    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let ids = |name| -> Option<Vec<u32>> {
            field(name)?.split_whitespace().map(|id| id.parse().ok()).collect()
        };
        let set = |name| u64::from_str_radix(field(name)?.trim(), 16).ok().map(CapabilitySet);
        Some(Self {
            uids: ids("Uid:")?.try_into().ok()?,
            gids: [ids("Gid:")?, ids("Groups:")?].concat(),
            effective: set("CapEff:")?,
            permitted: set("CapPrm:")?,
            bounding: set("CapBnd:")?,
        })
    }
}

/// What this process may do with bpf(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    effective: CapabilitySet,
    in_initial_user_namespace: bool,
    has_token: bool,
}

impl Capabilities {
    /// Those of the calling thread.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read.
    pub fn of_this_process() -> io::Result<Self> {
        let effective = Credentials::read("/proc/thread-self/status")?.effective;
        let in_initial_user_namespace = fs::metadata("/proc/thread-self/ns/user")
            .map_or(true, |namespace| namespace.ino() == INITIAL_USER_NAMESPACE);
        let has_token = BpfToken::of_this_process().is_some();
        Ok(Self { effective, in_initial_user_namespace, has_token })
    }

    /// Whether the process is in the initial user namespace. In others, capabilities do not count for bpf(2) without a
    /// [`BpfToken`].
    pub fn in_initial_user_namespace(self) -> bool {
        self.in_initial_user_namespace
    }

    /// Whether this one is effective. `CAP_SYS_ADMIN` does not imply the others here, although the kernel accepts it
    /// instead of [`Bpf`](Capability::Bpf) and [`Perfmon`](Capability::Perfmon); [`can_load`](Self::can_load) knows
    /// that.
    pub fn has(self, capability: Capability) -> bool {
        self.effective.has(capability)
    }

    /// Whether compiled policies can be loaded: that takes `CAP_BPF`, `CAP_NET_ADMIN` and `CAP_PERFMON`, or
    /// `CAP_SYS_ADMIN` instead of each (`bpf_prog_load()` in kernel/bpf/syscall.c), in the initial user namespace or with a
    /// [`BpfToken`].
    pub fn can_load(self) -> bool {
        (self.in_initial_user_namespace || self.has_token) && self.lacks_for_loading().next().is_none()
    }

    /// The capabilities for that which this process does not have, whatever user namespace it is in.
    pub fn lacks_for_loading(self) -> impl Iterator<Item = Capability> {
        let needed = [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon];
        needed.into_iter().filter(move |&one| !self.has(Capability::SysAdmin) && !self.has(one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_loaded_with_the_effective_set() {
        let cases = [
            (0x0000_01ff_feff_ffff, &Capability::FOR_BPF[..], true),
            (0, &[], false),
            (0x80_0000_1000, &[Capability::NetAdmin, Capability::Bpf], false),
            (0xc0_0000_1000, &[Capability::NetAdmin, Capability::Perfmon, Capability::Bpf], true),
            (0x80_0000_0000, &[Capability::Bpf], false),
            (0x20_0000, &[Capability::SysAdmin], true),
        ];
        for (effective, expected, can_load) in cases {
            let capabilities = Capabilities {
                effective: CapabilitySet(effective),
                in_initial_user_namespace: true,
                has_token: false,
            };
            let found: Vec<_> =
                Capability::FOR_BPF.into_iter().filter(|&one| capabilities.has(one)).collect();
            assert_eq!(found, expected, "{effective:x}");
            assert_eq!(capabilities.can_load(), can_load, "{effective:x}");
            let elsewhere = Capabilities { in_initial_user_namespace: false, ..capabilities };
            assert!(!elsewhere.can_load());
            assert_eq!(Capabilities { has_token: true, ..elsewhere }.can_load(), can_load);
        }
    }

    #[test]
    fn credentials_are_read_from_a_status() {
        let status = "Name:\tx\nUid:\t0\t1\t2\t3\nGid:\t4\t5\t6\t7\nGroups:\t8 9 \nCapInh:\t0000000000000000\n\
                      CapPrm:\t0000000000000003\nCapEff:\t0000000000000001\nCapBnd:\t000001ffffffffff\n";
        let expected = Credentials {
            uids: [0, 1, 2, 3],
            gids: vec![4, 5, 6, 7, 8, 9],
            effective: CapabilitySet(1),
            permitted: CapabilitySet(3),
            bounding: CapabilitySet(0x1ff_ffff_ffff),
        };
        assert_eq!(Credentials::parse(status), Some(expected));
        for missing in ["Uid:", "Gid:", "Groups:", "CapPrm:", "CapEff:", "CapBnd:"] {
            assert_eq!(Credentials::parse(&status.replace(missing, "x")), None, "{missing}");
        }
    }
}
