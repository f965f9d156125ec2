//! Where the threads of a process are, which the kernel judges each by its own cgroup.

use std::fs;
use std::io;

use crate::cgroup::name_in;
use crate::hierarchy::gone;

/// How many threads of a process are in its cgroup.
///
/// A process is in the cgroup of its first thread. The others are there too or below, if it is not a
/// [threaded](crate::CgroupType::Threaded) one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadCount {
    /// Those in the process's cgroup or below.
    pub inside: usize,
    /// Those in other cgroups, for which a policy on the process's cgroup does not hold.
    pub elsewhere: usize,
}

impl ThreadCount {
    /// Counts the threads of the process `pid`. Those that start or end meanwhile may be counted or not.
    ///
    /// # Errors
    ///
    /// When the process is gone, or there is no cgroup v2.
    pub fn of_pid(pid: u32) -> io::Result<Self> {
        let cgroup = name_in(format!("/proc/{pid}/cgroup").as_ref())?;
        let mut count = Self { inside: 0, elsewhere: 0 };
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            match name_in(&thread?.path().join("cgroup")) {
                Ok(name) if name.starts_with(&cgroup) => count.inside += 1,
                Ok(_) => count.elsewhere += 1,
                Err(error) if gone(&error) || error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }
}
