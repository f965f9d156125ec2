//! The cgroups of a process's threads. The hook judges each thread by its own.

use std::fs;
use std::io;

use crate::cgroup_error::gone;
use crate::cgroup_name::name_in;

/// How many threads of a process are in its cgroup.
///
/// The cgroup of a process is that of its first thread. If it is not [threaded](crate::CgroupType::Threaded), the other
/// threads are there or below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadCount {
    /// Those in the cgroup of the process or below.
    pub inside: usize,
    /// Those in other cgroups, to which a policy on that cgroup does not apply.
    pub elsewhere: usize,
}

impl ThreadCount {
    /// Counts the threads of the process `pid`. Those that start or end in the meantime may be included or not.
    ///
    /// # Errors
    ///
    /// The process is gone, or there is no cgroup v2.
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
