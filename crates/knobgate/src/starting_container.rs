//! A container that its runtime is about to start: who it is, and which cgroup is its own.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use knobgate_kernel::{Cgroup, CgroupError, CgroupType, Hierarchy, Lateness, LinkSource};
use knobgate_policy::Mode;
use knobgate_workload::{EngineState, Labels, OciContainer, Workload};

use crate::apply::NewLinks;
use crate::attachment_error::AttachmentError;
use crate::attachments::Attachments;
use crate::cgroup_ref::CgroupRef;
use crate::container_error::ContainerError;
use crate::container_policies::ContainerPolicy;
use crate::denied_sysctl::DeniedSysctl;
use crate::link_version::Linked;
use crate::oci_state::{OciBundle, OciState, OciStatus, bytes};
use crate::off::Off;
use crate::workload_fields::WorkloadFields;

/// A container of which nothing runs yet, but which has a cgroup: at the stage `createRuntime` of the OCI hooks.
#[derive(Debug)]
pub struct StartingContainer {
    id: String,
    pid: u32,
    bundle: OciBundle,
    workload: Workload,
    /// The directory of its topmost cgroup.
    directory: PathBuf,
}

impl StartingContainer {
    /// The container of which this is the state. Reads its bundle, where its process is, and what its engine knows about it.
    ///
    /// # Errors
    ///
    /// [`ContainerError::Running`], [`NoProcess`](ContainerError::NoProcess), [`Bundle`](ContainerError::Bundle),
    /// [`Cgroup`](ContainerError::Cgroup).
    pub fn find(state: &OciState) -> Result<Self, ContainerError> {
        if state.status == OciStatus::Running {
            return Err(ContainerError::Running { id: state.id.clone() });
        }
        let pid = process(&state.id, state.pid)?;
        let bundle = OciBundle::read(&state.bundle)?;
        Self::identify(&state.id, pid, Some(&state.bundle), &state.annotations, bundle)
    }

    /// The container with this id, as a plugin of its runtime is told of it when it is created and not started yet. `pid` is its process,
    /// which waits, and `cgroups_path` the cgroup that its bundle asks for. The runtime has already written the knobs that the bundle
    /// asks for, so it is as if there were none.
    ///
    /// # Errors
    ///
    /// [`ContainerError::NoProcess`], [`Cgroup`](ContainerError::Cgroup).
    pub fn created(
        id: &str,
        pid: u32,
        annotations: &HashMap<String, String>,
        cgroups_path: Option<&str>,
    ) -> Result<Self, ContainerError> {
        let bundle = OciBundle { cgroups_path: cgroups_path.map(str::to_owned), ..OciBundle::default() };
        Self::identify(id, process(id, Some(pid))?, None, annotations, bundle)
    }

    fn identify(
        id: &str,
        pid: u32,
        bundle_directory: Option<&Path>,
        annotations: &HashMap<String, String>,
        bundle: OciBundle,
    ) -> Result<Self, ContainerError> {
        let cgroup = |source| ContainerError::Cgroup { id: id.to_owned(), source };
        let hierarchy = Hierarchy::find().map_err(cgroup)?;
        let leaf = Cgroup::of_pid(pid).map_err(cgroup)?;
        let not_visible = |name: PathBuf| {
            cgroup(CgroupError::NotVisible { pid, name, hierarchy: hierarchy.path().to_owned() })
        };
        let name = hierarchy.name(leaf.path()).ok_or_else(|| not_visible(leaf.path().to_owned()))?;
        let container = OciContainer {
            id,
            bundle: bundle_directory.map_or(b"", bytes),
            annotations,
            cgroups_path: bundle.cgroups_path.as_deref(),
        };
        let mut workload = Workload::of_oci(bytes(&name), &container);
        let engines = EngineState::below("/");
        engines.find_runtime(&mut workload);
        engines.add_names(&mut workload, bundle_directory);
        let top = PathBuf::from(OsStr::from_bytes(&workload.path));
        let directory = hierarchy.directory(&top).ok_or_else(|| not_visible(top.clone()))?;
        Ok(Self { id: id.to_owned(), pid, bundle, workload, directory })
    }

    /// Says which labels the container and its pod have, which whoever starts it knows: these, and no others.
    pub fn set_labels(&mut self, labels: impl IntoIterator<Item = (String, String)>) {
        self.workload.labels = Labels::new(labels, true);
    }

