//! Cgroup arguments: paths, or processes in the cgroups.

use std::path::Path;

use knobgate::CgroupRef;
use knobgate_kernel::{Cgroup, CgroupError, CgroupType, Hierarchy};

use crate::failure::Failure;
use crate::plural::count;
use crate::printable::printable_path;

/// Cgroups as text: the path of a single one, or how many there are.
pub(crate) fn summarize(cgroups: &[CgroupRef]) -> String {
    match cgroups {
        [only] => printable_path(only.path()).into_owned(),
        _ => count(cgroups.len(), "cgroup"),
    }
}

/// Cgroups by their ids, as text: the paths of the first few.
pub(crate) fn describe_ids(ids: &[u64]) -> String {
    const SHOWN: usize = 4;
    let paths = Hierarchy::find().and_then(|hierarchy| hierarchy.paths_by_id()).unwrap_or_default();
    let describe = |id: &u64| describe(*id, paths.get(id).map(|path| &**path));
    let mut text = ids.iter().take(SHOWN).map(describe).collect::<Vec<_>>().join(", ");
    if ids.len() > SHOWN {
        text.push_str(&format!(" and {} more", ids.len() - SHOWN));
    }
    text
}

/// A cgroup with this id, as text.
pub(crate) fn describe(id: u64, path: Option<&Path>) -> String {
    match path {
        Some(path) => printable_path(path).into_owned(),
        None => format!("the cgroup with id {id}, which is not visible here"),
    }
}

/// The cgroup at a path.
///
/// # Errors
/// [`Failure::Usage`] if there is none; [`Failure::Machine`].
pub(crate) fn cgroup_at(path: &Path) -> Result<Cgroup, Failure> {
    Cgroup::open(path).map_err(cannot_use)
}

/// A cgroup that was there a moment ago.
///
/// # Errors
/// [`Failure::Usage`] if it was removed; [`Failure::Machine`].
pub(crate) fn open(cgroup: &CgroupRef) -> Result<Cgroup, Failure> {
    cgroup.open().map_err(cannot_use)
}

/// The cgroup that a process is in.
///
/// # Errors
/// [`Failure::Usage`] if there is no such process; [`Failure::Machine`].
pub(crate) fn cgroup_of(pid: u32) -> Result<Cgroup, Failure> {
    Cgroup::of_pid(pid).map_err(cannot_use)
}

/// The type of a cgroup.
///
/// # Errors
/// [`Failure::Usage`] if it was removed; [`Failure::Machine`].
pub(crate) fn type_of(cgroup: &Cgroup) -> Result<CgroupType, Failure> {
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
