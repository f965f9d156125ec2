//! Cgroups of version 2, the only ones that programs attach to.

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{
    Access, AtFlags, Dir, FileType, Mode, OFlags, accessat, fstat, fstatfs, mkdirat, openat, unlinkat,
};
use rustix::io::Errno;

use crate::cgroup_error::{CgroupError, gone};
use crate::cgroup_type::CgroupType;
use crate::long_path;
use crate::process_id::ProcessId;
use crate::teardown;

/// `CGROUP2_SUPER_MAGIC`
const CGROUP2_MAGIC: u32 = 0x6367_7270;
/// `CGROUP_SUPER_MAGIC`
const CGROUP1_MAGIC: u32 = 0x0027_e0eb;

/// A v2 cgroup, by a descriptor of its directory.
///
/// If the directory is removed and created again, this still refers to the removed cgroup, and operations fail.
#[derive(Debug)]
pub struct Cgroup {
    dir: OwnedFd,
    path: PathBuf,
    id: u64,
}

impl Cgroup {
    pub(crate) fn open_directory(path: &Path) -> Result<Self, CgroupError> {
        let dir = match long_path::open_directory(path) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Err(CgroupError::NotFound { path: path.to_owned() }),
            Err(Errno::NOTDIR) => return Err(CgroupError::NotCgroup { path: path.to_owned() }),
            Err(error) => return Err(failed("open", path)(error)),
        };
        Self::from_directory(dir, path.to_owned())
    }

    fn from_directory(dir: OwnedFd, path: PathBuf) -> Result<Self, CgroupError> {
        match fstatfs(&dir).map_err(failed("examine", &path))?.f_type as u32 {
            CGROUP2_MAGIC => {}
            CGROUP1_MAGIC => return Err(CgroupError::VersionOne { path, hierarchy: None }),
            _ => return Err(CgroupError::NotCgroup { path }),
        }
        // On 64-bit systems, the inode number is the id (kernfs_ino() in include/linux/kernfs.h).
        let id = fstat(&dir).map_err(failed("examine", &path))?.st_ino;
        Ok(Self { dir, path, id })
    }

    /// The id of this cgroup for BPF links and `bpf_get_current_cgroup_id`. It is not reused before the next boot.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The path with which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is for processes or for threads, and whether it is the root.
    ///
    /// # Errors
    ///
    /// [`NotFound`](CgroupError::NotFound) if it was removed, [`Io`](CgroupError::Io).
    pub fn kind(&self) -> Result<CgroupType, CgroupError> {
        let text = match self.read("cgroup.type") {
            // Only the root and removed cgroups lack this file.
            Err(CgroupError::Io { error, .. }) if gone(&error) => {
                return if self.exists() {
                    Ok(CgroupType::Root)
                } else {
                    Err(CgroupError::NotFound { path: self.path.clone() })
                };
            }
            text => text?,
        };
        CgroupType::from_name(text.trim_end()).ok_or_else(|| CgroupError::Io {
            doing: "parse",
            path: self.path.join("cgroup.type"),
            error: io::Error::new(io::ErrorKind::InvalidData, format!("it says {:?}", text.trim_end())),
        })
    }

    /// Whether it was not removed.
    pub(crate) fn exists(&self) -> bool {
        accessat(&self.dir, c"cgroup.procs", Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// Whether processes can be in it next to child cgroups: not if it enables domain controllers for these ("No
    /// Internal Process Constraint", Documentation/admin-guide/cgroup-v2.rst).
    ///
    /// # Errors
    ///
    /// [`Io`](CgroupError::Io).
    pub fn takes_processes(&self) -> Result<bool, CgroupError> {
        const THREADED: [&str; 4] = ["cpu", "cpuset", "perf_event", "pids"];
        let enabled = self.read("cgroup.subtree_control")?;
        Ok(enabled.split_whitespace().all(|controller| THREADED.contains(&controller)))
    }

    /// Creates the child `name`.
    ///
    /// # Errors
    ///
    /// [`Exists`](CgroupError::Exists), [`InvalidName`](CgroupError::InvalidName), [`Io`](CgroupError::Io).
    pub fn create(&self, name: impl AsRef<OsStr>) -> Result<Self, CgroupError> {
        let name = name.as_ref();
        if matches!(name.as_bytes(), b"" | b"." | b"..")
            || name.as_bytes().iter().any(|byte| b"/\0".contains(byte))
        {
            return Err(CgroupError::InvalidName { name: name.to_owned() });
        }
        let path = self.path.join(name);
        match mkdirat(&self.dir, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(CgroupError::Exists { path }),
            Err(error) => return Err(failed("create the cgroup", &path)(error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(&self.dir, name, flags, Mode::empty()).map_err(failed("open", &path))?;
        Self::from_directory(dir, path)
    }

    /// The ids of the processes in this cgroup itself. 0 stands for a process of another pid namespace.
    ///
    /// # Errors
    ///
    /// [`Io`](CgroupError::Io); `EOPNOTSUPP` in a threaded cgroup.
    pub fn procs(&self) -> Result<Vec<u32>, CgroupError> {
        let text = self.read("cgroup.procs")?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Whether the process `pid`, or its first thread, is in this cgroup itself.
    pub(crate) fn has_process(&self, pid: u32) -> Result<bool, CgroupError> {
        let members = match self.procs() {
            Err(CgroupError::Io { error, .. }) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                let threads = self.read("cgroup.threads")?;
                threads.lines().filter_map(|line| line.parse().ok()).collect()
            }
            members => members?,
        };
        Ok(members.contains(&pid))
    }

    /// Moves a process into this cgroup.
    ///
    /// # Errors
    ///
    /// [`NoProcess`](CgroupError::NoProcess), [`Io`](CgroupError::Io).
    pub fn enter(&self, process: ProcessId) -> Result<(), CgroupError> {
        match self.open_procs()?.write_all(process.to_string().as_bytes()) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                Err(CgroupError::NoProcess { pid: process.get() })
            }
            Err(error) => {
                Err(CgroupError::Io { doing: "move a process into", path: self.path.clone(), error })
            }
            Ok(()) => Ok(()),
        }
    }

    /// Kills every process in this cgroup and below, including those that are being forked.
    ///
    /// [`wait_until_empty`](Self::wait_until_empty) waits for their end. Kernels before 5.14 have no `cgroup.kill`, and
    /// threaded cgroups do not support it; there, this freezes the processes and kills them one by one.
    ///
    /// # Errors
    ///
    /// [`Root`](CgroupError::Root), [`Io`](CgroupError::Io).
    pub fn kill(&self) -> Result<(), CgroupError> {
        teardown::kill_all(self.dir.as_fd()).map_err(|error| match error {
            Errno::NOENT if self.kind().is_ok_and(|kind| kind == CgroupType::Root) => {
                CgroupError::Root { path: self.path.clone() }
            }
            error => failed("kill the processes of", &self.path)(error),
        })
    }

    /// Whether there is a process in this cgroup or below.
    ///
    /// # Errors
    ///
    /// [`Io`](CgroupError::Io); the root of the hierarchy has no `cgroup.events`.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        teardown::is_populated(self.dir.as_fd()).map_err(failed("read cgroup.events of", &self.path))
    }

    /// Whether there is a process in this cgroup or below, except for this one.
    ///
    /// # Errors
    ///
    /// [`Io`](CgroupError::Io).
    pub fn is_occupied(&self, except: Option<u32>) -> Result<bool, CgroupError> {
        let is_other = |pid: &u32| Some(*pid) != except;
        match except {
            // The root, which has no `cgroup.events`, has the first process of the machine.
            None => Ok(self.kind()? == CgroupType::Root || self.is_populated()?),
            Some(_) if self.procs()?.iter().any(is_other) => Ok(true),
            Some(_) => {
                let below = self.descendants()?.into_iter();
                // It may be removed in the meantime. A threaded one has only threads of processes that are listed above it.
                let procs = |(_, path)| Self::open(path).and_then(|below| below.procs()).unwrap_or_default();
                Ok(below.flat_map(procs).any(|pid| is_other(&pid)))
            }
        }
    }

    /// Waits until there is no process in this cgroup and below. Returns whether that is so.
    ///
    /// # Errors
    ///
    /// As [`is_populated`](Self::is_populated).
    pub fn wait_until_empty(&self, at_most: Duration) -> Result<bool, CgroupError> {
        teardown::wait_until_empty(self.dir.as_fd(), at_most)
            .map_err(failed("read cgroup.events of", &self.path))
    }

    /// Removes this cgroup, which must have no processes and children. Waits up to half a second if processes have just
    /// ended.
    ///
    /// Attached programs are detached; their links stay, without a cgroup.
    ///
    /// # Errors
    ///
    /// [`InUse`](CgroupError::InUse), [`NotFound`](CgroupError::NotFound), [`Io`](CgroupError::Io).
    pub fn remove(&self) -> Result<(), CgroupError> {
        const TRIES: u32 = 50;
        let (parent, name) = self.parent_and_name()?;
        for _ in 0..TRIES {
            match unlinkat(&parent, name.as_c_str(), AtFlags::REMOVEDIR) {
                Ok(()) => return Ok(()),
                Err(Errno::BUSY | Errno::NOTEMPTY) if teardown::has_children(self.as_fd()) == Ok(true) => {
                    break;
                }
                Err(Errno::BUSY | Errno::NOTEMPTY) => teardown::sleep(Duration::from_millis(10)),
                Err(Errno::NOENT) => return Err(CgroupError::NotFound { path: self.path.clone() }),
                Err(error) => return Err(failed("remove the cgroup", &self.path)(error)),
            }
        }
        Err(CgroupError::InUse { path: self.path.clone() })
    }

    /// Kills all processes in this cgroup and below, waits up to ten seconds for their end, and removes the cgroups.
    ///
    /// # Errors
    ///
    /// [`InUse`](CgroupError::InUse), [`Io`](CgroupError::Io).
    pub fn kill_and_remove(&self) -> Result<(), CgroupError> {
        let (parent, name) = self.parent_and_name()?;
        match self.kill() {
            Err(CgroupError::Io { error, .. }) if gone(&error) => return Ok(()),
            done => done?,
        }
        if !self.wait_until_empty(Duration::from_secs(10))? {
            return Err(CgroupError::InUse { path: self.path.clone() });
        }
        teardown::remove_all(parent.as_fd(), &name).map_err(|error| self.not_removed(error))
    }

    /// Removes this cgroup and all cgroups below it if none of them has a process. Does not wait.
    ///
    /// # Errors
    ///
    /// [`InUse`](CgroupError::InUse), [`Io`](CgroupError::Io).
    pub fn remove_with_descendants(&self) -> Result<(), CgroupError> {
        let (parent, name) = self.parent_and_name()?;
        if self.is_populated()? {
            return Err(CgroupError::InUse { path: self.path.clone() });
        }
        teardown::remove_tree(parent.as_fd(), &name).map_err(|error| self.not_removed(error))
    }

    fn not_removed(&self, error: Errno) -> CgroupError {
        match error {
            Errno::BUSY | Errno::NOTEMPTY => CgroupError::InUse { path: self.path.clone() },
            error => failed("remove the cgroup", &self.path)(error),
        }
    }

    /// The ids and directories of all cgroups below this one, parents before their children.
    ///
    /// # Errors
    ///
    /// [`Io`](CgroupError::Io).
    pub fn descendants(&self) -> Result<Vec<(u64, PathBuf)>, CgroupError> {
        let mut found = Vec::new();
        walk(&self.path, &mut |id, path| found.push((id, path)))?;
        Ok(found)
    }

    /// The parent; `None` for the topmost mounted cgroup.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn parent(&self) -> Result<Option<Self>, CgroupError> {
        let Some(path) = self.path.parent() else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(&self.dir, c"..", flags, Mode::empty()).map_err(failed("open", path))?;
        match Self::from_directory(dir, path.to_owned()) {
            Ok(parent) => Ok(Some(parent)),
            Err(CgroupError::NotCgroup { .. } | CgroupError::VersionOne { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The parent directory, and the name of this cgroup there.
    pub(crate) fn parent_and_name(&self) -> Result<(OwnedFd, CString), CgroupError> {
        let name = self.path.file_name().and_then(|name| CString::new(name.as_bytes()).ok());
        let name = name.ok_or_else(|| CgroupError::InvalidName { name: self.path.clone().into() })?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = openat(&self.dir, c"..", flags, Mode::empty());
        let parent = parent.map_err(failed("open the parent of", &self.path))?;
        Ok((parent, name))
    }

    /// `cgroup.procs`, open for writing.
    pub(crate) fn open_procs(&self) -> Result<fs::File, CgroupError> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let procs = openat(&self.dir, c"cgroup.procs", flags, Mode::empty());
        Ok(procs.map_err(failed("open cgroup.procs of", &self.path))?.into())
    }

    fn read(&self, file: &str) -> Result<String, CgroupError> {
        let path = self.path.join(file);
        let fd = openat(&self.dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        io::read_to_string(fs::File::from(fd.map_err(failed("open", &path))?))
            .map_err(|error| CgroupError::Io { doing: "read", path, error })
    }
}

impl AsFd for Cgroup {
    /// The directory.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> CgroupError {
    let path = path.to_owned();
    move |error| CgroupError::Io { doing, path, error: error.into() }
}

/// Visits all directories below `directory`, parents before their children. Skips those that are removed in the
/// meantime.
fn walk(directory: &Path, visit: &mut impl FnMut(u64, PathBuf)) -> Result<(), CgroupError> {
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        match children(&directory) {
            Ok(children) => {
                for (id, name) in children {
                    let path = directory.join(name);
                    visit(id, path.clone());
                    pending.push(path);
                }
            }
            Err(Errno::NOENT | Errno::NODEV) => {}
            Err(error) => {
                return Err(CgroupError::Io { doing: "list", path: directory, error: error.into() });
            }
        }
    }
    Ok(())
}

/// The child directories with their inode numbers. On 64-bit systems, these are the ids (kernfs_ino() in
/// include/linux/kernfs.h).
fn children(directory: &Path) -> rustix::io::Result<Vec<(u64, OsString)>> {
    let mut children = Vec::new();
    for entry in Dir::new(long_path::open_directory(directory)?)? {
        let entry = match entry {
            // The directory was removed.
            Err(Errno::NOENT | Errno::NODEV) => break,
            entry => entry?,
        };
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if entry.file_type() == FileType::Directory && name != "." && name != ".." {
            children.push((entry.ino(), name.to_owned()));
        }
    }
    Ok(children)
}
