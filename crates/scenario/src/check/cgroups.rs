//! The cgroups, and the processes in them.

use std::collections::{BTreeMap, BTreeSet};

use knobgate_backend::Task;

use super::setting::missing;
use crate::document::{Document, ProcessDocument};
use crate::error::Findings;
use crate::path::Path;
use crate::play::COMM;
use crate::scenario::{Cgroup, Process};

/// The cgroups, and the index of each path.
pub(super) fn cgroups(
    document: &Document,
    findings: &mut Findings,
) -> (Vec<Cgroup>, BTreeMap<String, usize>) {
    let mut cgroups = vec![Cgroup { name: String::new(), parent: None }];
    let mut paths = BTreeMap::from([(String::new(), 0)]);
    let mut given = BTreeSet::new();
    for (index, path) in document.cgroups.iter().enumerate() {
        let place = Path::of("cgroups").index(index);
        let Some(path) = findings.ok(&place, cgroup_path(path)) else { continue };
        if !given.insert(path) {
            findings.add(&place, format!("the cgroup /{path} is defined twice"));
        }
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for (parent, name, whole) in ends.filter(|&end| end > 0).map(|end| split_last(&path[..end])) {
            let parent = paths[parent];
            paths.entry(whole.to_owned()).or_insert_with(|| {
                cgroups.push(Cgroup { name: name.to_owned(), parent: Some(parent) });
                cgroups.len() - 1
            });
        }
    }
    (cgroups, paths)
}

/// The processes, in the order of their names.
pub(super) fn processes(
    document: &Document,
    paths: &BTreeMap<String, usize>,
    findings: &mut Findings,
) -> Vec<Process> {
    let mut pids = BTreeSet::new();
    let mut processes = Vec::new();
    for (name, process) in &document.processes {
        let place = Path::of("processes").key(name);
        let ProcessDocument { cgroup, uid, gid, comm, pid } = process;
        let cgroup = cgroup.as_ref().and_then(|path| {
            findings.ok(&place.key("cgroup"), cgroup_path(path).and_then(|path| find_cgroup(paths, path)))
        });
        for (member, id) in [("uid", uid), ("gid", gid)] {
            if *id == Some(u32::MAX) {
                findings.add(&place.key(member), format!("no process can have the id {}", u32::MAX));
            }
        }
        let comm = comm.as_ref().map_or(COMM, |comm| &comm.0[..]);
        if comm.len() > Task::COMM_MAX || comm.contains(&0) {
            let message = format!("the name of a process has at most {} bytes, and no NUL", Task::COMM_MAX);
            findings.add(&place.key("comm"), message);
        }
        match *pid {
            Some(pid) if !(1..=i32::MAX as u32).contains(&pid) => {
                findings.add(&place.key("pid"), format!("{pid} is not the id of a process"));
            }
            Some(pid) if !pids.insert(pid) => {
                findings.add(&place.key("pid"), format!("there are two processes with the id {pid}"));
            }
            _ => {}
        }
        processes.push(Process {
            name: name.clone(),
            cgroup: cgroup.unwrap_or_default(),
            task: Task { uid: uid.unwrap_or(0), gid: gid.unwrap_or(0), comm: comm.to_vec() },
            pid: *pid,
        });
    }
    processes
}

/// The cgroup with this path.
pub(super) fn find_cgroup(cgroups: &BTreeMap<String, usize>, path: &str) -> Result<usize, String> {
    let all = cgroups.keys().map(|path| format!("/{path}"));
    cgroups.get(path).copied().ok_or_else(|| missing("cgroup", path, all))
}

fn split_last(path: &str) -> (&str, &str, &str) {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    (parent, name, path)
}

/// A path without the slash that it may start with.
pub(super) fn cgroup_path(path: &str) -> Result<&str, String> {
    let relative = path.strip_prefix('/').unwrap_or(path);
    let is_name = |name: &str| {
        !matches!(name, "" | "." | "..")
            && !name.contains(['\0', '\n'])
            && name.len() <= 200
            && !name.starts_with("cgroup.")
    };
    if relative.is_empty() || relative.split('/').all(is_name) {
        Ok(relative)
    } else {
        Err(format!("`{path}` is not the path of a cgroup, such as \"web/worker\""))
    }
}
