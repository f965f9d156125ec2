//! An attachment: a program on cgroups, held by pinned links.
//!
//! It is a directory with a link `cgroup-ID` for each cgroup, named after the cgroup's id (`ls -di` prints it). The
//! links lead to the program, and the program to its maps. Only maps that the kernel would empty otherwise are pinned,
//! too, as `map-ID`.
//!
//! If the program itself is pinned, too, as `program`, the attachment exists without any cgroup.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;

use crate::bpffs::{BpffsError, failed, untrusted_pin};
use crate::link::{Link, LinkInfo};
use crate::link_error::LinkError;
use crate::map::Map;
use crate::object::BpfObjectError;
use crate::pin_owner::BadOwnership;
use crate::program::ProgramFd;
use crate::sys::bpf;

/// The flags for opening directories.
pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The prefix of pinned links.
const LINK: &str = "cgroup-";
/// The prefix of pinned maps.
const MAP: &str = "map-";
/// The name of the pinned program.
const PROGRAM: &str = "program";

/// An attachment, by its directory.
#[derive(Debug)]
pub struct Attachment {
    dir: OwnedFd,
    path: PathBuf,
}

/// A link of an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PinnedLink {
    /// The cgroup that it was made for, which may have been removed.
    pub cgroup_id: u64,
    /// Its program and cgroup, now.
    pub info: LinkInfo,
}

impl PinnedLink {
    /// Whether it no longer holds a program on a cgroup: the cgroup was removed, or the link detached.
    pub fn is_dead(&self) -> bool {
        self.info.cgroup_id.is_none()
    }
}

impl Attachment {
    /// Opens the directory `name` in `pins`, whose path is `parent`.
    pub(crate) fn open(pins: BorrowedFd<'_>, parent: &Path, name: &str) -> rustix::io::Result<Self> {
        let dir = openat(pins, name, DIRECTORY, Mode::empty())?;
        Ok(Self { dir, path: parent.join(name) })
    }

    pub(crate) fn directory(&self) -> &OwnedFd {
        &self.dir
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its links, sorted by cgroup id. Skips those that are unpinned in the meantime.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Link`], [`Untrusted`](BpffsError::Untrusted), [`Io`](BpffsError::Io).
    pub fn links(&self) -> Result<Vec<PinnedLink>, BpffsError> {
        let mut cgroups = self.pinned(LINK)?;
        cgroups.sort_unstable();
        let mut links = Vec::with_capacity(cgroups.len());
        for cgroup_id in cgroups {
            match self.link(cgroup_id) {
                Ok(link) => links.push(PinnedLink { cgroup_id, info: link.info()? }),
                Err(BpffsError::Link(LinkError::Pin { error, .. }))
                    if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(links)
    }

    /// The link that holds the program on this cgroup.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Link`], [`Untrusted`](BpffsError::Untrusted).
    pub fn link(&self, cgroup_id: u64) -> Result<Link, BpffsError> {
        let path = self.pin_path(LINK, cgroup_id);
        let stat = statat(&self.dir, format!("{LINK}{cgroup_id}"), AtFlags::SYMLINK_NOFOLLOW);
        match stat.map(|stat| BadOwnership::of_entry(&stat)) {
            Ok(Some(why)) => Err(untrusted_pin(&path, why)),
            Ok(None) => Ok(Link::from_pin(path)?),
            Err(error) => {
                Err(LinkError::Pin { doing: "open the pinned link", path, error: error.into() }.into())
            }
        }
    }

    /// Pins the link that holds the program on this cgroup.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Link`].
    pub fn pin(&self, cgroup_id: u64, link: &Link) -> Result<(), BpffsError> {
        Ok(link.pin(self.pin_path(LINK, cgroup_id))?)
    }

