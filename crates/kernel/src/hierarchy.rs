//! Where the cgroup v2 hierarchy is mounted.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, AtFlags, OFlags, accessat, readlink};
use rustix::io::Errno;

use crate::cgroup::Cgroup;
use crate::cgroup_error::CgroupError;
use crate::long_path;
use crate::mountinfo::{Mount, mounts};
use crate::query::CgroupPrograms;
use crate::sys::file_handle::open_by_handle;

/// A mount of the cgroup v2 hierarchy.
///
/// A machine has one hierarchy, but it can be mounted in several places and next to the hierarchies of cgroup v1 (at
/// `/sys/fs/cgroup/unified` in systemd's "hybrid" layout). A container may see only a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    point: PathBuf,
    root: PathBuf,
    delegates: bool,
}

impl Hierarchy {
    /// Finds the hierarchy in `/proc/self/mountinfo`.
    ///
    /// Prefers the mount that shows most of the hierarchy, then one below `/sys/fs/cgroup`.
    ///
    /// # Errors
    ///
    /// [`CgroupError::NotMounted`], which says how to mount it; [`CgroupError::Io`] without `/proc`.
    pub fn find() -> Result<Self, CgroupError> {
        let mounts = mounts(&["cgroup2"]).map_err(|error| CgroupError::Io {
            doing: "read",
            path: "/proc/self/mountinfo".into(),
            error,
        })?;
        let (mut visible, mut failed) = (Vec::new(), None);
        for mount in mounts {
            match mount.is_visible() {
                Ok(true) => visible.push(mount),
                Ok(false) => {}
                Err(error) => failed = Some(CgroupError::Io { doing: "open", path: mount.point, error }),
            }
        }
        choose(visible.into_iter()).ok_or(failed.unwrap_or(CgroupError::NotMounted))
    }

    /// The mount point, which is the directory of the [root](Self::root).
    pub fn path(&self) -> &Path {
        &self.point
    }

    /// The topmost mounted cgroup. In a container, this need not be the root of the hierarchy.
    ///
    /// # Errors
    ///
    /// As [`Cgroup::open`].
    pub fn root(&self) -> Result<Cgroup, CgroupError> {
        Cgroup::open_directory(&self.point)
    }

    /// Whether processes cannot be moved across the boundaries of cgroup namespaces (`nsdelegate`).
    pub fn delegates_to_namespaces(&self) -> bool {
        self.delegates
    }

    /// Whether it contains the file with this metadata.
    pub fn holds(&self, file: &fs::Metadata) -> bool {
        fs::metadata(&self.point).is_ok_and(|top| top.dev() == file.dev())
    }

    /// The directory of the cgroup `name` of a `/proc/PID/cgroup`; `None` if it is outside the mounted part.
    pub fn directory(&self, name: &Path) -> Option<PathBuf> {
        let below = name.strip_prefix(&self.root).ok()?;
        // A name relative to our cgroup namespace can begin with `..`.
        if below.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        // `components` drops the slash at the end if `below` is empty.
        Some(self.point.join(below).components().collect())
    }

    /// The name of the cgroup with this directory, as in a `/proc/PID/cgroup`; `None` if it is not in this mount. The
    /// opposite of [`directory`](Self::directory).
    pub fn name(&self, directory: &Path) -> Option<PathBuf> {
        let below = directory.strip_prefix(&self.point).ok()?;
        Some(self.root.join(below).components().collect())
    }

    /// The directory of the cgroup with this id, found without a walk through the hierarchy (open_by_handle_at(2));
    /// `None` if there is none in the mounted part.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Io`] without `CAP_DAC_READ_SEARCH` or `/proc`, before Linux 5.5, or if the path has more than 4095
    /// bytes. [`path_of_id`](Self::path_of_id) does without these.
    pub fn path_by_handle(&self, id: u64) -> Result<Option<PathBuf>, CgroupError> {
        let failed = |error: Errno| self.failed_by_id(error);
        let Some(cgroup) = self.open_by_handle(id)? else { return Ok(None) };
        let link = format!("/proc/self/fd/{}", cgroup.as_raw_fd());
        let path = readlink(link, Vec::new()).map_err(failed)?;
        let path = PathBuf::from(OsString::from_vec(path.into_bytes()));
        // The link of a cgroup that is removed now ends with " (deleted)", and one outside of the mounted part leads nowhere.
        let is_there = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir() && found.ino() == id);
        Ok((is_there && path.starts_with(&self.point)).then_some(path))
    }

    /// Whether there is no cgroup with this id any more, in the mounted part or outside of it.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Io`] without `CAP_DAC_READ_SEARCH`, or before Linux 5.5.
    pub fn was_removed(&self, id: u64) -> Result<bool, CgroupError> {
        let Some(cgroup) = self.open_by_handle(id)? else { return Ok(true) };
        // One that was removed can still be opened, for more than a minute on Linux 5.10.
        match accessat(&cgroup, c"cgroup.procs", Access::EXISTS, AtFlags::empty()) {
            Ok(()) => Ok(false),
            Err(Errno::NOENT | Errno::NODEV) => Ok(true),
            Err(error) => Err(self.failed_by_id(error)),
        }
    }

    /// Queries the programs of cgroups by their ids, without the paths of these.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Io`] if the hierarchy cannot be opened.
    pub fn programs(&self) -> Result<CgroupPrograms, CgroupError> {
        let top = long_path::open_directory(&self.point).map_err(|error| self.failed_by_id(error))?;
        Ok(CgroupPrograms::new(top))
    }

    /// Opens the directory of a cgroup, wherever it is; `None` if it was removed.
    fn open_by_handle(&self, id: u64) -> Result<Option<OwnedFd>, CgroupError> {
        let top = long_path::open_directory(&self.point).map_err(|error| self.failed_by_id(error))?;
        match open_by_handle(top.as_fd(), id, OFlags::PATH) {
            Err(Errno::STALE) => Ok(None),
            opened => opened.map(Some).map_err(|error| self.failed_by_id(error)),
        }
    }

    fn failed_by_id(&self, error: Errno) -> CgroupError {
        let error = error.into();
        CgroupError::Io { doing: "open a cgroup by its id in", path: self.point.clone(), error }
    }

    /// The directory of the cgroup with this id; `None` if there is none in the mounted part.
    ///
    /// For several ids, [`paths_by_id`](Self::paths_by_id) walks the hierarchy once.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Io`] if the hierarchy cannot be read.
    pub fn path_of_id(&self, id: u64) -> Result<Option<PathBuf>, CgroupError> {
        Ok(self.paths_by_id()?.remove(&id))
    }

    /// The directories of all mounted cgroups, by id.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Io`] if the hierarchy cannot be read.
    pub fn paths_by_id(&self) -> Result<HashMap<u64, PathBuf>, CgroupError> {
        let root = self.root()?;
        let itself = (root.id(), self.point.clone());
        Ok(root.descendants()?.into_iter().chain([itself]).collect())
    }
}

