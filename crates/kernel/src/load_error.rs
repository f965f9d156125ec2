//! Why a program could not be loaded.

use std::io;
use std::path::PathBuf;

use knobgate_bpf::map_flag_names;
use rustix::io::Errno;

use crate::bpffs::BpffsError;
use crate::capabilities::Capabilities;
use crate::object::BpfObjectError;
use crate::token::{BpfToken, Delegation};
use crate::verifier_log::VerifierLog;

/// Why a program could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The verifier rejected it.
    #[error(
        "the kernel's verifier rejects the program \"{program}\"{}: {}",
        log.last_source_line().map(|line| format!(" at {line}")).unwrap_or_default(), log.reason()
    )]
    Rejected {
        /// The program's name.
        program: String,
        /// The verifier's log.
        log: VerifierLog,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It has too many instructions, or takes the verifier too many steps.
    #[error(
        "the program \"{program}\" of {insns} instructions is too much for this kernel: the limit is a million \
         instructions (4096 without CAP_BPF), and as many steps of the verifier{}",
        log.last_source_line().map(|line| format!(", which ran out at {line}")).unwrap_or_default()
    )]
    TooLarge {
        /// The program's name.
        program: String,
        /// Its length.
        insns: usize,
        /// The verifier's log, if it ran.
        log: VerifierLog,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A capability is missing.
    #[error(
        "cannot load \"{program}\": not permitted{}; it takes CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (CAP_SYS_ADMIN \
         before Linux 5.8) in the initial user namespace",
        missing(capabilities)
    )]
    NotPermitted {
        /// The program's name.
        program: String,
        /// The capabilities of this process, if they could be read.
        capabilities: Option<Capabilities>,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The BPF token of this process does not delegate it.
    #[error(
        "cannot {what}: the bpffs at {} does not delegate that; it has to be mounted with {}",
        bpffs.display(),
        lacks.iter().map(Delegation::to_string).collect::<Vec<_>>().join(" and ")
    )]
    NotDelegated {
        /// What failed: creating a map or loading a program, with its name.
        what: String,
        /// Where the bpffs is mounted.
        bpffs: PathBuf,
        /// What it does not delegate.
        lacks: Vec<Delegation>,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The limit of locked memory is too low.
    #[error(
        "cannot {what}: before Linux 5.11 programs and maps count as locked memory, and the limit of {limit} bytes is too \
         low; raise it: ulimit -l unlimited (systemd: LimitMEMLOCK=infinity)"
    )]
    LockedMemory {
        /// What failed: creating a map or loading a program, with its name.
        what: String,
        /// The limit, in bytes.
        limit: u64,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel does not support programs for this hook.
    #[error(
        "cannot load \"{program}\": this kernel does not know the program type, or rejects it without a reason; programs \
         for accesses to /proc/sys need Linux 5.2 with CONFIG_CGROUP_BPF and CONFIG_SYSCTL"
    )]
    Unsupported {
        /// The program's name.
        program: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There is not enough memory.
    #[error(
        "cannot load \"{program}\": there is not enough memory for it (in the kernel, or in the cgroup of this process)"
    )]
    NoMemory {
        /// The program's name.
        program: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A map could not be created.
    #[error(
        "cannot create the map \"{map}\" ({}, {max_entries} entries of {key_size} + {value_size} bytes{}): {error}", kind.name(),
        if *flags == 0 { String::new() } else { format!(", {}", map_flag_names(*flags)) }
    )]
    Map {
        /// The map's name.
        map: String,
        /// Its kind.
        kind: knobgate_bpf::MapKind,
        /// Its number of entries.
        max_entries: u32,
        /// The size of a key in bytes.
        key_size: u32,
        /// The size of a value in bytes.
        value_size: u32,
        /// Its flags.
        flags: u32,
        /// The kernel's answer.
        error: io::Error,
    },
    /// The values of a map have fields that the kernel manages, such as `bpf_spin_lock`, and the kernel does not accept the types that
    /// say where they are.
    #[error(
        "cannot create the map \"{map}\": its values have fields that the kernel manages, but the kernel rejects the BTF that describes them (BPF_BTF_LOAD): {error}"
    )]
    MapTypes {
        /// The map's name.
        map: String,
        /// The kernel's answer.
        error: io::Error,
    },
    /// A map that is pinned by its name differs from the one that the program needs.
    #[error(
        "cannot use the map pinned at {} as the map \"{map}\": {differences}; remove it if no other program needs it: rm {}",
        path.display(), path.display()
    )]
    OtherPinnedMap {
        /// The map's name.
        map: String,
        /// The pin.
        path: PathBuf,
        /// What differs.
        differences: String,
    },
    /// A map that is pinned by its name cannot be opened or pinned.
    #[error("cannot share the map \"{map}\", which is pinned by its name")]
    PinnedMap {
        /// The map's name.
        map: String,
        /// The cause.
        source: Box<BpffsError>,
    },
    /// A map could not be filled or frozen.
    #[error("cannot fill the map \"{map}\"")]
    MapContents {
        /// The map's name.
        map: String,
        /// The cause.
        source: BpfObjectError,
    },
    /// A relocation is invalid.
    #[error(
        "the program \"{program}\" is invalid: its instruction {insn} refers to map {map}, which does not exist"
    )]
    BadRelocation {
        /// The program's name.
        program: String,
        /// The instruction that refers to the map.
        insn: usize,
        /// The index of the map.
        map: usize,
    },
    /// A tail call goes through a map that does not exist.
    #[error(
        "the program \"{program}\" is invalid: map {map}, to which a program is added at index {index}, does not exist"
    )]
    BadTailCall {
        /// The program's name.
        program: String,
        /// The index of the map.
        map: usize,
        /// The index in the map.
        index: u32,
    },
    /// A map is put into another one, and one of them does not exist.
    #[error(
        "the program \"{program}\" is invalid: map {map} is put into map {outer}, and one of them does not exist"
    )]
    BadInnerMap {
        /// The program's name.
        program: String,
        /// The index of the outer map.
        outer: usize,
        /// The index of the map in it.
        map: usize,
    },
    /// A program in a program array has cgroup storage that its caller lacks.
    #[error(
        "cannot load \"{program}\": it calls \"{callee}\" through a program array, which has cgroup storage (map \"{map}\") \
         that \"{program}\" does not use: some kernels would crash at the call, and others reject it from the array; use the \
         map in both"
    )]
    StorageMismatch {
        /// The program's name.
        program: String,
        /// The name of the program in the array.
        callee: String,
        /// The name of the map.
        map: String,
    },
    /// It failed for another reason.
    #[error("cannot load \"{program}\": {error}{advice}")]
    Failed {
        /// The program's name.
        program: String,
        /// What to do about it, if that is known.
        advice: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
}

