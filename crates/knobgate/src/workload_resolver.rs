//! What runs in a cgroup, by the cgroup's id.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use knobgate_kernel::{Bpffs, CgroupError, Hierarchy, PinDir};
use knobgate_workload::{EngineState, Workload, WorkloadName};

use crate::workload_memory::WorkloadMemory;
use crate::workload_search::{self, FoundWorkload, WorkloadSearchError};

/// How long the result of a walk through the hierarchy, or of a look at the engines' state, stands.
const PAUSE: Duration = Duration::from_millis(250);
/// How long after the first lookup a container may still get its name.
const NAMING: Duration = Duration::from_secs(10);
/// How many workloads are remembered before those of removed cgroups are forgotten.
const REMEMBERED: usize = 1 << 16;

/// Finds out what runs in cgroups, and remembers it: a cgroup that is removed keeps the name that it had.
///
/// A lookup does not walk through the hierarchy: the kernel finds a cgroup by its id. Where that is not allowed (it takes
/// `CAP_DAC_READ_SEARCH`), a walk is needed for an id that the last one has not seen, at most four times a second.
///
/// When it has 65,536 workloads, it forgets those of removed cgroups.
///
/// ```no_run
/// use knobgate::{CgroupRef, WorkloadResolver};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut resolver = WorkloadResolver::new()?;
/// let cgroup = CgroupRef::at("system.slice/nginx.service")?;
/// let workload = resolver.resolve(cgroup.id()).expect("it exists");
/// assert_eq!(workload.label(), b"unit nginx.service");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WorkloadResolver {
    hierarchy: Hierarchy,
    state: EngineState,
    memory: Memory,
    walk: Option<Walk>,
    started: Started,
}

/// What containers were called when they were started.
#[derive(Debug, Default)]
struct Started {
    memory: Option<WorkloadMemory>,
    /// When it was last looked for.
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Memory {
    /// By the ids of the cgroups.
    known: HashMap<u64, Known>,
    /// How many are remembered before those of removed cgroups are forgotten.
    limit: usize,
}

#[derive(Debug)]
struct Known {
    workload: Arc<Workload>,
    /// When the engine's state was last asked, if it may have more.
    asked: Option<Instant>,
    /// When it was first looked up.
    first: Instant,
}

#[derive(Debug)]
struct Walk {
    at: Instant,
    paths: HashMap<u64, PathBuf>,
}

impl WorkloadResolver {
    /// For the cgroups and engines of this machine.
    ///
    /// # Errors
    ///
    /// Those of [`Hierarchy::find`].
    pub fn new() -> Result<Self, CgroupError> {
        Self::with_state(EngineState::below("/"))
    }

    /// The same with the engines' state from elsewhere.
    ///
    /// # Errors
    ///
    /// Those of [`Hierarchy::find`].
    pub fn with_state(state: EngineState) -> Result<Self, CgroupError> {
        let hierarchy = Hierarchy::find()?;
        let memory = Memory { known: HashMap::new(), limit: REMEMBERED };
        Ok(Self { hierarchy, state, memory, walk: None, started: Started::default() })
    }

    /// What runs in the cgroup with this id; `None` if it was removed before the first lookup, or is not in the mounted
    /// part of the hierarchy. A container that was started with a policy for containers is known even if its cgroup was removed.
    pub fn resolve(&mut self, cgroup_id: u64) -> Option<Arc<Workload>> {
        let now = Instant::now();
        if let Some(known) = self.memory.known.get_mut(&cgroup_id) {
            known.ask_again(&mut self.state, now);
            return Some(Arc::clone(&known.workload));
        }
        let name = self
            .directory(cgroup_id, now)
            .and_then(|directory| Some((self.hierarchy.name(&directory)?, directory)));
        let started = self.started.memory(now);
        let known = match name {
            Some((name, directory)) => {
                let started = started.and_then(|memory| started_at_or_above(memory, cgroup_id, &directory));
                Known::new(&name, started.as_ref(), &mut self.state, now)
            }
            None => Known { workload: Arc::new(started?.recall(cgroup_id)?), asked: None, first: now },
        };
        self.memory.make_room(|| self.hierarchy.paths_by_id().unwrap_or_default());
        let workload = Arc::clone(&known.workload);
        self.memory.known.insert(cgroup_id, known);
        Some(workload)
    }

