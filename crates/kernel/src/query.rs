//! The programs of a cgroup.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use knobgate_bpf::uapi::BPF_CGROUP_SYSCTL;
use rustix::fs::OFlags;

use crate::attach_mode::AttachMode;
use crate::cgroup::Cgroup;
use crate::link_error::LinkError;
use crate::object::BpfObjectError;
use crate::sys::bpf;
use crate::sys::file_handle::open_by_handle;
use crate::token::BpfToken;

/// `BPF_F_QUERY_EFFECTIVE`
const EFFECTIVE: u32 = 1;

/// The programs of this hook that are attached to a cgroup itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attached {
    /// Their mode; `None` if there are none.
    pub mode: Option<AttachMode>,
    /// Their ids, in attach order.
    pub program_ids: Vec<u32>,
    /// The revision of the list, from 1 (Linux 6.17; `None` before).
    pub revision: Option<u64>,
}

impl Cgroup {
    /// The programs of this hook that are attached to this cgroup itself.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::NotPermitted`], [`Failed`](BpfObjectError::Failed).
    pub fn attached(&self) -> Result<Attached, BpfObjectError> {
        let (result, program_ids) = self.query(0)?;
        Ok(Attached {
            mode: (!program_ids.is_empty()).then(|| AttachMode::from_flags(result.attach_flags)),
            program_ids,
            revision: Some(result.revision).filter(|&revision| revision != 0),
        })
    }

    /// The programs that run for accesses of processes in this cgroup, in execution order: those of this cgroup, then
    /// those of its ancestors, even if a container does not see these.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::NotPermitted`], [`Failed`](BpfObjectError::Failed).
    pub fn effective(&self) -> Result<Vec<u32>, BpfObjectError> {
        self.query(EFFECTIVE).map(|(_, ids)| ids)
    }

    /// Checks that a program is [effective](Self::effective).
    ///
    /// A process that uses a [`BpfToken`] cannot ask. There, it has to be enough that the kernel made the link: a link is in multi
    /// mode, in which every program runs.
    ///
    /// # Errors
    ///
    /// [`LinkError::NotEffective`], [`Object`](LinkError::Object).
    pub fn ensure_effective(&self, program_id: u32) -> Result<(), LinkError> {
        match self.effective() {
            Ok(ids) if ids.contains(&program_id) => Ok(()),
            Ok(_) => Err(LinkError::NotEffective { cgroup: self.path().to_owned(), program_id }),
            Err(BpfObjectError::NotPermitted { .. }) if BpfToken::of_this_process().is_some() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn query(&self, flags: u32) -> Result<(bpf::QueryResult, Vec<u32>), BpfObjectError> {
        query(self.as_fd(), flags).map_err(|error| {
            let doing = format!("query the programs of {}", self.path().display());
            BpfObjectError::new(doing, "CAP_NET_ADMIN", error)
        })
    }
}

fn query(cgroup: BorrowedFd<'_>, flags: u32) -> rustix::io::Result<(bpf::QueryResult, Vec<u32>)> {
    let mut ids = vec![0; 64];
    loop {
        let result = bpf::prog_query(cgroup, BPF_CGROUP_SYSCTL, flags, &mut ids)?;
        if !result.truncated && result.count <= ids.len() {
            ids.truncate(result.count);
            return Ok((result, ids));
        }
        // With some room for those that are attached in the meantime.
        ids = vec![0; result.count + 16];
    }
}

/// Queries the programs of cgroups by their ids: for many of them, and without their paths.
#[derive(Debug)]
pub struct CgroupPrograms {
    /// The topmost mounted cgroup.
    top: OwnedFd,
}

impl CgroupPrograms {
    pub(crate) fn new(top: OwnedFd) -> Self {
        Self { top }
    }

    /// The ids of the programs that are attached to a cgroup itself, and of those that run for it; `None` if that was removed, or cannot be
    /// queried.
    pub fn of(&self, cgroup_id: u64) -> Option<(Vec<u32>, Vec<u32>)> {
        let cgroup = open_by_handle(self.top.as_fd(), cgroup_id, OFlags::RDONLY | OFlags::DIRECTORY).ok()?;
        let ids = |flags| query(cgroup.as_fd(), flags).ok().map(|(_, ids)| ids);
        Some((ids(0)?, ids(EFFECTIVE)?))
    }
}
