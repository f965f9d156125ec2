//! The file system that keeps links when the process that made them ends.
//!
//! An attachment is a directory `knobgate/NAME` on a bpffs with its `link` in it. The link leads to the program, and that
//! to its maps; only maps that would be emptied otherwise are pinned beside it.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, fchmod, fstat, mkdirat, open, openat, renameat_with,
    unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::attachment_name::AttachmentName;
use crate::hierarchy::magic;
use crate::link::{Link, LinkError};
use crate::map::Map;
use crate::mountinfo::{Mount, mounts};
use crate::sys::bpf;

/// `BPF_FS_MAGIC`
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
/// Where a bpffs belongs.
const USUAL: &str = "/sys/fs/bpf";
/// Our directory there.
const OURS: &str = "knobgate";
/// The pin in an attachment's directory.
const LINK: &str = "link";
/// Begins the names of the pins of maps there; the map's id follows.
const MAP: &str = "map-";
/// Begins the names of directories that are about to become an attachment's; no attachment's name can.
const STAGING: &str = "+";

/// What can go wrong with pins.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BpffsError {
    /// No bpffs is mounted.
    #[error(
        "no bpffs is mounted here, which is where attachments are kept; mount it: mount -t bpf bpf {USUAL}"
    )]
    NotMounted,
    /// The directory is not on a bpffs.
    #[error("{} is not on a bpffs; mount one: mount -t bpf bpf {}", path.display(), path.display())]
    NotBpffs {
        /// The directory.
        path: PathBuf,
    },
    /// Somebody else could change what is pinned there.
    #[error("{} belongs to user {owner}, who could take attachments away; not used", path.display())]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// There is an attachment of this name.
    #[error(
        "there is an attachment \"{name}\" already; replace its policy, detach it, or choose another name"
    )]
    Exists {
        /// The name.
        name: AttachmentName,
    },
    /// There is no attachment of this name.
    #[error("there is no attachment \"{name}\"")]
    NotFound {
        /// The name.
        name: AttachmentName,
    },
    /// The link cannot be pinned or opened.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done: a verb.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// A mounted bpffs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bpffs {
    path: PathBuf,
}

impl Bpffs {
    /// Finds one in `/proc/self/mountinfo`: `/sys/fs/bpf` if it is one, else the first whole one. Never mounts any.
    ///
    /// # Errors
    ///
    /// [`BpffsError::NotMounted`], which says how to mount it; [`Io`](BpffsError::Io) without `/proc`.
    pub fn find() -> Result<Self, BpffsError> {
        let mounts = mounts(&["bpf"]).map_err(|source| BpffsError::Io {
            doing: "read",
            path: "/proc/self/mountinfo".into(),
            source,
        })?;
        // Another mount may lie over one of them.
        choose(
            mounts.into_iter().filter(|mount| magic(&mount.point).is_ok_and(|magic| magic == BPF_FS_MAGIC)),
        )
        .ok_or(BpffsError::NotMounted)
    }