impl LoadError {
    /// That the token of this process does not delegate what is not permitted, if so.
    pub(crate) fn not_delegated(
        what: impl FnOnce() -> String,
        lacks: impl FnOnce(&BpfToken) -> Vec<Delegation>,
    ) -> Option<Self> {
        let token = BpfToken::of_this_process()?;
        let lacks = Some(lacks(token)).filter(|lacks| !lacks.is_empty())?;
        Some(Self::NotDelegated {
            what: what(),
            bpffs: token.bpffs().to_owned(),
            lacks,
            source: Errno::PERM.into(),
        })
    }

    /// The kernel's answer, if it was asked.
    pub fn os_error(&self) -> Option<&io::Error> {
        match self {
            Self::Rejected { source, .. }
            | Self::TooLarge { source, .. }
            | Self::NotPermitted { source, .. }
            | Self::NotDelegated { source, .. }
            | Self::LockedMemory { source, .. }
            | Self::Unsupported { source, .. }
            | Self::NoMemory { source, .. } => Some(source),
            Self::Map { error, .. } | Self::MapTypes { error, .. } | Self::Failed { error, .. } => {
                Some(error)
            }
            Self::MapContents { source, .. } => source.os_error(),
            Self::PinnedMap { source, .. } => match &**source {
                BpffsError::Io { error, .. } => Some(error),
                _ => None,
            },
            Self::BadRelocation { .. }
            | Self::BadTailCall { .. }
            | Self::BadInnerMap { .. }
            | Self::OtherPinnedMap { .. }
            | Self::StorageMismatch { .. } => None,
        }
    }

    /// The verifier's log, if there is one.
    pub fn log(&self) -> Option<&VerifierLog> {
        match self {
            Self::Rejected { log, .. } | Self::TooLarge { log, .. } => Some(log),
            _ => None,
        }
    }
}

fn missing(capabilities: &Option<Capabilities>) -> String {
    let Some(capabilities) = capabilities else { return String::new() };
    let lacks: Vec<String> = capabilities.lacks_for_loading().map(|one| one.to_string()).collect();
    if capabilities.can_load() {
        ", although this process has the capabilities: a security module, lockdown or a seccomp filter may forbid it"
            .to_owned()
    } else if lacks.is_empty() {
        " because this process is in a user namespace, where its capabilities do not count".to_owned()
    } else {
        format!(" because this process lacks {}", lacks.join(", "))
    }
}
