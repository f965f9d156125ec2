//! Programs that the kernel holds.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::link::LinkError;
use crate::map::Map;
use crate::object::{ObjectError, PROGRAM_TYPE, ids, name_text, open_by_id};
use crate::replacement::Replacement;
use crate::sys::bpf::{self, Object};

/// A loaded program, held open.
#[derive(Debug)]
pub struct ProgramFd {
    fd: OwnedFd,
}

/// What the kernel says of a program (`struct bpf_prog_info`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramInfo {
    /// Its id, not used again while the machine is up.
    pub id: u32,
    /// Its name; at most 15 bytes.
    pub name: String,
    /// The number of its type in the kernel's `enum bpf_prog_type`.
    pub kind: u32,
    /// A hash of its instructions, without what differs from load to load.
    pub tag: [u8; 8],
    /// The ids of the maps that it holds.
    pub map_ids: Vec<u32>,
    /// When it was loaded: time since boot.
    pub loaded_at: Duration,
    /// The user who loaded it.
    pub created_by_uid: u32,
    /// Its length after verification, in instructions.
    pub insn_count: u32,
    /// Its length in machine code, in bytes; 0 when it is interpreted.
    pub jited_bytes: u32,
    /// How many instructions the verifier walked through (Linux 5.16; 0 before).
    pub verified_insns: u32,
    /// How often it ran, counted only while `kernel.bpf_stats_enabled` is 1.
    pub run_count: u64,
    /// How long these runs took together.
    pub run_time: Duration,
    /// Whether it carries the lines of its source.
    pub has_line_info: bool,
}

impl ProgramInfo {
    /// Whether it is a program for this hook (`BPF_PROG_TYPE_CGROUP_SYSCTL`).
    pub fn is_for_sysctl(&self) -> bool {
        self.kind == PROGRAM_TYPE
    }
}

impl ProgramFd {
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// The program with this id.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoSuchId`], [`NotPermitted`](ObjectError::NotPermitted), [`Failed`](ObjectError::Failed).
    pub fn by_id(id: u32) -> Result<Self, ObjectError> {
        open_by_id(Object::Program, id).map(Self::from_fd)
    }

    /// The ids of all programs of this machine, of whatever type.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NotPermitted`], [`Failed`](ObjectError::Failed).
    pub fn all_ids() -> Result<Vec<u32>, ObjectError> {
        ids(Object::Program)
    }

    /// What the kernel says of it.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Failed`].
    pub fn info(&self) -> Result<ProgramInfo, ObjectError> {
        let failed = || ObjectError::failed("examine a program");
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

    /// Whether links can have it replaced by `new` while they stay attached.
    ///
    /// # Errors
    ///
    /// [`LinkError::CgroupStorage`] if not, [`LinkError::Object`].
    pub fn check_replaced_by(&self, new: &Self) -> Result<(), LinkError> {
        Replacement::new(self, new).map(drop)
    }

    /// The maps that it holds. One that vanishes meanwhile is left out.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NotPermitted`], [`Failed`](ObjectError::Failed).
    pub fn maps(&self) -> Result<Vec<Map>, ObjectError> {
        let ids = bpf::program_map_ids(self.as_fd()).map_err(ObjectError::failed("examine a program"))?;
        ids.into_iter()
            .filter_map(|id| match Map::by_id(id) {
                Err(ObjectError::NoSuchId { .. }) => None,
                found => Some(found),
            })
            .collect()
    }
}

impl AsFd for ProgramFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