    /// Finds the workload of this name, and its topmost cgroup. That takes a walk through the hierarchy.
    ///
    /// Only the outermost workload of a cgroup counts: what runs in a container cannot be found by a name that it may have made up
    /// itself. The id or the name of a container comes before ids that begin with it, as for Docker.
    ///
    /// ```no_run
    /// use knobgate::WorkloadResolver;
    /// use knobgate::workload::WorkloadName;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let found = WorkloadResolver::new()?.find(&WorkloadName::Container("web".to_owned()))?;
    /// println!("{}", found.cgroup.path().display());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// There is no such workload, or there are several, or they cannot be searched.
    pub fn find(&mut self, name: &WorkloadName) -> Result<FoundWorkload, WorkloadSearchError> {
        let started = self.started.memory(Instant::now());
        workload_search::find(name, &self.hierarchy, &mut self.state, started)
    }

    /// The same as it is known now, of the cgroup in this directory; `None` if that is not in the mounted part of the hierarchy. `ids` are
    /// that of the cgroup and of those above it, from the inside out. Asks the engine's state each time, and remembers nothing.
    pub fn look_up(&mut self, ids: impl IntoIterator<Item = u64>, directory: &Path) -> Option<Workload> {
        let now = Instant::now();
        let name = self.hierarchy.name(directory)?;
        let started = self.started.memory(now);
        let started = started.and_then(|memory| ids.into_iter().find_map(|id| memory.recall(id)));
        let known = Known::new(&name, started.as_ref(), &mut self.state, now);
        Some(Arc::unwrap_or_clone(known.workload))
    }

    /// The hierarchy.
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// The directory of a cgroup.
    fn directory(&mut self, id: u64, now: Instant) -> Option<PathBuf> {
        if let Ok(found) = self.hierarchy.path_by_handle(id) {
            return found;
        }
        let stands = |walk: &Walk| walk.paths.contains_key(&id) || now.duration_since(walk.at) < PAUSE;
        if !self.walk.as_ref().is_some_and(stands) {
            let paths = self.hierarchy.paths_by_id().unwrap_or_default();
            self.walk = Some(Walk { at: now, paths });
        }
        self.walk.as_ref()?.paths.get(&id).cloned()
    }
}

impl Started {
    fn memory(&mut self, now: Instant) -> Option<&WorkloadMemory> {
        if self.memory.is_none() && self.looked.is_none_or(|looked| now.duration_since(looked) >= PAUSE) {
            self.looked = Some(now);
            let pins = Bpffs::find().and_then(|bpffs| PinDir::open(&bpffs));
            self.memory = pins.ok().flatten().and_then(|pins| WorkloadMemory::open(&pins));
        }
        self.memory.as_ref()
    }
}

/// The container that was started in this cgroup, or in one above it.
fn started_at_or_above(memory: &WorkloadMemory, cgroup_id: u64, directory: &Path) -> Option<Workload> {
    // On 64-bit systems, the inode number is the id.
    let above = directory.ancestors().skip(1).map_while(|above| Some(above.metadata().ok()?.ino()));
    std::iter::once(cgroup_id).chain(above).find_map(|id| memory.recall(id))
}

impl Memory {
    /// If there are too many, forgets the workloads of cgroups that are not present.
    fn make_room<V>(&mut self, present: impl FnOnce() -> HashMap<u64, V>) {
        if self.known.len() < self.limit {
            return;
        }
        let present = present();
        self.known.retain(|id, _| present.contains_key(id));
        // Otherwise, each new cgroup would take a walk where there are so many.
        self.limit = REMEMBERED.max(2 * self.known.len());
    }
}

impl Known {
    /// `started` is the container in which the cgroup is, as it was started.
    fn new(name: &Path, started: Option<&Workload>, state: &mut EngineState, now: Instant) -> Self {
        let mut workload = Workload::of_path(name.as_os_str().as_bytes());
        let complete = state.complete(&mut workload) || started.is_some();
        if let Some(started) = started {
            workload.add_started(started);
        }
        Self { workload: Arc::new(workload), asked: (!complete).then_some(now), first: now }
    }

    /// Asks the engine's state again if it may have more now.
    fn ask_again(&mut self, state: &mut EngineState, now: Instant) {
        let Some(asked) = self.asked else { return };
        if now.duration_since(asked) < PAUSE {
            return;
        }
        let complete = state.complete(Arc::make_mut(&mut self.workload));
        let in_vain = complete || now.duration_since(self.first) > NAMING;
        self.asked = (!in_vain).then_some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_of_removed_cgroups_are_forgotten_when_there_are_too_many() {
        let known = || Known { workload: Arc::default(), asked: None, first: Instant::now() };
        let mut memory = Memory { known: (0..4).map(|id| (id, known())).collect(), limit: 4 };
        memory.make_room(|| HashMap::from([(2, ()), (7, ())]));
        assert_eq!(memory.known.keys().collect::<Vec<_>>(), [&2]);
        assert_eq!(memory.limit, REMEMBERED);
        memory.make_room::<()>(|| unreachable!("there is room"));
    }
}
