//! Cgroups that live as long as a value.

use std::fs;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::cgroup::Cgroup;
use crate::cgroup_error::CgroupError;

/// A temporary cgroup: dropping this kills everything in it and removes it.
///
/// The directory stays locked (`flock(2)`) while this value, or a guard forked from this process, holds it open. The
/// lock shows processes in every pid namespace that the cgroup is in use; a process id in its name could not.
#[derive(Debug)]
pub struct ScratchCgroup {
    cgroup: Cgroup,
}

impl ScratchCgroup {
    /// Creates one in `parent`, named after `prefix`, the id of this process and a number: `knobgate-run-4711-0`.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Io`], [`InvalidName`](CgroupError::InvalidName).
    pub fn create(parent: &Cgroup, prefix: &str) -> Result<Self, CgroupError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let cgroup = match parent.create(format!("{prefix}{}-{number}", std::process::id())) {
                Ok(cgroup) => cgroup,
                // Left by an earlier process with this id, or made by one of another pid namespace.
                Err(CgroupError::Exists { .. }) => continue,
                // Taken for stale before it was open.
                Err(CgroupError::Io { doing: "open", error, .. })
                    if error.raw_os_error() == Some(libc::ENOENT) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            match flock(&cgroup, FlockOperation::NonBlockingLockShared) {
                Ok(()) if cgroup.exists() => return Ok(Self { cgroup }),
                // Taken for stale before it was locked.
                Ok(()) | Err(Errno::WOULDBLOCK) => {}
                Err(error) => {
                    let path = cgroup.path().to_owned();
                    return Err(CgroupError::Io { doing: "lock", path, error: error.into() });
                }
            }
        }
    }

    /// Kills what is in it and removes it, now.
    ///
    /// # Errors
    ///
    /// As [`Cgroup::kill_and_remove`].
    pub fn finish(self) -> Result<(), CgroupError> {
        // Dropping it then finds nothing left to do.
        self.cgroup.kill_and_remove()
    }

    /// Removes the scratch cgroups in `parent` with this prefix whose owner was killed, and everything below them. One
    /// that still has processes is left alone. Failures are left to the next call.
    pub fn remove_stale(parent: &Cgroup, prefix: &str) {
        for entry in fs::read_dir(parent.path()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let numbers = name.to_str().and_then(|name| name.strip_prefix(prefix)?.split_once('-'));
            if numbers
                .is_some_and(|(pid, number)| pid.parse::<u32>().is_ok() && number.parse::<u32>().is_ok())
            {
                let _ = Cgroup::open(entry.path()).and_then(|cgroup| remove_unlocked(&cgroup));
            }
        }
    }
}

fn remove_unlocked(cgroup: &Cgroup) -> Result<(), CgroupError> {
    match flock(cgroup, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => cgroup.remove_with_descendants(),
        Err(_) => Ok(()),
    }
}

impl Deref for ScratchCgroup {
    type Target = Cgroup;

    fn deref(&self) -> &Cgroup {
        &self.cgroup
    }
}

impl Drop for ScratchCgroup {
    fn drop(&mut self) {
        let _ = self.cgroup.kill_and_remove();
    }
}