fn choose(mounts: impl Iterator<Item = Mount>) -> Option<Hierarchy> {
    mounts
        .min_by_key(|mount| {
            let preferred = mount.point.starts_with("/sys/fs/cgroup");
            (mount.root.components().count(), !preferred)
        })
        .map(|mount| Hierarchy {
            delegates: mount.super_options.split(',').any(|option| option == "nsdelegate"),
            point: mount.point,
            root: mount.root,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mountinfo::parse;

    const UNIFIED: &str = "\
29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
";
    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const CONTAINER: &str = "\
612 611 0:26 /system.slice/docker-01.scope /sys/fs/cgroup ro - cgroup2 cgroup rw
";
    const NAMESPACED: &str = "612 611 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    const SEVERAL: &str = "\
50 22 0:26 /user.slice /mnt/part rw - cgroup2 c rw
51 22 0:26 / /mnt/all\\040of\\040it rw - cgroup2 c rw
52 22 0:26 / /sys/fs/cgroup rw - cgroup2 c rw
";
    const ELSEWHERE: &str = "51 22 0:26 / /mnt/all\\040of\\040it rw - cgroup2 c rw\n";
    const ONLY_V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n";

    fn chosen(mountinfo: &str) -> Option<Hierarchy> {
        choose(parse(mountinfo.as_bytes()).filter(|mount| mount.fs_type == "cgroup2"))
    }

    #[test]
    fn the_mount_that_shows_most_is_chosen() {
        let cases = [
            (UNIFIED, Some("/sys/fs/cgroup")),
            (HYBRID, Some("/sys/fs/cgroup/unified")),
            (CONTAINER, Some("/sys/fs/cgroup")),
            (NAMESPACED, Some("/sys/fs/cgroup")),
            (SEVERAL, Some("/sys/fs/cgroup")),
            (ELSEWHERE, Some("/mnt/all of it")),
            (ONLY_V1, None),
            ("", None),
        ];
        for (mountinfo, expected) in cases {
            assert_eq!(
                chosen(mountinfo).as_ref().map(Hierarchy::path),
                expected.map(Path::new),
                "{mountinfo}"
            );
        }
    }

    #[test]
    fn cgroup_namespaces_are_boundaries_if_the_hierarchy_says_so() {
        for (mountinfo, expected) in [(UNIFIED, true), (HYBRID, false)] {
            assert_eq!(
                chosen(mountinfo).map(|hierarchy| hierarchy.delegates_to_namespaces()),
                Some(expected)
            );
        }
    }

    #[test]
    fn the_name_of_a_cgroup_leads_to_its_directory() {
        let cases = [
            (UNIFIED, "/", Some("/sys/fs/cgroup")),
            (UNIFIED, "/system.slice/a.service", Some("/sys/fs/cgroup/system.slice/a.service")),
            (HYBRID, "/x", Some("/sys/fs/cgroup/unified/x")),
            (CONTAINER, "/system.slice/docker-01.scope", Some("/sys/fs/cgroup")),
            (CONTAINER, "/system.slice/docker-01.scope/x", Some("/sys/fs/cgroup/x")),
            (CONTAINER, "/system.slice/docker-02.scope", None),
            (CONTAINER, "/", None),
            (NAMESPACED, "/", Some("/sys/fs/cgroup")),
            (NAMESPACED, "/../docker-02.scope", None),
            (ELSEWHERE, "/x", Some("/mnt/all of it/x")),
        ];
        for (mountinfo, name, expected) in cases {
            let hierarchy = chosen(mountinfo).expect("a hierarchy");
            assert_eq!(
                hierarchy.directory(Path::new(name)),
                expected.map(PathBuf::from),
                "{name} in {mountinfo}"
            );
            if let Some(directory) = expected {
                assert_eq!(
                    hierarchy.name(Path::new(directory)).as_deref(),
                    Some(Path::new(name)),
                    "{directory}"
                );
            }
        }
    }
}
