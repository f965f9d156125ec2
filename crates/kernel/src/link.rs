//! Links, which hold a program on a cgroup.
//!
//! The program stays attached while the link is open somewhere or pinned. Detaching it takes the link, or
//! `CAP_SYS_ADMIN`.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use knobgate_bpf::uapi::BPF_CGROUP_SYSCTL;
use rustix::io::Errno;

use crate::attach_mode::AttachMode;
use crate::cgroup::Cgroup;
use crate::cgroup_type::CgroupType;
use crate::link_error::LinkError;
use crate::object::{BpfObjectError, ids, name_text, open_by_id};
use crate::program::ProgramFd;
use crate::replacement::Replacement;
use crate::sys::bpf::{self, AttachSpec, Object};

/// A link that holds a program of this hook on a cgroup.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
    id: u32,
}

/// What the kernel says about a link (`struct bpf_link_info`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkInfo {
    /// Its id, which is not reused before the next boot.
    pub id: u32,
    /// Its program.
    pub program_id: u32,
    /// Its cgroup; `None` after that was removed or the link detached.
    pub cgroup_id: Option<u64>,
}

impl Link {
    /// Attaches `program` to `cgroup`, for the accesses of all processes in it and below.
    ///
    /// It stays attached while this value lives, or longer if the link is [pinned](Self::pin).
    ///
    /// # Errors
    ///
    /// [`Conflict`](LinkError::Conflict), [`Full`](LinkError::Full), [`Removed`](LinkError::Removed),
    /// [`WrongProgram`](LinkError::WrongProgram), [`Unsupported`](LinkError::Unsupported),
    /// [`Failed`](LinkError::Failed).
    pub fn create(program: &ProgramFd, cgroup: &Cgroup) -> Result<Self, LinkError> {
        match bpf::link_create(program.as_fd(), cgroup.as_fd(), BPF_CGROUP_SYSCTL, AttachSpec::default()) {
            Ok(fd) => Self::from_fd(fd, || "the new object".to_owned()),
            Err(error) => Err(attach_error(program, cgroup, error)),
        }
    }

    /// The link that is pinned at `path`.
    ///
    /// # Errors
    ///
    /// [`Pin`](LinkError::Pin), [`NotOurs`](LinkError::NotOurs).
    pub fn from_pin(path: impl AsRef<Path>) -> Result<Self, LinkError> {
        let path = path.as_ref();
        let fd = c_path(path)
            .and_then(|path| bpf::obj_get(&path))
            .map_err(|error| pin_error("open the pinned link", path, error))?;
        Self::from_fd(fd, || path.display().to_string())
    }

    /// The link with this id.
    ///
    /// # Errors
    ///
    /// [`Object`](LinkError::Object), [`NotOurs`](LinkError::NotOurs).
    pub fn by_id(id: u32) -> Result<Self, LinkError> {
        Self::from_fd(open_by_id(Object::Link, id)?, || format!("link {id}"))
    }

