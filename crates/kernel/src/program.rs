//! Loaded programs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use knobgate_bpf::uapi::BPF_PROG_TYPE_CGROUP_SYSCTL;

use crate::fdinfo::FdInfo;
use crate::map::Map;
use crate::object::{BpfObjectError, ids, name_text, open_by_id};
use crate::sys::bpf::{self, Object};
use crate::token::BpfToken;

/// A descriptor of a loaded program.
#[derive(Debug)]
pub struct ProgramFd {
    fd: OwnedFd,
}

/// What the kernel says about a program (`struct bpf_prog_info`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramInfo {
    /// Its id, which is not reused before the next boot.
    pub id: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its type in the kernel's `enum bpf_prog_type`.
    pub kind: u32,
    /// A hash of its instructions, without parts that differ between loads.
    pub tag: [u8; 8],
    /// The ids of its maps.
    pub map_ids: Vec<u32>,
    /// When it was loaded, as time since boot.
    pub loaded_at: Duration,
    /// The user who loaded it.
    pub created_by_uid: u32,
    /// Its length after verification, in instructions.
    pub insn_count: u32,
    /// The length of its machine code in bytes; 0 if it is interpreted.
    pub jited_bytes: u32,
    /// How many instructions the verifier processed (Linux 5.16; 0 before).
    pub verified_insns: u32,
    /// How often it ran while `kernel.bpf_stats_enabled` was 1.
    pub run_count: u64,
    /// The total time of these runs.
    pub run_time: Duration,
    /// Whether it has line information.
    pub has_line_info: bool,
}

impl ProgramInfo {
    /// Whether it is a program for this hook (`BPF_PROG_TYPE_CGROUP_SYSCTL`).
    pub fn is_for_sysctl(&self) -> bool {
        self.kind == BPF_PROG_TYPE_CGROUP_SYSCTL
    }
}

/// Whether the kernel has the line information with which it accepted a program. With a BPF token, it does not tell: that takes
/// capabilities in the initial user namespace (`bpf_prog_get_info_by_fd()`, kernel/bpf/syscall.c).
pub(crate) fn has_line_info(accepted_with_it: bool, info: Option<&ProgramInfo>) -> bool {
    let is_there = || info.is_some_and(|info| info.has_line_info);
    accepted_with_it && (BpfToken::of_this_process().is_some() || is_there())
}

impl ProgramFd {
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// The program with this id.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::NoSuchId`], [`NotPermitted`](BpfObjectError::NotPermitted), [`Failed`](BpfObjectError::Failed).
    pub fn by_id(id: u32) -> Result<Self, BpfObjectError> {
        open_by_id(Object::Program, id).map(Self::from_fd)
    }

    /// The ids of all programs on this machine, of any type.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::NotPermitted`], [`Failed`](BpfObjectError::Failed).
    pub fn all_ids() -> Result<Vec<u32>, BpfObjectError> {
        ids(Object::Program)
    }

    /// What the kernel says about it.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`].
    pub fn info(&self) -> Result<ProgramInfo, BpfObjectError> {
        let failed = || BpfObjectError::failed("query a program");
        let info: bpf::ProgramInfo = bpf::info(self.as_fd()).map_err(failed())?;
        Ok(ProgramInfo {
            id: info.id,
            name: name_text(&info.name),
            kind: info.kind,
            tag: info.tag,
            map_ids: bpf::program_map_ids(self.as_fd()).map_err(failed())?,
            loaded_at: Duration::from_nanos(info.load_time_ns),
            created_by_uid: info.created_by_uid,
            insn_count: info.xlated_len / 8,
            jited_bytes: info.jited_len,
            verified_insns: info.verified_insns,
            run_count: info.run_count,
            run_time: Duration::from_nanos(info.run_time_ns),
            has_line_info: info.line_info_count > 0,
        })
    }

    /// Its maps.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::NotPermitted`], [`Failed`](BpfObjectError::Failed).
    pub fn maps(&self) -> Result<Vec<Map>, BpfObjectError> {
        let ids = bpf::program_map_ids(self.as_fd()).map_err(BpfObjectError::failed("query a program"))?;
        ids.into_iter()
            .filter_map(|id| match Map::by_id(id) {
                Err(BpfObjectError::NoSuchId { .. }) => None,
                found => Some(found),
            })
            .collect()
    }

    /// How many bytes of kernel memory it takes without its maps, from the descriptor's `fdinfo`. `None` if the kernel does not say.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`] if `/proc` cannot be read.
    pub fn memory(&self) -> Result<Option<u64>, BpfObjectError> {
        let info = FdInfo::of(self.as_fd()).map_err(|error| BpfObjectError::Failed {
            doing: "read the fdinfo of a program".to_owned(),
            error,
        })?;
        Ok(info.memory())
    }
}

impl AsFd for ProgramFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
