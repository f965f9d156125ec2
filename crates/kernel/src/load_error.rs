//! Why a program could not be loaded.

use std::io;

use crate::capabilities::Capabilities;
use crate::object::ObjectError;
use crate::verifier_log::VerifierLog;

/// Why a program could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The verifier refused it.
    #[error(
        "the kernel's verifier refuses the program \"{program}\"{}: {}",
        log.last_source_line().map(|line| format!(" at {line}")).unwrap_or_default(), log.reason()
    )]
    Rejected {
        /// The program's name.
        program: String,
        /// What the verifier said.
        log: VerifierLog,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It is too long, or takes the verifier too many steps.
    #[error(
        "the program \"{program}\" of {insns} instructions is too much for this kernel: it takes a million \
         instructions (4096 without CAP_BPF), and its verifier as many steps{}",
        log.last_source_line().map(|line| format!(", which ran out at {line}")).unwrap_or_default()
    )]
    TooLarge {
        /// The program's name.
        program: String,
        /// Its length.
        insns: usize,
        /// What the verifier said, if it came so far.
        log: VerifierLog,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A capability is missing.
    #[error(
        "cannot load \"{program}\": not permitted{}; it takes CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (CAP_SYS_ADMIN \
         before Linux 5.8) in the first user namespace",
        missing(capabilities)
    )]
    NotPermitted {
        /// The program's name.
        program: String,
        /// What this process has, if that could be read.
        capabilities: Option<Capabilities>,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The limit of locked memory is too low.
    #[error(
        "cannot {what}: before Linux 5.11 programs and maps count as locked memory, and the limit of {limit} bytes is too \
         low; raise it: ulimit -l unlimited (systemd: LimitMEMLOCK=infinity)"
    )]
    LockedMemory {
        /// What cannot be done: create a map or load a program, with its name.
        what: String,
        /// The limit, in bytes.
        limit: u64,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel does not know programs for this hook.
    #[error(
        "cannot load \"{program}\": this kernel does not know the program type, or refuses it without a word; programs \
         for the accesses to /proc/sys need Linux 5.2 with CONFIG_CGROUP_BPF and CONFIG_SYSCTL"
    )]
    Unsupported {
        /// The program's name.
        program: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There is no memory for it.
    #[error(
        "cannot load \"{program}\": the kernel has no memory for it (or the cgroup of this process has not)"
    )]
    NoMemory {
        /// The program's name.
        program: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A map could not be created.
    #[error(
        "cannot create the map \"{map}\" ({kind:?}, {max_entries} entries of {key_size} + {value_size} bytes): {source}"
    )]
    Map {
        /// The map's name.
        map: String,
        /// Its kind.
        kind: knobgate_bpf::MapKind,
        /// How many entries it was to have.
        max_entries: u32,
        /// Bytes in a key.
        key_size: u32,
        /// Bytes in a value.
        value_size: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A map could not be filled or frozen.
    #[error("cannot fill the map \"{map}\"")]
    MapContents {
        /// The map's name.
        map: String,
        /// What went wrong.
        source: ObjectError,
    },
    /// A reference to a map leads nowhere.
    #[error(
        "the program \"{program}\" is not well formed: the reference to map {map} at instruction {insn} leads nowhere"
    )]
    BadRelocation {
        /// The program's name.
        program: String,
        /// The instruction that refers to the map.
        insn: usize,
        /// The index of the map.
        map: usize,
    },
    /// A program is for a program array that is none of the program's maps.
    #[error(
        "the program \"{program}\" is not well formed: map {map}, in which a program is put at index {index}, is not there"
    )]
    BadTailCall {
        /// The program's name.
        program: String,
        /// The index of the map.
        map: usize,
        /// The index in the map.
        index: u32,
    },
    /// A program in a program array has storage that the one which calls it has not.
    #[error(
        "cannot load \"{program}\": it calls \"{callee}\" through a program array, which has cgroup storage (map \"{map}\") \
         that \"{program}\" does not use: some kernels would crash at the call, and others do not take it into the array; \
         use the map in both"
    )]
    ForeignStorage {
        /// The program's name.
        program: String,
        /// The name of the program in the array.
        callee: String,
        /// The name of the map.
        map: String,
    },
    /// The kernel refused for another reason.
    #[error("cannot load \"{program}\": {source}{advice}")]
    Failed {
        /// The program's name.
        program: String,
        /// What to do about it; empty if that is not known.
        advice: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl LoadError {
    /// What the verifier said, where it said something.
    pub fn log(&self) -> Option<&VerifierLog> {
        match self {
            Self::Rejected { log, .. } | Self::TooLarge { log, .. } => Some(log),
            _ => None,
        }
    }
}

fn missing(capabilities: &Option<Capabilities>) -> &'static str {
    match capabilities {
        Some(capabilities) if capabilities.can_load() => {
            ", though this process has the capabilities: a security module, lockdown or a seccomp filter may be in the way"
        }
        Some(capabilities) if capabilities.could_load() => {
            ", for this process is in a user namespace, where its capabilities do not count"
        }
        _ => "",
    }
}
