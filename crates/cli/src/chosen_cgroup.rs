//! The cgroups that the user chose, by their paths or by processes in them.

use std::path::{Path, PathBuf};

use knobgate_kernel::{Cgroup, CgroupError, CgroupType};

use crate::failure::Failure;
use crate::plural::count;
use crate::printable::printable_path;

/// A cgroup by its path. It is not held open: there can be more of them than a process may have descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChosenCgroup {
    path: PathBuf,
    id: u64,
}

impl ChosenCgroup {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Opens it again.
    ///
    /// # Errors
    /// [`CgroupError::NotFound`] also if there is another one in its place; those of [`Cgroup::open`].
    pub(crate) fn open(&self) -> Result<Cgroup, CgroupError> {
        let cgroup = Cgroup::open(&self.path)?;
        if cgroup.id() == self.id {
            Ok(cgroup)
        } else {
            Err(CgroupError::NotFound { path: self.path.clone() })
        }
    }
}

impl From<&Cgroup> for ChosenCgroup {
    fn from(cgroup: &Cgroup) -> Self {
        Self { path: cgroup.path().to_owned(), id: cgroup.id() }
    }
}

/// Where something happens, for people: the path of one, or how many.
pub(crate) fn places(cgroups: &[ChosenCgroup]) -> String {
    match cgroups {
        [only] => printable_path(&only.path).into_owned(),
        _ => count(cgroups.len(), "cgroup"),
    }
}

/// The cgroup at a path.
///
/// # Errors
/// [`Failure::Usage`] if there is none such; [`Failure::Machine`].
pub(crate) fn cgroup_at(path: &Path) -> Result<Cgroup, Failure> {
    Cgroup::open(path).map_err(cannot_use)
}

/// The cgroup that a process is in.
///
/// # Errors
/// [`Failure::Usage`] if there is none such; [`Failure::Machine`].
pub(crate) fn cgroup_of(pid: u32) -> Result<Cgroup, Failure> {
    Cgroup::of_pid(pid).map_err(cannot_use)
}

/// What kind of cgroup it is.
///
/// # Errors
/// [`Failure::Usage`] if it is gone; [`Failure::Machine`].
pub(crate) fn kind_of(cgroup: &Cgroup) -> Result<CgroupType, Failure> {
    cgroup.kind().map_err(cannot_use)
}

fn cannot_use(error: CgroupError) -> Failure {
    let what = "cannot use this cgroup";
    match error {
        CgroupError::NotMounted | CgroupError::Io { .. } => Failure::machine(what),
        _ => Failure::usage(what),
    }
    .because(error)
}
