//! An attachment: a program on cgroups, held by pinned links.
//!
//! It is a directory with a link `cgroup-ID` for each cgroup, named after the cgroup's id (`ls -di` prints it). More in its name
//! says where it comes from ([`LinkOrigin`]). The links lead to the program, and the program to its maps. Only maps that the kernel
//! would empty otherwise are pinned, too, as `map-ID`.
//!
//! If the program itself is pinned, too, as `program`, the attachment exists without any cgroup.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use crate::bpffs::{BpffsError, failed, untrusted_pin};
use crate::link::{Link, LinkInfo};
use crate::link_error::LinkError;
use crate::link_origin::{LinkOrigin, LinkPin};
use crate::map::Map;
use crate::object::BpfObjectError;
use crate::pin_owner::BadOwnership;
use crate::program::ProgramFd;
use crate::sys::bpf;

/// The flags for opening directories.
pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

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
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PinnedLink {
    /// The cgroup that it was made for, which may have been removed.
    pub cgroup_id: u64,
    /// Who made it, and when.
    pub origin: LinkOrigin,
    /// Its program and cgroup, now.
    pub info: LinkInfo,
    pin: LinkPin,
}

/// A link of an attachment that cannot be opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct UnopenedLink {
    /// The cgroup that it was made for, by the name of its pin.
    pub cgroup_id: u64,
    /// Who made it, and when, by the same.
    pub origin: LinkOrigin,
    /// Why it cannot be opened.
    pub error: BpffsError,
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
        let mut pins = self.link_pins()?;
        pins.sort_unstable();
        self.pinned_links(pins)
    }

    /// The same, where one that cannot be opened does not hide the others.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`] if they cannot be listed.
    pub fn each_link(&self) -> Result<Vec<Result<PinnedLink, UnopenedLink>>, BpffsError> {
        let mut pins = self.link_pins()?;
        pins.sort_unstable();
        let open = |pin: LinkPin| {
            let (cgroup_id, origin) = (pin.cgroup_id, pin.origin);
            self.pinned_link(pin).map_err(|error| UnopenedLink { cgroup_id, origin, error }).transpose()
        };
        Ok(pins.into_iter().filter_map(open).collect())
    }

    /// Its links on this cgroup: there is one, or none. There are several only if somebody else has pinned one, or another version
    /// of knobgate that does not know all sources.
    ///
    /// # Errors
    ///
    /// As [`links`](Self::links).
    pub fn links_on(&self, cgroup_id: u64) -> Result<Vec<PinnedLink>, BpffsError> {
        self.pinned_links(self.link_pins_on(cgroup_id)?)
    }

    /// From where its links come, each with the id of its cgroup. They are not opened, so they may be dead.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn link_origins(&self) -> Result<Vec<(u64, LinkOrigin)>, BpffsError> {
        Ok(self.link_pins()?.into_iter().map(|pin| (pin.cgroup_id, pin.origin)).collect())
    }

    /// The same, if all of its pins are root's, so that others cannot have made them. `None` if one is not.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn trusted_link_origins(&self) -> Result<Option<Vec<(u64, LinkOrigin)>>, BpffsError> {
        let mut origins = Vec::new();
        for pin in self.link_pins()? {
            match statat(&self.dir, pin.name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if BadOwnership::of_entry(&stat).is_none() => {
                    origins.push((pin.cgroup_id, pin.origin));
                }
                Err(Errno::NOENT) => {}
                Ok(_) | Err(_) => return Ok(None),
            }
        }
        Ok(Some(origins))
    }

    /// Where its link on this cgroup comes from; `None` if there is none, or one of an [unknown](crate::LinkSource::Unknown) source. It
    /// is not opened, so it may be dead.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn link_origin(&self, cgroup_id: u64) -> Result<Option<LinkOrigin>, BpffsError> {
        for pin in LinkPin::known(cgroup_id) {
            match statat(&self.dir, pin.name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => return Ok(Some(pin.origin)),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(failed("examine", &self.path.join(pin.name()))(error)),
            }
        }
        Ok(None)
    }

    /// The link that holds the program on this cgroup.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Link`], [`Untrusted`](BpffsError::Untrusted), [`Io`](BpffsError::Io).
    pub fn link(&self, cgroup_id: u64) -> Result<Link, BpffsError> {
        match self.link_pins_on(cgroup_id)?.first() {
            Some(pin) => self.open_pin(pin),
            None => {
                let path = self.path.join(LinkPin::new(cgroup_id, LinkOrigin::HAND).name());
                Err(not_opened(path, Errno::NOENT))
            }
        }
    }

    /// Opens one of its links.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Link`], [`Untrusted`](BpffsError::Untrusted).
    pub fn open_link(&self, link: &PinnedLink) -> Result<Link, BpffsError> {
        self.open_pin(&link.pin)
    }

    /// Pins the link that holds the program on this cgroup.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Link`].
    pub fn pin(&self, cgroup_id: u64, origin: LinkOrigin, link: &Link) -> Result<(), BpffsError> {
        Ok(link.pin(self.path.join(LinkPin::new(cgroup_id, origin).name()))?)
    }

    /// Notes that a link did not [come late](LinkOrigin::late): of what is in its cgroup, nothing has run before. Its pin gets another
    /// name, so somebody who lists pins at that moment may miss it.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn set_in_time(&self, link: &PinnedLink) -> Result<(), BpffsError> {
        let in_time = LinkPin::new(link.cgroup_id, LinkOrigin { late: false, ..link.origin });
        let (old, new) = (link.pin.name(), in_time.name());
        renameat(&self.dir, old, &self.dir, new).map_err(failed("rename", &self.path.join(old)))
    }

    /// Unpins one of its links. That detaches the program, unless the link is open or pinned elsewhere:
    /// [detach](Link::detach) it first to be sure.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn unpin(&self, link: &PinnedLink) -> Result<(), BpffsError> {
        self.unlink(link.pin.name())
    }

    /// Unpins the link of a cgroup that was removed, without opening it.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn unpin_removed(&self, cgroup_id: u64, origin: LinkOrigin) -> Result<(), BpffsError> {
        self.unlink(LinkPin::new(cgroup_id, origin).name())
    }

    /// Unpins the dead links, and returns the others.
    ///
    /// # Errors
    ///
    /// As [`links`](Self::links).
    pub fn unpin_dead(&self) -> Result<Vec<PinnedLink>, BpffsError> {
        let (dead, alive): (Vec<_>, Vec<_>) = self.links()?.into_iter().partition(PinnedLink::is_dead);
        dead.iter().try_for_each(|link| self.unpin(link))?;
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
        self.link_pins()?.iter().try_for_each(|pin| self.unlink(pin.name()))?;
        // Before its maps: without these, it would not be whole.
        self.unlink(PROGRAM)?;
        self.unpin_maps_except(&[])
    }

    pub(crate) fn pin_map(&self, map: &Map) -> Result<(), BpffsError> {
        let path = self.path.join(map_pin(map.info().id));
        let pinned = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL);
        pinned.and_then(|path| bpf::obj_pin(map.as_fd(), &path)).map_err(failed("pin a map at", &path))
    }

    pub(crate) fn unpin_map(&self, id: u32) -> Result<(), BpffsError> {
        self.unlink(&map_pin(id))
    }

    pub(crate) fn unpin_maps_except(&self, ids: &[u32]) -> Result<(), BpffsError> {
        let pinned = self.pins(|name| name.strip_prefix(MAP)?.parse::<u32>().ok())?;
        pinned.into_iter().filter(|id| !ids.contains(id)).try_for_each(|id| self.unpin_map(id))
    }

    fn link_pins(&self) -> Result<Vec<LinkPin>, BpffsError> {
        self.pins(LinkPin::parse)
    }

    /// The pins of the links on a cgroup. There may be thousands of others, so the names that this version knows are tried first.
    fn link_pins_on(&self, cgroup_id: u64) -> Result<Vec<LinkPin>, BpffsError> {
        let is_there = |pin: &LinkPin| {
            statat(&self.dir, pin.name(), AtFlags::SYMLINK_NOFOLLOW).err() != Some(Errno::NOENT)
        };
        let mut pins: Vec<LinkPin> = LinkPin::known(cgroup_id).filter(is_there).collect();
        if pins.is_empty() {
            pins = self.link_pins()?;
            pins.retain(|pin| pin.cgroup_id == cgroup_id);
        }
        Ok(pins)
    }

    fn pinned_links(&self, pins: Vec<LinkPin>) -> Result<Vec<PinnedLink>, BpffsError> {
        pins.into_iter().filter_map(|pin| self.pinned_link(pin).transpose()).collect()
    }

    /// `None` if it was unpinned in the meantime.
    fn pinned_link(&self, pin: LinkPin) -> Result<Option<PinnedLink>, BpffsError> {
        match self.open_pin(&pin) {
            Ok(link) => {
                let info = link.info()?;
                Ok(Some(PinnedLink { cgroup_id: pin.cgroup_id, origin: pin.origin, info, pin }))
            }
            Err(BpffsError::Link(LinkError::Pin { error, .. }))
                if error.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn open_pin(&self, pin: &LinkPin) -> Result<Link, BpffsError> {
        let path = self.path.join(pin.name());
        let stat = statat(&self.dir, pin.name(), AtFlags::SYMLINK_NOFOLLOW);
        match stat.map(|stat| BadOwnership::of_entry(&stat)) {
            Ok(Some(why)) => Err(untrusted_pin(&path, why)),
            Ok(None) => Ok(Link::from_pin(path)?),
            Err(error) => Err(not_opened(path, error)),
        }
    }

    /// What `parse` makes of the names of its pins.
    fn pins<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, BpffsError> {
        let failed = || failed("list", &self.path);
        let mut pins = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.dir).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            pins.extend(entry.file_name().to_str().ok().and_then(&parse));
        }
        Ok(pins)
    }

    fn unlink(&self, pin: &str) -> Result<(), BpffsError> {
        match unlinkat(&self.dir, pin, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("remove", &self.path.join(pin))(error)),
        }
    }
}

fn map_pin(id: u32) -> String {
    format!("{MAP}{id}")
}

fn not_opened(path: PathBuf, error: Errno) -> BpffsError {
    LinkError::Pin { doing: "open the pinned link", path, error: error.into() }.into()
}
