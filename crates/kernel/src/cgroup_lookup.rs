//! Finding cgroups: by path, by name, and by process.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cgroup::Cgroup;
use crate::cgroup_error::CgroupError;
use crate::cgroup_name::unified_name;
use crate::hierarchy::Hierarchy;

impl Cgroup {
    /// Opens the cgroup at `path`: a directory if the path is absolute, otherwise a name relative to the root of the
    /// hierarchy (`system.slice/nginx.service`).
    ///
    /// # Errors
    ///
    /// [`NotFound`](CgroupError::NotFound), [`VersionOne`](CgroupError::VersionOne),
    /// [`NotCgroup`](CgroupError::NotCgroup), [`Io`](CgroupError::Io); for a relative path those of
    /// [`Hierarchy::find`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CgroupError> {
        let path = path.as_ref();
        if path.is_absolute() {
            Self::open_directory(path).map_err(|error| match error {
                CgroupError::VersionOne { path, .. } => {
                    let hierarchy = Hierarchy::find().ok().map(|found| found.path().to_owned());
                    CgroupError::VersionOne { path, hierarchy }
                }
                error => error,
            })
        } else {
            Self::open_directory(&Hierarchy::find()?.path().join(path))
        }
    }

    /// The cgroup of the process `pid`. If its threads are in several, that of the first thread.
    ///
    /// The path in `/proc/PID/cgroup` may lead to another cgroup: the process can be moved in the meantime, and another
    /// mount can cover the cgroup. So this checks that the cgroup lists the process.
    ///
    /// # Errors
    ///
    /// [`NoProcess`](CgroupError::NoProcess), [`NotVisible`](CgroupError::NotVisible),
    /// [`Moved`](CgroupError::Moved), and those of [`Hierarchy::find`] and [`open`](Self::open).
    pub fn of_pid(pid: u32) -> Result<Self, CgroupError> {
        Self::of_process(pid, &pid.to_string())
    }

    /// The cgroup of this process, also if `/proc` belongs to another pid namespace.
    ///
    /// # Errors
    ///
    /// As [`of_pid`](Self::of_pid).
    pub fn of_this_process() -> Result<Self, CgroupError> {
        Self::of_process(std::process::id(), "self")
    }

    fn of_process(pid: u32, directory: &str) -> Result<Self, CgroupError> {
        const TRIES: u32 = 10;
        let mut tries = 1;
        loop {
            match Self::find_process(pid, directory) {
                Err(CgroupError::Moved { .. } | CgroupError::NotFound { .. }) if tries < TRIES => {
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    /// The same, without retries. `directory` is that of the process below `/proc`.
    fn find_process(pid: u32, directory: &str) -> Result<Self, CgroupError> {
        let file = PathBuf::from(format!("/proc/{directory}/cgroup"));
        let text = fs::read(&file).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) => CgroupError::NoProcess { pid },
            _ => CgroupError::Io { doing: "read", path: file, error },
        })?;
        let name = unified_name(&text).ok_or(CgroupError::NotMounted)?;
        let hierarchy = Hierarchy::find()?;
        match hierarchy.directory(&name) {
            Some(directory) => {
                let cgroup = Self::open_directory(&directory)?;
                if cgroup.has_process(pid)? {
                    Ok(cgroup)
                } else {
                    Err(CgroupError::Moved { pid, path: directory })
                }
            }
            None => Err(CgroupError::NotVisible { pid, name, hierarchy: hierarchy.path().to_owned() }),
        }
    }
}
