//! What can go wrong with a link.

use std::io;
use std::path::PathBuf;

use knobgate_bpf::uapi::BPF_CGROUP_MAX_PROGS;

use crate::attach_mode::AttachMode;
use crate::object::BpfObjectError;

/// Why an operation on a link failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A program in single or override mode excludes others.
    #[error(
        "cannot attach to {}: {} holds a program attached in {mode} mode (id {program_id}, \"{program_name}\"); \
         links need multi mode: detach it or attach to {}",
        cgroup.display(),
        if holder == cgroup { "it".to_owned() } else { holder.display().to_string() },
        if holder == cgroup && *mode == AttachMode::Override { "a child" } else { "a cgroup outside that one" }
    )]
    Conflict {
        /// The cgroup to attach to.
        cgroup: PathBuf,
        /// The cgroup with that program: this one or an ancestor.
        holder: PathBuf,
        /// Its attach mode.
        mode: AttachMode,
        /// Its id.
        program_id: u32,
        /// Its name.
        program_name: String,
    },
    /// A conflict with a program that is not visible here.
    #[error(
        "cannot attach to {}: a program is attached in single or override mode, there or on a cgroup above that is not \
         visible from here; links need multi mode: detach it (from outside this container)",
        cgroup.display()
    )]
    HiddenConflict {
        /// The cgroup to attach to.
        cgroup: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel denies it without a conflict.
    #[error(
        "cannot attach to {}: not permitted, although no program conflicts: a security module, lockdown or a seccomp filter \
         may forbid it",
        cgroup.display()
    )]
    NotPermitted {
        /// The cgroup to attach to.
        cgroup: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The cgroup has the maximum of 64 programs.
    #[error("cannot attach to {}: it has {BPF_CGROUP_MAX_PROGS} programs, which is the kernel's limit", cgroup.display())]
    Full {
        /// The cgroup.
        cgroup: PathBuf,
    },
    /// The cgroup was removed.
    #[error("cannot attach to {}: the cgroup was removed", cgroup.display())]
    Removed {
        /// Where the cgroup was.
        cgroup: PathBuf,
    },
    /// The kernel cannot create links for this hook.
    #[error("cannot attach to {}: this kernel has no links for cgroup programs (Linux 5.7)", cgroup.display())]
    Unsupported {
        /// The cgroup.
        cgroup: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The program is for another hook.
    #[error(
        "cannot attach program {program_id} (\"{program_name}\"): it is not for the accesses to /proc/sys"
    )]
    WrongProgram {
        /// Its id.
        program_id: u32,
        /// Its name.
        program_name: String,
    },
    /// The link no longer holds a program.
    #[error("cannot {doing} link {id}: it is no longer attached: its cgroup was removed, or it was detached")]
    Detached {
        /// What failed.
        doing: &'static str,
        /// The link's id.
        id: u32,
    },
    /// Somebody else has replaced the program in the meantime.
    #[error(
        "cannot replace the program of link {id}: it is no longer the expected one, but program {found}; look again at \
         what is attached"
    )]
    ProgramChanged {
        /// The link's id.
        id: u32,
        /// Its current program.
        found: u32,
    },
    /// A program with cgroup storage can neither replace another one nor be replaced.
    #[error(
        "program {program_id} (\"{program_name}\") has cgroup storage (map {map_id}, \"{map_name}\"), which the kernel does \
         not replace together with the program of a link: on many kernels the next access would crash the machine; \
         attach the new program and detach the old one instead"
    )]
    CgroupStorage {
        /// The id of the program with the storage: the old one or the new one.
        program_id: u32,
        /// Its name.
        program_name: String,
        /// The id of the map.
        map_id: u32,
        /// Its name.
        map_name: String,
    },
    /// The program is attached, but not effective.
    #[error(
        "cannot make sure that the policy is enforced on {}: the kernel does not list program {program_id} among the \
         effective ones there",
        cgroup.display()
    )]
    NotEffective {
        /// The cgroup.
        cgroup: PathBuf,
        /// The program's id.
        program_id: u32,
    },
    /// The object is not a link of this hook.
    #[error("{what} is not a link that attaches a program to the accesses to /proc/sys of a cgroup")]
    NotOurs {
        /// The object.
        what: String,
    },
    /// A pin cannot be created or opened.
    #[error("cannot {doing} {}: {}", path.display(), pin_reason(error))]
    Pin {
        /// What failed: a verb.
        doing: &'static str,
        /// The path.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// A command failed.
    #[error("cannot {doing}: {error}")]
    Failed {
        /// What failed.
        doing: String,
        /// The kernel's answer.
        error: io::Error,
    },
    /// A query failed.
    #[error(transparent)]
    Object(#[from] BpfObjectError),
}

fn pin_reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EEXIST) => "something is already pinned there".to_owned(),
        Some(libc::ENOENT) => "nothing is pinned there".to_owned(),
        // bpf_obj_do_pin() and bpf_obj_do_get() in kernel/bpf/inode.c
        Some(libc::EPERM | libc::EACCES) => format!("{error} (the directory must be on a bpffs)"),
        _ => io_reason(error),
    }
}

/// Why something cannot be made on a bpffs. It has no size: what it lacks is memory for an inode (`bpf_get_inode`, kernel/bpf/inode.c).
pub(crate) fn io_reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::ENOMEM) => {
            format!("there is not enough memory, in the kernel or in the cgroup of this process ({error})")
        }
        // With kernel.unprivileged_bpf_disabled, bpf(2) does nothing without it: Linux 5.10.
        Some(libc::EPERM) => format!("{error}; it takes CAP_BPF, which CAP_SYS_ADMIN includes"),
        _ => error.to_string(),
    }
}
