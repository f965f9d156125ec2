//! The mounts of a process, the files that it can reach there, and its open files.

use std::path::{Path, PathBuf};
use std::{fs, io};

use knobgate_kernel::{Mount, mounts_of};

use super::workload::Workload;

/// The mounts of a process.
pub(super) struct ProcessMounts {
    pid: u32,
    mounts: Vec<Mount>,
}

/// A file that a process can reach.
pub(super) struct VisibleFile<'a> {
    pub(super) mount: &'a Mount,
    /// Its path for the process.
    pub(super) at: PathBuf,
    /// Its path for us.
    pub(super) here: PathBuf,
}

impl VisibleFile<'_> {
    /// Whether the process can write to it, or give itself permission to.
    pub(super) fn is_writable(&self, workload: &Workload) -> bool {
        !self.mount.read_only && self.is_open_to(workload)
    }

    /// The same by its permissions alone, even on a read-only mount.
    pub(super) fn is_open_to(&self, workload: &Workload) -> bool {
        fs::metadata(&self.here).is_ok_and(|file| workload.may_write(&file))
    }
}

impl ProcessMounts {
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, mounts: mounts_of(pid)? })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// The mounts of file systems of this type.
    pub(super) fn of_type(&self, fs_type: &str) -> impl Iterator<Item = &Mount> {
        self.mounts.iter().filter(move |mount| mount.fs_type == fs_type)
    }

    /// Where the process can reach `file`, or something in that directory. `file` is a path from the root of a file
    /// system of this type. Files that are covered by another mount are left out.
    pub(super) fn find<'a>(
        &'a self,
        fs_type: &'a str,
        file: &'a Path,
    ) -> impl Iterator<Item = VisibleFile<'a>> {
        self.of_type(fs_type).filter_map(move |mount| {
            let at = match file.strip_prefix(&mount.root) {
                // `components` drops the slash at the end if `rest` is empty.
                Ok(rest) => mount.point.join(rest).components().collect(),
                Err(_) if mount.root.starts_with(file) => mount.point.clone(),
                Err(_) => return None,
            };
            let topmost = self.mounts.iter().rfind(|other| at.starts_with(&other.point))?;
            (topmost.id == mount.id).then(|| VisibleFile { mount, here: self.here(&at), at })
        })
    }

    /// A mount of /proc that shows the processes of our pid namespace.
    pub(super) fn our_processes(&self) -> Option<&Path> {
        // In a /proc of another pid namespace, this link leads nowhere.
        let shows_us = |file: &VisibleFile<'_>| fs::read_link(&file.here).is_ok();
        self.find("proc", Path::new("/self")).find(shows_us).map(|file| file.mount.point.as_path())
    }

    fn here(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.pid)).join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// The links in /proc to the open files of a process.
pub(super) fn open_files(pid: u32) -> io::Result<impl Iterator<Item = PathBuf>> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let denied = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            io::Error::other("it takes CAP_DAC_READ_SEARCH to see what a process of another user has open")
        }
        _ => error,
    };
    let descriptors = fs::read_dir(process.join("fd")).map_err(denied)?.flatten().map(|entry| entry.path());
    Ok(descriptors.chain(["cwd", "root"].map(|name| process.join(name))))
}