    /// The bpffs that is mounted at `path`, or the directory `path` on one.
    ///
    /// # Errors
    ///
    /// [`BpffsError::NotBpffs`], [`Io`](BpffsError::Io).
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, BpffsError> {
        let path = path.into();
        match magic(&path) {
            Ok(BPF_FS_MAGIC) => Ok(Self { path }),
            Ok(_) => Err(BpffsError::NotBpffs { path }),
            Err(source) => Err(BpffsError::Io { doing: "examine", path, source }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn choose(mounts: impl Iterator<Item = Mount>) -> Option<Bpffs> {
    mounts
        .filter(|mount| mount.root == Path::new("/"))
        .min_by_key(|mount| mount.point != Path::new(USUAL))
        .map(|mount| Bpffs { path: mount.point })
}

/// The directory of our attachments on a bpffs, `knobgate`, for its owner alone (mode 0700).
#[derive(Debug)]
pub struct PinDir {
    dir: OwnedFd,
    path: PathBuf,
}

impl PinDir {
    /// Opens it; `None` when there is none yet, and so no attachment.
    ///
    /// # Errors
    ///
    /// [`BpffsError::ForeignOwner`], [`Io`](BpffsError::Io).
    pub fn open(bpffs: &Bpffs) -> Result<Option<Self>, BpffsError> {
        let path = bpffs.path.join(OURS);
        let dir = match open(&path, DIRECTORY, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed("open", &path)(error)),
        };
        let owner = fstat(&dir).map_err(failed("examine", &path))?.st_uid;
        if owner != geteuid().as_raw() && owner != 0 {
            return Err(BpffsError::ForeignOwner { path, owner });
        }
        Ok(Some(Self { dir, path }))
    }

    /// Opens it, and creates it first if need be.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn create(bpffs: &Bpffs) -> Result<Self, BpffsError> {
        let path = bpffs.path.join(OURS);
        loop {
            if let Some(found) = Self::open(bpffs)? {
                // Whatever the umask or somebody made of it.
                fchmod(&found.dir, Mode::RWXU).map_err(failed("change the mode of", &path))?;
                return Ok(found);
            }
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(failed("create", &path)(error)),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the link of the attachment `name` is pinned.
    pub fn link_path(&self, name: &AttachmentName) -> PathBuf {
        self.path.join(name.as_str()).join(LINK)
    }

    /// Keeps `link` as the attachment `name`, which appears at once or not at all: of several that try at the same time
    /// one wins.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Exists`], [`Link`](BpffsError::Link), [`Io`](BpffsError::Io).
    pub fn pin(&self, name: &AttachmentName, link: &Link) -> Result<(), BpffsError> {
        let staging = Staging::create(self)?;
        link.pin(staging.path().join(LINK))?;
        let target = self.path.join(name.as_str());
        let renamed =
            renameat_with(&self.dir, &*staging.name, &self.dir, name.as_str(), RenameFlags::NOREPLACE);
        match renamed {
            Ok(()) => Ok(()),
            Err(Errno::EXIST | Errno::NOTEMPTY) => Err(BpffsError::Exists { name: name.clone() }),
            Err(error) => Err(failed("create", &target)(error)),
        }
    }

    /// The link of the attachment `name`.
    ///
    /// # Errors
    ///
    /// [`BpffsError::NotFound`], [`Link`](BpffsError::Link).
    pub fn link(&self, name: &AttachmentName) -> Result<Link, BpffsError> {
        Link::from_pin(self.link_path(name)).map_err(|error| match error {
            LinkError::Pin { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                BpffsError::NotFound { name: name.clone() }
            }
            error => error.into(),
        })
    }

    /// Pins maps beside the link of the attachment `name`: those that lose what is in them when no process has them open,
    /// which are program arrays (`bpf_fd_array_map_clear()` in `kernel/bpf/arraymap.c`).
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn hold_maps<'m>(
        &self,
        name: &AttachmentName,
        maps: impl IntoIterator<Item = &'m Map>,
    ) -> Result<(), BpffsError> {
        for map in maps {
            let path = self.path.join(name.as_str()).join(pin_name(map.info().id));
            let c_path = CString::new(path.as_os_str().as_bytes())
                .map_err(|_| failed("pin a map at", &path)(Errno::INVAL))?;
            bpf::obj_pin(map.as_fd(), &c_path).map_err(failed("pin a map at", &path))?;
        }
        Ok(())
    }

    /// Gives up what [`hold_maps`](Self::hold_maps) pinned, other than the maps with these ids.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn release_maps_but(&self, name: &AttachmentName, ids: &[u32]) -> Result<(), BpffsError> {
        let path = self.path.join(name.as_str());
        let kept: Vec<String> = ids.iter().copied().map(pin_name).collect();
        let dir =
            openat(&self.dir, name.as_str(), DIRECTORY, Mode::empty()).map_err(failed("open", &path))?;
        remove_maps(&dir, &kept).map_err(failed("remove a map in", &path))
    }

    /// The names of all attachments, sorted.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn names(&self) -> Result<Vec<AttachmentName>, BpffsError> {
        let mut names: Vec<_> =
            self.entries()?.into_iter().filter_map(|name| name.parse::<AttachmentName>().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Gives up the pin of the attachment `name`. Its program is detached with that, unless somebody has the link open
    /// or pinned elsewhere: [detach](Link::detach) it first to be sure.
    ///
    /// # Errors
    ///
    /// [`BpffsError::NotFound`], [`Io`](BpffsError::Io).
    pub fn remove(&self, name: &AttachmentName) -> Result<(), BpffsError> {
        self.remove_directory(name.as_str()).map_err(|error| match error {
            Errno::NOENT => BpffsError::NotFound { name: name.clone() },
            error => failed("remove", &self.path.join(name.as_str()))(error),
        })
    }

    fn remove_directory(&self, name: &str) -> rustix::io::Result<()> {
        let dir = openat(&self.dir, name, DIRECTORY, Mode::empty())?;
        match unlinkat(&dir, LINK, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        remove_maps(&dir, &[])?;
        unlinkat(&self.dir, name, AtFlags::REMOVEDIR)
    }

    /// The names of the directories in it, also of those that are no attachments.
    fn entries(&self) -> Result<Vec<String>, BpffsError> {
        let failed = || failed("list", &self.path);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.dir).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                names.extend(name.to_str().map(str::to_owned));
            }
        }
        Ok(names)
    }
}

/// The name of the file that pins the map with this id.
fn pin_name(id: u32) -> String {
    format!("{MAP}{id}")
}

/// Removes the pins of maps in the directory of an attachment, other than these.
fn remove_maps(dir: &OwnedFd, kept: &[String]) -> rustix::io::Result<()> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        names.extend(entry?.file_name().to_str().map(str::to_owned));
    }
    for name in names.into_iter().filter(|name| name.starts_with(MAP) && !kept.contains(name)) {
        unlinkat(dir, name, AtFlags::empty())?;
    }
    Ok(())
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory that is about to become that of an attachment; removed unless it was renamed.
struct Staging<'a> {
    pins: &'a PinDir,
    name: String,
}

