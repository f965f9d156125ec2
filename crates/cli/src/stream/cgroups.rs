//! What is known about the cgroups of events.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use knobgate::WorkloadResolver;
use knobgate::workload::Workload;
use knobgate_events::StreamContext;
use knobgate_kernel::Hierarchy;

use super::workload::stream_workload;

/// Finds the paths and workloads of cgroups, and remembers them: one that is removed keeps what it had.
#[derive(Debug)]
pub(crate) struct Cgroups {
    /// `None` if there is no hierarchy to look at.
    hierarchy: Option<Hierarchy>,
    resolver: Option<WorkloadResolver>,
    paths: HashMap<u64, PathBuf>,
    walked: Option<Instant>,
}

/// How long a walk through the hierarchy stands, where cgroups cannot be found without one.
const WALK_EVERY: Duration = Duration::from_secs(1);
/// How many paths are remembered.
const REMEMBERED: usize = 1 << 16;

impl Cgroups {
    pub(crate) fn new() -> Self {
        let hierarchy = Hierarchy::find().ok();
        Self { hierarchy, resolver: WorkloadResolver::new().ok(), paths: HashMap::new(), walked: None }
    }

    /// What is known about a cgroup. `remembered` is its path as the memory of a policy has it, in case it is gone.
    pub(crate) fn context(&mut self, id: u64, remembered: impl FnOnce() -> Option<PathBuf>) -> StreamContext {
        let path = self.path(id);
        let resolved = self.resolver.as_mut().and_then(|resolver| resolver.resolve(id));
        let path = path.or_else(remembered);
        let workload = match (resolved, &path) {
            (Some(workload), _) => Some((*workload).clone()),
            (None, Some(path)) => self.workload_of_path(path),
            (None, None) => None,
        };
        StreamContext {
            attachment: None,
            cgroup_path: path.map(|path| path.into_os_string().into_encoded_bytes()),
            workload: workload.as_ref().and_then(stream_workload),
        }
    }

    /// Whether a cgroup was removed. `path` is where it was.
    pub(crate) fn is_gone(&self, id: u64, path: Option<&Path>) -> bool {
        let Some(hierarchy) = &self.hierarchy else { return false };
        match hierarchy.path_by_handle(id) {
            Ok(found) => found.is_none(),
            // That takes a privilege. No cgroup ever gets another path.
            Err(_) => path.is_some_and(|path| !path.metadata().is_ok_and(|found| found.ino() == id)),
        }
    }

    /// The workload of a cgroup that is gone, as far as its path says.
    fn workload_of_path(&self, path: &Path) -> Option<Workload> {
        let name = self.hierarchy.as_ref()?.name(path)?;
        Some(Workload::of_path(name.as_os_str().as_bytes()))
    }

    fn path(&mut self, id: u64) -> Option<PathBuf> {
        if let Some(path) = self.paths.get(&id) {
            return Some(path.clone());
        }
        let hierarchy = self.hierarchy.as_ref()?;
        if self.paths.len() >= REMEMBERED {
            self.paths.clear();
        }
        match hierarchy.path_by_handle(id) {
            Ok(found) => {
                self.paths.extend(found.clone().map(|path| (id, path)));
                found
            }
            // That takes a privilege.
            Err(_) if self.walked.is_none_or(|walked| walked.elapsed() >= WALK_EVERY) => {
                self.walked = Some(Instant::now());
                self.paths.extend(hierarchy.paths_by_id().unwrap_or_default());
                self.paths.get(&id).cloned()
            }
            Err(_) => None,
        }
    }
}
