//! A cgroup by its path and id.

use std::path::{Path, PathBuf};

use knobgate_kernel::{Cgroup, CgroupError};

/// A cgroup that exists or did exist. It is not held open, because there can be more cgroups than a process may have
/// descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupRef {
    path: PathBuf,
    id: u64,
}

impl CgroupRef {
    /// The cgroup at `path`: a directory, or a name relative to the root of the hierarchy (`system.slice/web.service`).
    ///
    /// # Errors
    ///
    /// Those of [`Cgroup::open`].
    pub fn at(path: impl AsRef<Path>) -> Result<Self, CgroupError> {
        Cgroup::open(path).map(|cgroup| Self::from(&cgroup))
    }

    /// Its id, which no later cgroup gets (`ls -di` prints it).
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// [`CgroupError::NotFound`], also if another cgroup now has its path; those of [`Cgroup::open`].
    pub fn open(&self) -> Result<Cgroup, CgroupError> {
        let cgroup = Cgroup::open(&self.path)?;
        if cgroup.id() == self.id {
            Ok(cgroup)
        } else {
            Err(CgroupError::NotFound { path: self.path.clone() })
        }
    }
}

impl From<&Cgroup> for CgroupRef {
    fn from(cgroup: &Cgroup) -> Self {
        Self { path: cgroup.path().to_owned(), id: cgroup.id() }
    }
}
