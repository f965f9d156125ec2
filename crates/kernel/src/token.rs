//! BPF tokens: what of bpf(2) the owner of a bpffs has delegated to a user namespace.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use knobgate_bpf::MapKind;
use knobgate_bpf::uapi::{BPF_CGROUP_SYSCTL, BPF_PROG_TYPE_CGROUP_SYSCTL};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::bpffs::is_bpffs;
use crate::capabilities::{Capabilities, Capability};
use crate::fdinfo::FdInfo;
use crate::sys::bpf;

/// `BPF_MAP_CREATE`
const MAP_CREATE: u32 = 0;
/// `BPF_PROG_LOAD`
const PROG_LOAD: u32 = 5;
/// `BPF_BTF_LOAD`
const BTF_LOAD: u32 = 18;
/// `BPF_PROG_TYPE_RAW_TRACEPOINT`
const RAW_TRACEPOINT: u32 = 17;
/// The attach type of programs that have none: `BPF_CGROUP_INET_INGRESS`.
const NO_ATTACH_TYPE: u32 = 0;

/// The token that this process uses.
static OF_THIS_PROCESS: OnceLock<BpfToken> = OnceLock::new();

/// A BPF token (Linux 6.9).
///
/// Capabilities in a user namespace do not count for bpf(2), unless somebody with capabilities in the initial one has mounted a
/// bpffs for that namespace with options that say what is delegated to it: `delegate_cmds`, `delegate_maps`, `delegate_progs` and
/// `delegate_attachs`. A process there that has `CAP_BPF` in it makes a token of that bpffs. With the token, its capabilities
/// count for what is delegated (kernel/bpf/token.c).
///
/// A token does not open programs, maps and links by their ids, and does not ask which programs a cgroup has.
#[derive(Debug)]
pub struct BpfToken {
    bpffs: PathBuf,
    delegated: Delegated,
}

/// What a bpffs delegates, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delegated {
    cmds: u64,
    maps: u64,
    progs: u64,
    attachs: u64,
}

