//! What a process sees of other file systems, what it may do there, and what it holds open.

use std::path::{Path, PathBuf};
use std::{fs, io};

use knobgate_kernel::{Mount, mounts_of};

use super::workload::Task;

/// The mounts of a process.
pub(super) struct Sight {
    pid: u32,
    mounts: Vec<Mount>,
}

/// A file that a process sees.
pub(super) struct Seen<'a> {
    pub(super) mount: &'a Mount,
    /// Where the process sees it.
    pub(super) at: PathBuf,
    /// Where we do.
    pub(super) here: PathBuf,
}

impl Seen<'_> {
    /// Whether the process can write there, or let itself.
    pub(super) fn is_writable(&self, task: &Task) -> bool {
        !self.mount.read_only && self.is_open_to(task)
    }

    /// The same by its permissions alone, whether it is mounted read-only or not.
    pub(super) fn is_open_to(&self, task: &Task) -> bool {
        fs::metadata(&self.here).is_ok_and(|file| task.may_write(&file))
    }
}

impl Sight {
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, mounts: mounts_of(pid)? })
    }

    /// What it sees of a file, or of a directory and what is in there, of any file system of this type; with what the process
    /// calls `file` counted from the root of the file system. What another mount lies over is not seen.
    pub(super) fn of_file<'a>(&'a self, fs_type: &'a str, file: &'a Path) -> impl Iterator<Item = Seen<'a>> {
        self.mounts.iter().filter(move |mount| mount.fs_type == fs_type).filter_map(move |mount| {
            let at = match file.strip_prefix(&mount.root) {
                // Without a slash at the end where that is empty.
                Ok(rest) => mount.point.join(rest).components().collect(),
                Err(_) if mount.root.starts_with(file) => mount.point.clone(),
                Err(_) => return None,
            };
            let uppermost = self.mounts.iter().rfind(|other| at.starts_with(&other.point))?;
            (uppermost.id == mount.id).then(|| Seen { mount, here: self.here(&at), at })
        })
    }

    /// A mount of /proc, if there is any, that has the processes of our pid namespace.
    pub(super) fn our_processes(&self) -> Option<&Path> {
        // Of a namespace that we are not in, this leads nowhere.
        let shows_us = |seen: &Seen<'_>| fs::read_link(&seen.here).is_ok();
        self.of_file("proc", Path::new("/self")).find(shows_us).map(|seen| seen.mount.point.as_path())
    }

    fn here(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.pid)).join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// The links to what a process holds open, in its directory in /proc.
pub(super) fn open_files(process: &Path) -> io::Result<impl Iterator<Item = PathBuf>> {
    let descriptors = fs::read_dir(process.join("fd"))?.flatten().map(|entry| entry.path());
    let directories = ["cwd", "root"].map(|name| process.join(name));
    Ok(descriptors.chain(directories))
}
