//! The file system on which links are pinned.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{fstatfs, statfs};
use rustix::io::Errno;

use crate::attachment_name::AttachmentName;
use crate::cgroup_error::CgroupError;
use crate::dir_lock::{LockHolder, by};
use crate::link_error::{LinkError, io_reason};
use crate::mountinfo::{Mount, mounts};
use crate::pin_owner::BadOwnership;

/// `BPF_FS_MAGIC`
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
/// The standard mount point.
const MOUNT_POINT: &str = "/sys/fs/bpf";

/// Why an operation on pins failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BpffsError {
    /// No bpffs is mounted.
    #[error(
        "no bpffs is mounted here, and attachments are kept there; mount it: mount -t bpf bpf {MOUNT_POINT}"
    )]
    NotMounted,
    /// The directory is not on a bpffs.
    #[error("{} is not on a bpffs; mount one: mount -t bpf bpf {}", path.display(), path.display())]
    NotBpffs {
        /// The directory.
        path: PathBuf,
    },
    /// Another user than root owns it or can change its content.
    #[error("{} {why}, so what is pinned there proves nothing and is not used; {remedy}", path.display())]
    Untrusted {
        /// What is not trusted.
        path: PathBuf,
        /// Why.
        why: BadOwnership,
        /// What to do about it.
        remedy: String,
    },
    /// Only root's pins are trusted, so only root may create them.
    #[error("only root can attach policies, and this is user {user}; run it as root")]
    NotRoot {
        /// The effective user.
        user: u32,
    },
    /// The attachment exists already.
    #[error(
        "the attachment \"{name}\" exists already; replace its policy, detach it, or choose another name"
    )]
    Exists {
        /// The name.
        name: AttachmentName,
    },
    /// The attachment does not exist.
    #[error("there is no attachment \"{name}\"")]
    NotFound {
        /// The name.
        name: AttachmentName,
    },
    /// An operation on a link failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A cgroup to restore cannot be opened.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Another process has locked it, and has not let go of it in time.
    #[error(
        "another process has had {} locked for {} s: {}", path.display(), waited.as_secs_f64(), by(holder.as_ref())
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
        /// Who has locked it, if that is known.
        holder: Option<LockHolder>,
    },
    /// A system call failed.
    #[error("cannot {doing} {}: {}", path.display(), io_reason(error))]
    Io {
        /// What failed: a verb.
        doing: &'static str,
        /// Its object.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

/// A mounted bpffs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bpffs {
    path: PathBuf,
}

impl Bpffs {
    /// Finds one in `/proc/self/mountinfo`: at `/sys/fs/bpf`, or else the first whole one. Does not mount anything.
    ///
    /// # Errors
    ///
    /// [`BpffsError::NotMounted`], which says how to mount it; [`Io`](BpffsError::Io) without `/proc`.
    pub fn find() -> Result<Self, BpffsError> {
        let mounts = mounts(&["bpf"]).map_err(|error| BpffsError::Io {
            doing: "read",
            path: "/proc/self/mountinfo".into(),
            error,
        })?;
        // Another mount may cover one of them.
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
            Err(error) => Err(BpffsError::Io { doing: "examine", path, error }),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether an open file is on a bpffs.
pub(crate) fn is_bpffs(file: &OwnedFd) -> bool {
    fstatfs(file).is_ok_and(|found| found.f_type as u32 == BPF_FS_MAGIC)
}

/// The magic number of the file system at `path`.
fn magic(path: &Path) -> io::Result<u32> {
    Ok(statfs(path)?.f_type as u32)
}

fn choose(mounts: impl Iterator<Item = Mount>) -> Option<Bpffs> {
    mounts
        .filter(|mount| mount.root == Path::new("/"))
        .min_by_key(|mount| mount.point != Path::new(MOUNT_POINT))
        .map(|mount| Bpffs { path: mount.point })
}

/// A pin or a directory of pins is not trusted.
pub(crate) fn untrusted_pin(path: &Path, why: BadOwnership) -> BpffsError {
    let remedy = format!("remove it: rm -r {}", path.display());
    BpffsError::Untrusted { path: path.to_owned(), why, remedy }
}

pub(crate) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> BpffsError {
    let path = path.to_owned();
    move |error| BpffsError::Io { doing, path, error: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mountinfo::parse;

    #[test]
    fn the_standard_mount_point_is_preferred() {
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
