//! Which privileges this process has, as far as bpf(2) asks for them.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::{fs, io};

/// The inode number of the first user namespace, on every machine: `PROC_USER_INIT_INO` in include/linux/proc_ns.h.
const FIRST_USER_NAMESPACE: u64 = 0xefff_fffd;

/// A capability of capabilities(7) that something here needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// `CAP_NET_ADMIN`: with [`Bpf`](Self::Bpf), to load programs for this hook; to query a cgroup.
    NetAdmin,
    /// `CAP_SYS_ADMIN`: to reach programs, maps and links by id; before Linux 5.8 for everything.
    SysAdmin,
    /// `CAP_PERFMON`: to compute addresses as compiled policies do, from numbers that differ from way to way (the
    /// verifier guards against speculation without it); to call `bpf_get_current_comm`; for stack that was not written.
    Perfmon,
    /// `CAP_BPF` (Linux 5.8): to create maps and load programs.
    Bpf,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NetAdmin, Self::SysAdmin, Self::Perfmon, Self::Bpf];

    /// The bit's number, of `include/uapi/linux/capability.h`.
    fn bit(self) -> u32 {
        match self {
            Self::NetAdmin => 12,
            Self::SysAdmin => 21,
            Self::Perfmon => 38,
            Self::Bpf => 39,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        })
    }
}

/// A set of capabilities: the effective ones of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    effective: u64,
    in_first_user_namespace: bool,
}

impl Capabilities {
    /// Those of this process, from `/proc/self/status`.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub fn of_this_process() -> io::Result<Self> {
        // The name of the process need not be UTF-8.
        let status = fs::read("/proc/thread-self/status")?;
        let effective = parse_effective(&String::from_utf8_lossy(&status))
            .ok_or_else(|| io::Error::other("there is no CapEff in /proc/thread-self/status"))?;
        let in_first_user_namespace = fs::metadata("/proc/thread-self/ns/user")
            .map_or(true, |namespace| namespace.ino() == FIRST_USER_NAMESPACE);
        Ok(Self { effective, in_first_user_namespace })
    }

    /// Whether the process is in the first user namespace, where capabilities count for bpf(2).
    pub fn in_first_user_namespace(self) -> bool {
        self.in_first_user_namespace
    }

    /// Whether this one is in the set. `CAP_SYS_ADMIN` does not count for the others here, though the kernel takes it
    /// for [`Bpf`](Capability::Bpf) and [`Perfmon`](Capability::Perfmon); [`can_load`](Self::can_load) does.
    pub fn has(self, capability: Capability) -> bool {
        self.effective >> capability.bit() & 1 == 1
    }

    /// Whether compiled policies can be loaded with these: `CAP_BPF`, `CAP_NET_ADMIN` and `CAP_PERFMON`, for each of
    /// which `CAP_SYS_ADMIN` does as well (`bpf_prog_load()` in `kernel/bpf/syscall.c`), in the first user namespace.
    pub fn can_load(self) -> bool {
        self.in_first_user_namespace && self.could_load()
    }

    /// The same, if the process were in the first user namespace.
    pub(crate) fn could_load(self) -> bool {
        let needed = [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon];
        self.has(Capability::SysAdmin) || needed.into_iter().all(|one| self.has(one))
    }
}

fn parse_effective(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_set_is_read() {
        let cases = [
            ("CapPrm:\tffff\nCapEff:\t000001fffeffffff\n", &Capability::ALL[..], true),
            ("CapEff:\t0000000000000000\n", &[], false),
            ("CapEff:\t0000008000001000\n", &[Capability::NetAdmin, Capability::Bpf], false),
            (
                "CapEff:\t000000c000001000\n",
                &[Capability::NetAdmin, Capability::Perfmon, Capability::Bpf],
                true,
            ),
            ("CapEff:\t0000008000000000\n", &[Capability::Bpf], false),
            ("CapEff:\t0000000000200000\n", &[Capability::SysAdmin], true),
        ];
        for (status, expected, can_load) in cases {
            let effective = parse_effective(status).expect(status);
            let capabilities = Capabilities { effective, in_first_user_namespace: true };
            let found: Vec<_> = Capability::ALL.into_iter().filter(|&one| capabilities.has(one)).collect();
            assert_eq!(found, expected, "{status}");
            assert_eq!(capabilities.can_load(), can_load, "{status}");
            assert!(!Capabilities { in_first_user_namespace: false, ..capabilities }.can_load());
        }
        assert_eq!(parse_effective("Name:\tx\n"), None);
    }
}
