//! Cgroups that live no longer than a value does.

use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cgroup::{Cgroup, CgroupError};

/// A cgroup for a short time: when this is dropped, everything in it is killed and it is removed.
#[derive(Debug)]
pub struct ScratchCgroup {
    cgroup: Cgroup,
}

impl ScratchCgroup {
    /// Creates one in `parent`. Its name is `prefix`, the id of this process, and a number: `knobgate-run-4711-0`.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Io`], [`InvalidName`](CgroupError::InvalidName).
    pub fn create(parent: &Cgroup, prefix: &str) -> Result<Self, CgroupError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            match parent.create(format!("{prefix}{}-{number}", std::process::id())) {
                Ok(cgroup) => return Ok(Self { cgroup }),
                // Left behind by a process that had this id before.
                Err(CgroupError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Kills what is in it and removes it, now.
    ///
    /// # Errors
    ///
    /// As [`Cgroup::kill_and_remove`].
    pub fn finish(self) -> Result<(), CgroupError> {
        // Dropping tries once more, which does nothing to one that is gone.
        self.cgroup.kill_and_remove()
    }

    /// Removes those in `parent` with names of `prefix` whose process has ended without removing them.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Io`] when `parent` cannot be listed.
    pub fn remove_stale(parent: &Cgroup, prefix: &str) -> Result<(), CgroupError> {
        for path in stale(parent, prefix)? {
            // Others may be about the same.
            let _ = Cgroup::open_directory(&path).and_then(|cgroup| cgroup.kill_and_remove());
        }
        Ok(())
    }
}

fn stale(parent: &Cgroup, prefix: &str) -> Result<Vec<PathBuf>, CgroupError> {
    let listing = |source| CgroupError::Io { doing: "list", path: parent.path().to_owned(), source };
    let mut stale = Vec::new();
    for entry in fs::read_dir(parent.path()).map_err(listing)? {
        let entry = entry.map_err(listing)?;
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|name| name.strip_prefix(prefix)?.split_once('-')?.0.parse::<u32>().ok());
        if owner.is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true)) {
            stale.push(entry.path());
        }
    }
    Ok(stale)
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
