//! From what people call a workload to its cgroup.

use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use knobgate_kernel::{CgroupError, Hierarchy};
use knobgate_workload::{EngineState, NameMatch, Workload, WorkloadName};

use crate::cgroup_ref::CgroupRef;
use crate::workload_memory::WorkloadMemory;

/// A workload, with its cgroup: the topmost one that is all its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundWorkload {
    /// Its cgroup.
    pub cgroup: CgroupRef,
    /// What is known about it.
    pub workload: Workload,
}

/// Why no workload was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadSearchError {
    /// The hierarchy of cgroups cannot be searched.
    #[error("cannot search the cgroups")]
    Hierarchy(#[from] CgroupError),
    /// There is none of this name.
    #[error("there is no workload of this name")]
    NotFound {
        /// All workloads.
        existing: Vec<FoundWorkload>,
        /// Workloads of this name whose names others can have made up: in a service, in a user's service manager, in a cgroup
        /// without a pattern.
        claimed: Vec<FoundWorkload>,
    },
    /// There are several.
    #[error("there are several workloads of this name")]
    Several(Vec<FoundWorkload>),
    /// There is a pod of this name, but no cgroup that its containers have for themselves.
    #[error("the pod has no cgroup of its own")]
    NoPodCgroup {
        /// Its containers.
        containers: Vec<FoundWorkload>,
    },
}

/// Finds the one workload of this name.
pub(crate) fn find(
    name: &WorkloadName,
    hierarchy: &Hierarchy,
    state: &mut EngineState,
    started: Option<&WorkloadMemory>,
) -> Result<FoundWorkload, WorkloadSearchError> {
    let all = Workloads::read(hierarchy, state, started)?;
    let of_name = |found: &&FoundWorkload| name.matches(&found.workload).is_some();
    let matching: Vec<(NameMatch, &FoundWorkload)> =
        all.trusted.iter().filter_map(|found| Some((name.matches(&found.workload)?, found))).collect();
    let Some(best) = matching.iter().map(|(how, _)| *how).min() else {
        let claimed = all.claimed.iter().filter(of_name).cloned().collect();
        return Err(WorkloadSearchError::NotFound { existing: all.trusted, claimed });
    };
    let matching = matching.into_iter().filter(|(how, _)| *how == best).map(|(_, found)| found);
    let found: Vec<FoundWorkload> = match name {
        WorkloadName::Pod { .. } => all.pods(matching)?,
        _ => matching.cloned().collect(),
    };
    match <[FoundWorkload; 1]>::try_from(found) {
        Ok([only]) => Ok(only),
        Err(several) => Err(WorkloadSearchError::Several(several)),
    }
}

/// The workloads of this machine, each once, by the paths of their cgroups.
struct Workloads {
    trusted: Vec<FoundWorkload>,
    /// Those whose names others can have made up.
    claimed: Vec<FoundWorkload>,
}

impl Workloads {
    fn read(
        hierarchy: &Hierarchy,
        state: &mut EngineState,
        started: Option<&WorkloadMemory>,
    ) -> Result<Self, CgroupError> {
        // Most cgroups of a workload are known to be its own by their paths.
        let mut outermost: BTreeMap<Vec<u8>, Workload> = BTreeMap::new();
        let mut directories: BTreeMap<Vec<u8>, (u64, PathBuf)> = BTreeMap::new();
        for (id, directory) in hierarchy.paths_by_id()? {
            let Some(name) = hierarchy.name(&directory) else { continue };
            let workload = outermost_of(Workload::of_path(name.as_os_str().as_bytes()));
            outermost.entry(workload.path.clone()).or_insert(workload);
            directories.insert(name.into_os_string().into_vec(), (id, directory));
        }
        let mut completed: BTreeMap<Vec<u8>, Workload> = BTreeMap::new();
        for mut workload in outermost.into_values() {
            state.complete(&mut workload);
            completed.entry(workload.path.clone()).or_insert(workload);
        }
        let (mut trusted, mut claimed) = (Vec::new(), Vec::new());
        for (path, mut workload) in completed {
            // It was removed in the meantime, or is not in the mounted part.
            let Some((id, directory)) = directories.get(&path) else { continue };
            if let Some(started) = started.and_then(|memory| memory.recall(*id)) {
                workload.add_started(&started);
            }
            let Ok(cgroup) = CgroupRef::at(directory) else { continue };
            let is_claimed = workload.owner.is_some() || workload.naming_user().is_some();
            let list = if is_claimed { &mut claimed } else { &mut trusted };
            list.push(FoundWorkload { cgroup, workload });
        }
        Ok(Self { trusted, claimed })
    }

    /// The pods of these containers. Only the containers know what their pod is called.
    fn pods<'a>(
        &self,
        containers: impl Iterator<Item = &'a FoundWorkload>,
    ) -> Result<Vec<FoundWorkload>, WorkloadSearchError> {
        let (mut pods, mut without) = (BTreeMap::new(), Vec::new());
        for container in containers {
            match self.trusted.iter().find(|found| is_pod_of(found, container)) {
                Some(pod) => {
                    let mut pod = pod.clone();
                    pod.workload.pod_name.clone_from(&container.workload.pod_name);
                    pod.workload.namespace.clone_from(&container.workload.namespace);
                    pods.insert(pod.cgroup.id(), pod);
                }
                None => without.push(container.clone()),
            }
        }
        if without.is_empty() {
            Ok(pods.into_values().collect())
        } else {
            Err(WorkloadSearchError::NoPodCgroup { containers: without })
        }
    }
}

/// Whether this is the pod around the container.
fn is_pod_of(pod: &FoundWorkload, container: &FoundWorkload) -> bool {
    let is_pod = pod.workload.pod_id.is_some() && pod.workload.container_id.is_none();
    is_pod && container.cgroup.path().parent() == Some(pod.cgroup.path())
}

fn outermost_of(mut workload: Workload) -> Workload {
    while let Some(outer) = workload.outer.take() {
        workload = *outer;
    }
    workload
}