/// An option with which a bpffs delegates something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    option: &'static str,
    value: &'static str,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BpfTokenError {
    /// The kernel has none.
    #[error("this kernel has no BPF tokens, which need Linux 6.9")]
    Unsupported,
    /// The path is not on a bpffs.
    #[error("{} is not on a bpffs; name where one is mounted that delegates BPF to this user namespace", path.display())]
    NotBpffs {
        /// The path.
        path: PathBuf,
    },
    /// The path cannot be opened.
    #[error("cannot open {}: {error}", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The path is on a bpffs, and not where it is mounted.
    #[error("{} is not where a bpffs is mounted; name the directory on which it is", path.display())]
    NotItsRoot {
        /// The path.
        path: PathBuf,
    },
    /// Tokens are for other user namespaces.
    #[error(
        "this process is in the initial user namespace, where capabilities count without a BPF token: run knobgate as root, \
         without it"
    )]
    InitialUserNamespace,
    /// The process lacks `CAP_BPF` in its user namespace.
    #[error(
        "a BPF token takes CAP_BPF in the user namespace of this process, which lacks it; run knobgate as root there"
    )]
    NoCapability,
    /// The bpffs is that of another user namespace.
    #[error(
        "the bpffs at {} belongs to another user namespace, or a security module forbids it; its file system has to be \
         opened (fsopen(2)) by a process of this one",
        path.display()
    )]
    OtherUserNamespace {
        /// The path.
        path: PathBuf,
    },
    /// The bpffs delegates nothing.
    #[error(
        "the bpffs at {} delegates nothing; somebody with CAP_SYS_ADMIN in the initial user namespace has to mount it, with \
         delegate_cmds, delegate_maps, delegate_progs and delegate_attachs",
        path.display()
    )]
    NothingDelegated {
        /// The path.
        path: PathBuf,
    },
    /// The process uses one already.
    #[error("this process uses a BPF token already, of the bpffs at {}", path.display())]
    InUse {
        /// The path of that bpffs.
        path: PathBuf,
    },
    /// It failed for another reason.
    #[error("cannot make a BPF token of the bpffs at {}: {error}", path.display())]
    Failed {
        /// The path.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

impl BpfToken {
    /// Makes a token of the bpffs that is mounted at `path`, and uses it in this process from now on, for every map, program and
    /// BTF. Like capabilities, it is a property of the process: probes and programs on tracepoints are loaded with it, too.
    ///
    /// # Errors
    ///
    /// Every [`BpfTokenError`].
    pub fn use_in_this_process(path: &Path) -> Result<&'static Self, BpfTokenError> {
        match bpf::token_create_of_nothing() {
            Errno::BADF => {}
            Errno::INVAL => return Err(BpfTokenError::Unsupported),
            error => return Err(BpfTokenError::Failed { path: path.to_owned(), error: error.into() }),
        }
        let fd = create(path)?;
        let failed = |error| BpfTokenError::Failed { path: path.to_owned(), error };
        let delegated = Delegated::of(&FdInfo::of(fd.as_fd()).map_err(failed)?)
            .ok_or_else(|| failed(io::Error::other("its fdinfo does not say what is delegated")))?;
        let in_use = || BpfTokenError::InUse {
            path: Self::of_this_process().map(|token| token.bpffs.clone()).unwrap_or_default(),
        };
        bpf::use_token(fd).map_err(|_| in_use())?;
        Ok(OF_THIS_PROCESS.get_or_init(|| Self { bpffs: path.to_owned(), delegated }))
    }

    /// The token that this process uses.
    pub fn of_this_process() -> Option<&'static Self> {
        OF_THIS_PROCESS.get()
    }

    /// Where the bpffs is mounted.
    pub fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    /// What is not delegated, and without which no program of this hook can be loaded.
    pub fn lacks_for_programs(&self) -> Vec<Delegation> {
        self.lacks(&[
            (self.delegated.cmds, MAP_CREATE, "delegate_cmds", "map_create"),
            (self.delegated.cmds, PROG_LOAD, "delegate_cmds", "prog_load"),
            (self.delegated.progs, BPF_PROG_TYPE_CGROUP_SYSCTL, "delegate_progs", "cgroup_sysctl"),
            (self.delegated.attachs, BPF_CGROUP_SYSCTL, "delegate_attachs", "cgroup_sysctl"),
        ])
    }

    /// What is not delegated, and without which programs have no line information.
    pub fn lacks_for_line_info(&self) -> Vec<Delegation> {
        self.lacks(&[(self.delegated.cmds, BTF_LOAD, "delegate_cmds", "btf_load")])
    }

    /// What is not delegated of these maps.
    pub fn lacks_for_maps(&self, kinds: &[MapKind]) -> Vec<Delegation> {
        let maps = self.delegated.maps;
        let needed = kinds.iter().map(|kind| (maps, kind.number(), "delegate_maps", kind.name()));
        self.lacks(&needed.collect::<Vec<_>>())
    }

    /// What is not delegated, and without which there are no programs on tracepoints.
    pub fn lacks_for_tracepoints(&self) -> Vec<Delegation> {
        self.lacks(&[
            (self.delegated.progs, RAW_TRACEPOINT, "delegate_progs", "raw_tracepoint"),
            (self.delegated.attachs, NO_ATTACH_TYPE, "delegate_attachs", "cgroup_inet_ingress"),
        ])
    }

    fn lacks(&self, needed: &[(u64, u32, &'static str, &'static str)]) -> Vec<Delegation> {
        let lacks = needed.iter().filter(|(bits, bit, ..)| bits >> bit & 1 == 0);
        lacks.map(|&(_, _, option, value)| Delegation { option, value }).collect()
    }

    /// What is delegated, as text that differs if that does.
    pub(crate) fn key(&self) -> String {
        let Delegated { cmds, maps, progs, attachs } = self.delegated;
        format!("token {cmds:x} {maps:x} {progs:x} {attachs:x}")
    }
}

impl Delegated {
    /// That of a token, from its `fdinfo` (`bpf_token_show_fdinfo()`).
    fn of(info: &FdInfo) -> Option<Self> {
        let bits = |field| match info.get(field)? {
            "any" => Some(u64::MAX),
            number => u64::from_str_radix(number.strip_prefix("0x")?, 16).ok(),
        };
        Some(Self {
            cmds: bits("allowed_cmds")?,
            maps: bits("allowed_maps")?,
            progs: bits("allowed_progs")?,
            attachs: bits("allowed_attachs")?,
        })
    }
}

impl fmt::Display for Delegation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.option, self.value)
    }
}

/// Makes a token of the bpffs that is mounted at `path`.
fn create(path: &Path) -> Result<OwnedFd, BpfTokenError> {
    let capabilities = Capabilities::of_this_process().ok();
    if capabilities.is_some_and(Capabilities::in_initial_user_namespace) {
        return Err(BpfTokenError::InitialUserNamespace);
    }
    let path = path.to_owned();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let bpffs = match open(&path, flags, Mode::empty()) {
        Ok(bpffs) => bpffs,
        Err(error) => return Err(BpfTokenError::Open { path, error: error.into() }),
    };
    if !is_bpffs(&bpffs) {
        return Err(BpfTokenError::NotBpffs { path });
    }
    bpf::token_create(bpffs.as_fd()).map_err(|error| match error {
        Errno::INVAL => BpfTokenError::NotItsRoot { path },
        Errno::NOENT => BpfTokenError::NothingDelegated { path },
        // `CAP_SYS_ADMIN` does not include it here.
        Errno::PERM if capabilities.is_some_and(|held| !held.has(Capability::Bpf)) => {
            BpfTokenError::NoCapability
        }
        Errno::PERM => BpfTokenError::OtherUserNamespace { path },
        error => BpfTokenError::Failed { path, error: error.into() },
    })
}
