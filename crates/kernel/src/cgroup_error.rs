//! What can go wrong with a cgroup.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// Why an operation on a cgroup failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// No cgroup v2 hierarchy is mounted.
    #[error("no cgroup v2 hierarchy is mounted here; mount it: mount -t cgroup2 none /sys/fs/cgroup")]
    NotMounted,
    /// The directory belongs to a hierarchy of cgroup v1.
    #[error(
        "{} is a cgroup of version 1, to which no program can be attached; use one of version 2{}",
        path.display(), hierarchy.as_ref().map(|path| format!(", below {}", path.display())).unwrap_or_default()
    )]
    VersionOne {
        /// The directory.
        path: PathBuf,
        /// Where the hierarchy of version 2 is, if it is mounted.
        hierarchy: Option<PathBuf>,
    },
    /// It is not a cgroup.
    #[error("{} is not the directory of a cgroup", path.display())]
    NotCgroup {
        /// The path.
        path: PathBuf,
    },
    /// It does not exist.
    #[error("there is no cgroup {}", path.display())]
    NotFound {
        /// The missing directory.
        path: PathBuf,
    },
    /// It exists already.
    #[error("the cgroup {} exists already", path.display())]
    Exists {
        /// Its directory.
        path: PathBuf,
    },
    /// The name contains a slash or a NUL, or is empty, `.` or `..`.
    #[error("`{}` cannot be the name of a cgroup: it must be one path component", name.display())]
    InvalidName {
        /// The name.
        name: OsString,
    },
    /// There is no process with this id.
    #[error("there is no process {pid}")]
    NoProcess {
        /// The process id.
        pid: u32,
    },
    /// The process is not in the cgroup that `/proc/PID/cgroup` names.
    #[error(
        "process {pid} is not in {}, although /proc/{pid}/cgroup says so: it has ended, it is being moved, or another \
         mount covers its cgroup",
        path.display()
    )]
    Moved {
        /// The process id.
        pid: u32,
        /// That cgroup.
        path: PathBuf,
    },
    /// The process is in a cgroup outside the mounted part of the hierarchy.
    #[error(
        "process {pid} is in the cgroup {}, which the hierarchy mounted at {} does not show",
        name.display(), hierarchy.display()
    )]
    NotVisible {
        /// The process id.
        pid: u32,
        /// The cgroup as `/proc/PID/cgroup` names it.
        name: PathBuf,
        /// Where the hierarchy is mounted.
        hierarchy: PathBuf,
    },
    /// The root of the hierarchy contains every process of the machine.
    #[error("cannot kill the processes of {}: it is the root of all cgroups", path.display())]
    Root {
        /// Its directory.
        path: PathBuf,
    },
    /// It has processes or children.
    #[error(
        "cannot remove the cgroup {}: there are processes or cgroups in it, or something is mounted there",
        path.display()
    )]
    InUse {
        /// Its directory.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {doing} {}: {error}", path.display())]
    Io {
        /// What failed: a verb.
        doing: &'static str,
        /// Its object.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

/// Whether an error means that a cgroup does not exist or was removed.
pub(crate) fn gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}