    /// Unpins the link of this cgroup. That detaches the program, unless the link is open or pinned elsewhere:
    /// [detach](Link::detach) it first to be sure.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn unpin(&self, cgroup_id: u64) -> Result<(), BpffsError> {
        self.remove(LINK, cgroup_id)
    }

    /// Unpins the dead links, and returns the others.
    ///
    /// # Errors
    ///
    /// As [`links`](Self::links).
    pub fn unpin_dead(&self) -> Result<Vec<PinnedLink>, BpffsError> {
        let (dead, alive): (Vec<_>, Vec<_>) = self.links()?.into_iter().partition(PinnedLink::is_dead);
        dead.iter().try_for_each(|link| self.unpin(link.cgroup_id))?;
        Ok(alive)
    }

    /// Pins its program, so that it exists without any cgroup.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn pin_program(&self, program: &ProgramFd) -> Result<(), BpffsError> {
        let path = self.path.join(PROGRAM);
        let pinned = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL);
        pinned
            .and_then(|path| bpf::obj_pin(program.as_fd(), &path))
            .map_err(failed("pin the program at", &path))
    }

    /// The pinned program; `None` if only its links hold one.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Untrusted`], [`Io`](BpffsError::Io).
    pub fn program(&self) -> Result<Option<ProgramFd>, BpffsError> {
        let path = self.path.join(PROGRAM);
        match statat(&self.dir, PROGRAM, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed("examine", &path)(error)),
            Ok(stat) => {
                if let Some(why) = BadOwnership::of_entry(&stat) {
                    return Err(untrusted_pin(&path, why));
                }
            }
        }
        let pinned = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL);
        match pinned.and_then(|path| bpf::obj_get(&path)) {
            Ok(program) => Ok(Some(ProgramFd::from_fd(program))),
            // It was removed in the meantime.
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(failed("open the pinned program", &path)(error)),
        }
    }

    /// The ids of its programs: the pinned one, or else those of its links, the dead ones included.
    ///
    /// # Errors
    ///
    /// As [`program`](Self::program) and [`links`](Self::links).
    pub fn program_ids(&self) -> Result<BTreeSet<u32>, BpffsError> {
        match self.program()? {
            Some(program) => {
                let id = program.info().map_err(|error: BpfObjectError| LinkError::from(error))?.id;
                Ok(BTreeSet::from([id]))
            }
            None => Ok(self.links()?.iter().map(|link| link.info.program_id).collect()),
        }
    }

    pub(crate) fn unpin_all(&self) -> Result<(), BpffsError> {
        self.pinned(LINK)?.into_iter().try_for_each(|cgroup_id| self.unpin(cgroup_id))?;
        // Before its maps: without these, it would not be whole.
        self.unlink(PROGRAM)?;
        self.unpin_maps_except(&[])
    }

    pub(crate) fn pin_map(&self, map: &Map) -> Result<(), BpffsError> {
        let path = self.pin_path(MAP, map.info().id.into());
        let pinned = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL);
        pinned.and_then(|path| bpf::obj_pin(map.as_fd(), &path)).map_err(failed("pin a map at", &path))
    }

    pub(crate) fn unpin_map(&self, id: u32) -> Result<(), BpffsError> {
        self.remove(MAP, id.into())
    }

    pub(crate) fn unpin_maps_except(&self, ids: &[u32]) -> Result<(), BpffsError> {
        let kept = |id: &u64| ids.iter().any(|kept| u64::from(*kept) == *id);
        self.pinned(MAP)?.into_iter().filter(|id| !kept(id)).try_for_each(|id| self.remove(MAP, id))
    }

    /// The ids in the names of pins with this prefix.
    fn pinned(&self, prefix: &str) -> Result<Vec<u64>, BpffsError> {
        let failed = || failed("list", &self.path);
        let mut ids = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.dir).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let name = entry.file_name().to_str().ok();
            ids.extend(name.and_then(|name| name.strip_prefix(prefix)?.parse::<u64>().ok()));
        }
        Ok(ids)
    }

    fn pin_path(&self, prefix: &str, id: u64) -> PathBuf {
        self.path.join(format!("{prefix}{id}"))
    }

    fn remove(&self, prefix: &str, id: u64) -> Result<(), BpffsError> {
        self.unlink(&format!("{prefix}{id}"))
    }

    fn unlink(&self, pin: &str) -> Result<(), BpffsError> {
        match unlinkat(&self.dir, pin, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("remove", &self.path.join(pin))(error)),
        }
    }
}
