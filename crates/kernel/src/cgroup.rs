//! Cgroups of version 2, the only ones that programs attach to.

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, fstat, fstatfs, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cgroup_type::CgroupType;
use crate::hierarchy::{CGROUP1_MAGIC, CGROUP2_MAGIC, Hierarchy, gone, walk};
use crate::long_path;
use crate::process_id::ProcessId;
use crate::teardown;

/// What can go wrong with a cgroup.
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
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What failed: a verb.
        doing: &'static str,
        /// Its object.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

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
            Self::open_directory(path)
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
        let text = fs::read(&file).map_err(|source| match source.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) => CgroupError::NoProcess { pid },
            _ => CgroupError::Io { doing: "read", path: file, source },
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
            CGROUP1_MAGIC => {
                let hierarchy = Hierarchy::find().ok().map(|found| found.path().to_owned());
                return Err(CgroupError::VersionOne { path, hierarchy });
            }
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
            Err(CgroupError::Io { source, .. }) if gone(&source) => {
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
            source: io::Error::new(io::ErrorKind::InvalidData, format!("it says {:?}", text.trim_end())),
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
    fn has_process(&self, pid: u32) -> Result<bool, CgroupError> {
        let members = match self.procs() {
            Err(CgroupError::Io { source, .. }) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => {
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
            Err(source) => {
                Err(CgroupError::Io { doing: "move a process into", path: self.path.clone(), source })
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
            Err(CgroupError::Io { source, .. }) if gone(&source) => return Ok(()),
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
            .map_err(|source| CgroupError::Io { doing: "read", path, source })
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
    move |error| CgroupError::Io { doing, path, source: error.into() }
}

/// The name of the process's cgroup in its own cgroup namespace; `None` if that is ours.
///
/// # Errors
///
/// The process is gone or in no v2 cgroup, or its namespace cannot be entered.
pub fn name_in_its_namespace(pid: u32) -> io::Result<Option<PathBuf>> {
    let namespace = PathBuf::from(format!("/proc/{pid}/ns/cgroup"));
    if fs::read_link(&namespace)? == fs::read_link("/proc/self/ns/cgroup")? {
        return Ok(None);
    }
    let namespace = fs::File::open(namespace)?;
    let look = move || {
        // This thread alone changes its namespace, and ends.
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::ControlGroup))?;
        name_in(Path::new(&format!("/proc/{pid}/cgroup")))
    };
    let looked = std::thread::Builder::new().spawn(look)?.join();
    looked.unwrap_or_else(|_| Err(io::Error::other("the thread in its namespace panicked"))).map(Some)
}

/// The name of the v2 cgroup in a `/proc/PID/cgroup`.
pub(crate) fn name_in(file: &Path) -> io::Result<PathBuf> {
    unified_name(&fs::read(file)?).ok_or_else(|| io::Error::other("it is in no cgroup v2"))
}

/// The name after `0::`.
fn unified_name(text: &[u8]) -> Option<PathBuf> {
    let name = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    Some(PathBuf::from(OsString::from_vec(name.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_name_is_after_two_colons() {
        let cases: [(&[u8], Option<&str>); 5] = [
            (b"0::/\n", Some("/")),
            (b"9:name=systemd:/x\n4:memory:/y\n0::/a b:c\n", Some("/a b:c")),
            // Either the cgroup was removed, or this is its name.
            (b"0::/gone (deleted)\n", Some("/gone (deleted)")),
            (b"4:memory:/y\n", None),
            (b"", None),
        ];
        for (text, expected) in cases {
            assert_eq!(unified_name(text).as_deref(), expected.map(Path::new), "{text:?}");
        }
    }
}
