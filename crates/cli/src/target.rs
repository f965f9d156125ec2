//! What a command is about: cgroups, by their paths, by a process in them, or by what people call the workload in them.

use std::path::PathBuf;

use knobgate::workload::WorkloadName;
use knobgate::{CgroupRef, WorkloadResolver};
use knobgate_kernel::{Cgroup, CgroupType};

use crate::cgroup_argument::{cgroup_at, cgroup_of, open, type_of};
use crate::failure::Failure;
use crate::workload_failure::{cannot_search, not_found};

/// The ids of the arguments of [`TargetArgs`] for clap.
pub(crate) const TARGETS: [&str; 5] = ["cgroups", "pids", "containers", "units", "pods"];
/// Those of [`WorkloadArgs`].
pub(crate) const WORKLOADS: [&str; 3] = ["containers", "units", "pods"];

/// Arguments that name cgroups.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TargetArgs {
    /// A cgroup: a path in the file system, or relative to the root of the hierarchy
    #[arg(long = "cgroup", value_name = "PATH")]
    cgroups: Vec<PathBuf>,
    /// A process; means the cgroup that it is in
    #[arg(long = "pid", value_name = "PID")]
    pids: Vec<u32>,
    #[command(flatten)]
    workloads: WorkloadArgs,
}

/// Arguments that name workloads.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WorkloadArgs {
    /// A container: its name, its id, or the beginning of its id
    #[arg(long = "container", value_name = "ID|NAME", value_parser = container)]
    containers: Vec<WorkloadName>,
    /// A unit of systemd; without a type, a service
    #[arg(long = "unit", value_name = "NAME", value_parser = unit)]
    units: Vec<WorkloadName>,
    /// A pod of Kubernetes
    #[arg(long = "pod", value_name = "NAMESPACE/NAME", value_parser = pod)]
    pods: Vec<WorkloadName>,
}

fn container(text: &str) -> Result<WorkloadName, String> {
    if text.is_empty() {
        return Err("a container has a name or an id".to_owned());
    }
    Ok(WorkloadName::Container(text.to_owned()))
}

fn unit(text: &str) -> Result<WorkloadName, String> {
    if text.is_empty() {
        return Err("a unit has a name".to_owned());
    }
    Ok(WorkloadName::unit(text))
}

fn pod(text: &str) -> Result<WorkloadName, String> {
    WorkloadName::pod(text)
        .ok_or_else(|| "a pod is named by its namespace and its name, like prod/web-0".to_owned())
}

/// A cgroup, and how it was named. It is not held open, because there can be more than a process may have descriptors.
#[derive(Debug)]
pub(crate) enum Target {
    /// By its path.
    Cgroup(CgroupRef),
    /// By a process in it.
    Process(u32, CgroupRef),
    /// By the name of the workload, of which it is the topmost cgroup.
    Workload(WorkloadName, CgroupRef),
}

impl Target {
    /// The cgroup.
    pub(crate) fn cgroup(&self) -> &CgroupRef {
        match self {
            Self::Cgroup(cgroup) | Self::Process(_, cgroup) | Self::Workload(_, cgroup) => cgroup,
        }
    }

    /// The same, opened.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it was removed; [`Failure::Machine`].
    pub(crate) fn open(&self) -> Result<Cgroup, Failure> {
        open(self.cgroup())
    }

    /// Checks that this is not the root of all cgroups because a process is there: nobody means every process by one.
    ///
    /// # Errors
    /// [`Failure::Usage`]; [`Failure::Machine`].
    pub(crate) fn check_is_not_all(&self) -> Result<(), Failure> {
        let Self::Process(pid, cgroup) = self else { return Ok(()) };
        if type_of(&self.open()?)? != CgroupType::Root {
            return Ok(());
        }
        let place = cgroup.path().display();
        Err(Failure::usage(format!(
            "process {pid} is in {place}, the root of all cgroups; if you mean every process on this machine, use \
             --cgroup {place}"
        )))
    }
}

impl TargetArgs {
    /// The cgroups, in the order of the arguments' kinds.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there is no such cgroup, process or workload; [`Failure::Machine`].
    pub(crate) fn find(&self) -> Result<Vec<Target>, Failure> {
        let mut targets = Vec::new();
        for path in &self.cgroups {
            targets.push(Target::Cgroup(CgroupRef::from(&cgroup_at(path)?)));
        }
        for &pid in &self.pids {
            targets.push(Target::Process(pid, CgroupRef::from(&cgroup_of(pid)?)));
        }
        targets.extend(self.workloads.find()?);
        Ok(targets)
    }

    /// The only one; `None` without arguments. `doing` is what takes only one.
    ///
    /// # Errors
    /// Those of [`find`](Self::find); [`Failure::Usage`] if there are several.
    pub(crate) fn find_one(&self, doing: &str) -> Result<Option<Target>, Failure> {
        only(self.find()?, doing)
    }
}

impl WorkloadArgs {
    /// The names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &WorkloadName> {
        self.containers.iter().chain(&self.units).chain(&self.pods)
    }

    /// The cgroups of the workloads.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there is no such workload, or if there are several; [`Failure::Machine`].
    pub(crate) fn find(&self) -> Result<Vec<Target>, Failure> {
        let mut resolver = None;
        let mut find = |name: &WorkloadName| {
            let resolver = match &mut resolver {
                Some(resolver) => resolver,
                empty => empty.insert(WorkloadResolver::new().map_err(|error| cannot_search(name, error))?),
            };
            let found = resolver.find(name).map_err(|error| not_found(name, error))?;
            Ok(Target::Workload(name.clone(), found.cgroup))
        };
        self.names().map(&mut find).collect()
    }

    /// The only one; `None` without arguments. `doing` is what takes only one.
    ///
    /// # Errors
    /// Those of [`find`](Self::find); [`Failure::Usage`] if there are several.
    pub(crate) fn find_one(&self, doing: &str) -> Result<Option<Target>, Failure> {
        only(self.find()?, doing)
    }
}

fn only(mut targets: Vec<Target>, doing: &str) -> Result<Option<Target>, Failure> {
    let first = targets.pop();
    if targets.is_empty() { Ok(first) } else { Err(Failure::usage(format!("{doing}: name only one cgroup"))) }
}