    /// All links of this hook on the machine.
    ///
    /// # Errors
    ///
    /// [`Object`](LinkError::Object): it takes `CAP_SYS_ADMIN`.
    pub fn all() -> Result<Vec<LinkInfo>, LinkError> {
        let mut links = Vec::new();
        for id in ids(Object::Link)? {
            match Self::by_id(id) {
                Ok(link) => links.push(link.info()?),
                // Other kinds of links, and those that were closed in the meantime.
                Err(LinkError::NotOurs { .. } | LinkError::Object(BpfObjectError::NoSuchId { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(links)
    }

    pub(crate) fn from_fd(fd: OwnedFd, what: impl FnOnce() -> String) -> Result<Self, LinkError> {
        // A pin can also be a map or a program. Their info has other values here: at the offset of the attach type, it
        // has the first bytes of a name, or an address that we left 0.
        const LINK_TYPE_CGROUP: u32 = 3;
        match bpf::info::<bpf::LinkInfo>(fd.as_fd()) {
            Ok(info) if info.kind == LINK_TYPE_CGROUP && info.attach_type == BPF_CGROUP_SYSCTL => {
                Ok(Self { fd, id: info.id })
            }
            _ => Err(LinkError::NotOurs { what: what() }),
        }
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its program and cgroup, now.
    ///
    /// # Errors
    ///
    /// [`Failed`](LinkError::Failed).
    pub fn info(&self) -> Result<LinkInfo, LinkError> {
        let info: bpf::LinkInfo = bpf::info(self.as_fd()).map_err(|error| self.failed("query", error))?;
        Ok(LinkInfo {
            id: info.id,
            program_id: info.program_id,
            cgroup_id: Some(info.cgroup_id).filter(|&id| id != 0),
        })
    }

    /// Its current program.
    ///
    /// # Errors
    ///
    /// [`Failed`](LinkError::Failed), [`Object`](LinkError::Object).
    pub fn program(&self) -> Result<ProgramFd, LinkError> {
        Ok(ProgramFd::by_id(self.info()?.program_id)?)
    }

    /// Replaces `old` with `new`, atomically: every access is judged by one of them.
    ///
    /// # Errors
    ///
    /// [`ProgramChanged`](LinkError::ProgramChanged) if the link does not hold `old`,
    /// [`CgroupStorage`](LinkError::CgroupStorage) if one of the programs has any, which would crash many kernels;
    /// [`Detached`](LinkError::Detached), [`Failed`](LinkError::Failed), [`Object`](LinkError::Object).
    pub fn update(&self, old: &ProgramFd, new: &ProgramFd) -> Result<(), LinkError> {
        Replacement::new(old, new)?.update(self.as_fd()).map_err(|error| match error {
            Errno::NOLINK => LinkError::Detached { doing: "replace the program of", id: self.id },
            // cgroup_bpf_replace() in kernel/bpf/cgroup.c
            Errno::PERM => match self.info() {
                Ok(info) => LinkError::ProgramChanged { id: self.id, found: info.program_id },
                Err(error) => error,
            },
            error => self.failed("replace the program of", error),
        })
    }

    /// Detaches the program from the cgroup, even if the link is pinned or open elsewhere. A second call does nothing.
    ///
    /// # Errors
    ///
    /// [`Failed`](LinkError::Failed): `EINVAL` before Linux 5.9, which lacks the command. There, the program is
    /// detached with the last pin and descriptor.
    pub fn detach(&self) -> Result<(), LinkError> {
        bpf::link_detach(self.as_fd()).map_err(|error| self.failed("detach", error))
    }

    /// Pins it at `path`, on a bpffs, so that the program stays attached after this process.
    ///
    /// # Errors
    ///
    /// [`Pin`](LinkError::Pin).
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<(), LinkError> {
        let path = path.as_ref();
        c_path(path)
            .and_then(|path| bpf::obj_pin(self.as_fd(), &path))
            .map_err(|error| pin_error("pin the link at", path, error))
    }

    fn failed(&self, doing: &str, error: Errno) -> LinkError {
        LinkError::Failed { doing: format!("{doing} link {}", self.id), error: error.into() }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn c_path(path: &Path) -> Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)
}

fn pin_error(doing: &'static str, path: &Path, error: Errno) -> LinkError {
    LinkError::Pin { doing, path: path.to_owned(), error: error.into() }
}

pub(crate) fn attach_error(program: &ProgramFd, cgroup: &Cgroup, error: Errno) -> LinkError {
    let path = cgroup.path().to_owned();
    match error {
        Errno::INVAL
            if let Ok(info) = program.info()
                && !info.is_for_sysctl() =>
        {
            LinkError::WrongProgram { program_id: info.id, program_name: info.name }
        }
        Errno::PERM => find_conflict(cgroup, error.into()),
        Errno::TOOBIG => LinkError::Full { cgroup: path },
        Errno::NOENT | Errno::NODEV => LinkError::Removed { cgroup: path },
        Errno::INVAL => LinkError::Unsupported { cgroup: path, source: error.into() },
        error => LinkError::Failed { doing: format!("attach to {}", path.display()), error: error.into() },
    }
}

/// Finds the program because of which the kernel returned `EPERM` (`hierarchy_allows_attach()` in kernel/bpf/cgroup.c):
/// one on the cgroup that is not in multi mode, or the one on the nearest ancestor that has programs, if that is in
/// single mode.
fn find_conflict(cgroup: &Cgroup, source: io::Error) -> LinkError {
    let path = || cgroup.path().to_owned();
    let mut above: Option<Cgroup> = None;
    loop {
        let holder = above.as_ref().unwrap_or(cgroup);
        let Ok(attached) = holder.attached() else {
            return LinkError::HiddenConflict { cgroup: path(), source };
        };
        match (attached.mode, above.is_some()) {
            (Some(mode @ AttachMode::Single), _) | (Some(mode @ AttachMode::Override), false) => {
                let program_id = attached.program_ids.first().copied().unwrap_or_default();
                let info = open_by_id(Object::Program, program_id)
                    .ok()
                    .and_then(|fd| bpf::info::<bpf::ProgramInfo>(fd.as_fd()).ok());
                return LinkError::Conflict {
                    cgroup: path(),
                    holder: holder.path().to_owned(),
                    mode,
                    program_id,
                    program_name: info.map(|info| name_text(&info.name)).unwrap_or_default(),
                };
            }
            (Some(_), true) => return LinkError::NotPermitted { cgroup: path(), source },
            (None, _) | (Some(AttachMode::Multi), false) => {}
        }
        match holder.parent() {
            Ok(Some(parent)) => above = Some(parent),
            _ if holder.kind().is_ok_and(|kind| kind == CgroupType::Root) => {
                return LinkError::NotPermitted { cgroup: path(), source };
            }
            _ => return LinkError::HiddenConflict { cgroup: path(), source },
        }
    }
}