    /// What the selectors of policies find out about it.
    pub fn fields(&self) -> WorkloadFields<'_> {
        WorkloadFields::of(&self.workload)
    }

    /// Who it is.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// What its bundle says.
    pub fn bundle(&self) -> &OciBundle {
        &self.bundle
    }

    /// Its topmost cgroup, which is its own alone.
    ///
    /// # Errors
    ///
    /// [`ContainerError::SharedCgroup`], [`Cgroup`](ContainerError::Cgroup).
    pub fn cgroup(&self) -> Result<Cgroup, ContainerError> {
        let failed = |source| ContainerError::Cgroup { id: self.id.clone(), source };
        let shared =
            |why| ContainerError::SharedCgroup { id: self.id.clone(), path: self.directory.clone(), why };
        let cgroup = Cgroup::open(&self.directory).map_err(failed)?;
        let top = Hierarchy::find().and_then(|hierarchy| hierarchy.root()).map_err(failed)?;
        if cgroup.id() == top.id() || cgroup.kind().map_err(failed)? == CgroupType::Root {
            return Err(shared("the root of all cgroups"));
        }
        // Its runtime, which runs this process, is never in it.
        let own = Cgroup::of_this_process().map_err(failed)?;
        if own.path().starts_with(cgroup.path()) {
            return Err(shared("in which its runtime runs"));
        }
        Ok(cgroup)
    }

    /// How many other processes are in its cgroup already, or below it. Its policies judge them, too: its runtime lets containers
    /// share it.
    ///
    /// # Errors
    ///
    /// As [`cgroup`](Self::cgroup).
    pub fn others_in_cgroup(&self) -> Result<usize, ContainerError> {
        let failed = |source| ContainerError::Cgroup { id: self.id.clone(), source };
        let cgroup = self.cgroup()?;
        let mut processes = cgroup.procs().map_err(failed)?;
        for (_, directory) in cgroup.descendants().map_err(failed)? {
            // It may be removed in the meantime. A threaded one has only threads of processes that are listed above it.
            processes.extend(Cgroup::open(directory).and_then(|below| below.procs()).unwrap_or_default());
        }
        Ok(processes.into_iter().filter(|&pid| pid != self.pid).count())
    }

    /// Puts policies on the container, all of them or none, except for those that are [off](crate::Off), after a check that they let
    /// the runtime write what the bundle asks for. The container's name is remembered for when it is gone.
    ///
    /// `source` is who does this. The link has come late if other processes than that of the container are in its cgroup.
    ///
    /// # Errors
    ///
    /// [`ContainerError`].
    pub fn link(
        &self,
        attachments: &Attachments,
        policies: &[&ContainerPolicy],
        source: LinkSource,
    ) -> Result<Linked, ContainerError> {
        let off = Off::read().map_err(AttachmentError::from)?;
        let is_enforced = |policy: &&&ContainerPolicy| {
            policy.mode() == Mode::Enforce && off.of(policy.version().name()).is_none()
        };
        let enforced = policies.iter().filter(is_enforced);
        let denied = enforced.into_iter().find_map(|policy| DeniedSysctl::find(policy.file(), &self.bundle));
        if let Some(denied) = denied {
            return Err(Box::new(denied).into());
        }
        let cgroup = CgroupRef::from(&self.cgroup()?);
        let versions: Vec<_> = policies.iter().map(|policy| policy.version()).collect();
        let new = NewLinks { source, lateness: Lateness::IfOccupied { except: Some(self.pid) } };
        let linked = attachments.link_as(&versions, &cgroup, new);
        let linked = linked.map_err(|error| not_compiled(policies, error))?;
        // A name that is not remembered is no reason not to start it.
        let _ = attachments.remember_workload(cgroup.id(), &self.workload);
        Ok(linked)
    }
}

/// The process of a container.
fn process(id: &str, pid: Option<u32>) -> Result<u32, ContainerError> {
    pid.filter(|&pid| pid > 0).ok_or_else(|| ContainerError::NoProcess { id: id.to_owned() })
}

/// The error, with the place in the file if a policy cannot be compiled.
pub(crate) fn not_compiled(policies: &[&ContainerPolicy], error: AttachmentError) -> ContainerError {
    let (name, source) = match error {
        AttachmentError::Compile { name, source } => (name, source),
        error => return error.into(),
    };
    let file = policies.iter().find(|policy| *policy.version().name() == name).map(|policy| policy.file());
    let place = file.map_or_else(
        || name.to_string(),
        |file| match source.rule().and_then(|rule| file.rule_span(rule)) {
            Some(span) => {
                let place = file.source().place(span.start);
                format!("{}:{}", place.name, place.line)
            }
            None => file.source().name().to_owned(),
        },
    );
    ContainerError::NotCompiled { place, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_without_a_process_is_not_about_to_start() {
        let error = StartingContainer::created("web", 0, &HashMap::new(), None).unwrap_err();
        assert_eq!(error.to_string(), "the container web has no process");
    }
}