impl<'a> Staging<'a> {
    fn create(pins: &'a PinDir) -> Result<Self, BpffsError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self::remove_stale(pins);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{STAGING}{}-{number}", std::process::id());
            match mkdirat(&pins.dir, &*name, Mode::RWXU) {
                Ok(()) => return Ok(Self { pins, name }),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(failed("create", &pins.path.join(name))(error)),
            }
        }
    }

    /// Removes those whose process has ended meanwhile; a link that is pinned there would hold for ever.
    fn remove_stale(pins: &PinDir) {
        for name in pins.entries().unwrap_or_default() {
            let owner =
                name.strip_prefix(STAGING).and_then(|name| name.split_once('-')?.0.parse::<u32>().ok());
            if owner.is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true)) {
                let _ = pins.remove_directory(&name);
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.pins.path.join(&self.name)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // Not there any longer if it became an attachment's.
        let _ = self.pins.remove_directory(&self.name);
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> BpffsError {
    let path = path.to_owned();
    move |error| BpffsError::Io { doing, path, source: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mountinfo::parse;

    #[test]
    fn the_usual_place_is_preferred() {
        let cases = [
            ("1 2 0:9 / /sys/fs/bpf rw - bpf bpf rw,mode=700\n", Some("/sys/fs/bpf")),
            (
                "1 2 0:9 / /run/b rw - bpf bpf rw\n1 2 0:9 / /sys/fs/bpf rw - bpf bpf rw\n",
                Some("/sys/fs/bpf"),
            ),
            ("1 2 0:9 / /run/b rw - bpf bpf rw\n1 2 0:9 / /run/c rw - bpf bpf rw\n", Some("/run/b")),
            ("1 2 0:9 /sub /run/b rw - bpf bpf rw\n", None),
            ("", None),
        ];
        for (mountinfo, expected) in cases {
            let found = choose(parse(mountinfo.as_bytes()));
            assert_eq!(found.as_ref().map(Bpffs::path), expected.map(Path::new), "{mountinfo}");
        }
    }
}
