//! The guarded cgroups, how they are nested, and the processes in them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::cgroup::Cgroup;
use crate::cgroup_error::CgroupError;
use crate::process_id::ProcessId;
use crate::started_process::StartedProcess;

/// The guarded cgroups, by id.
#[derive(Debug, Default)]
pub(super) struct Guards(HashMap<u64, Guard>);

#[derive(Debug)]
struct Guard {
    path: PathBuf,
    /// The ids of all cgroups above it, the nearest first.
    above: Vec<u64>,
}

impl Guards {
    pub(super) fn add(&mut self, cgroup: &Cgroup) -> Result<(), CgroupError> {
        let above = ids_above(cgroup)?;
        self.0.insert(cgroup.id(), Guard { path: cgroup.path().to_owned(), above });
        Ok(())
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.0.remove(&id);
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.0.contains_key(&id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        self.0.keys().copied()
    }

    /// A guarded cgroup and those around it, the innermost first.
    pub(super) fn around(&self, id: u64) -> impl Iterator<Item = u64> {
        let itself = self.0.get(&id);
        let above = itself.into_iter().flat_map(|guard| guard.above.iter().copied());
        itself.map(|_| id).into_iter().chain(above.filter(|id| self.contains(*id)))
    }

    /// Those that a process has left that was in `from` and is in `to` now. Either may be 0.
    pub(super) fn left(&self, from: u64, to: u64) -> Vec<u64> {
        let still: HashSet<u64> = self.around(to).collect();
        self.around(from).filter(|id| !still.contains(id)).collect()
    }

    /// The innermost one that has this cgroup in its subtree.
    pub(super) fn innermost(&self, cgroup: &Cgroup) -> Result<Option<u64>, CgroupError> {
        if self.contains(cgroup.id()) {
            return Ok(Some(cgroup.id()));
        }
        Ok(ids_above(cgroup)?.into_iter().find(|id| self.contains(*id)))
    }

    /// The processes for which this one is the innermost.
    pub(super) fn members(&self, id: u64) -> Result<Vec<StartedProcess>, CgroupError> {
        let mut members = Vec::new();
        let Some(guard) = self.0.get(&id) else { return Ok(members) };
        let Some(top) = unless_gone(Cgroup::open(&guard.path))?.filter(|top| top.id() == id) else {
            return Ok(members);
        };
        add_processes(&top, &mut members)?;
        let mut others: Vec<PathBuf> = Vec::new();
        for (below, path) in top.descendants()? {
            if others.iter().any(|other| path.starts_with(other)) {
                continue;
            }
            if self.contains(below) {
                others.push(path);
            } else if let Some(cgroup) = unless_gone(Cgroup::open(path))? {
                add_processes(&cgroup, &mut members)?;
            }
        }
        Ok(members)
    }

    /// Whether there may be processes for which this one is the innermost.
    pub(super) fn is_populated(&self, id: u64) -> bool {
        let cgroup = self.0.get(&id).and_then(|guard| Cgroup::open(&guard.path).ok());
        cgroup.is_some_and(|cgroup| cgroup.id() == id && cgroup.is_populated().unwrap_or(true))
    }
}

fn ids_above(cgroup: &Cgroup) -> Result<Vec<u64>, CgroupError> {
    let mut above = Vec::new();
    let mut next = cgroup.parent()?;
    while let Some(parent) = next {
        above.push(parent.id());
        next = parent.parent()?;
    }
    Ok(above)
}

fn add_processes(cgroup: &Cgroup, members: &mut Vec<StartedProcess>) -> Result<(), CgroupError> {
    let ids = match unless_gone(cgroup.procs())? {
        Some(ids) => ids,
        // A threaded cgroup: a process is where its first thread is.
        None => first_threads(cgroup.path()),
    };
    members.extend(ids.into_iter().filter_map(ProcessId::new).filter_map(StartedProcess::of));
    Ok(())
}

fn first_threads(directory: &Path) -> Vec<u32> {
    let threads = fs::read_to_string(directory.join("cgroup.threads")).unwrap_or_default();
    let is_first = |id: &u32| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let process = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        process.and_then(|process| process.trim().parse().ok()) == Some(*id)
    };
    threads.lines().filter_map(|line| line.parse().ok()).filter(is_first).collect()
}

/// `None` if the cgroup was removed, or is for threads.
fn unless_gone<T>(result: Result<T, CgroupError>) -> Result<Option<T>, CgroupError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(CgroupError::NotFound { .. }) => Ok(None),
        Err(CgroupError::Io { error, .. })
            if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP)) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
