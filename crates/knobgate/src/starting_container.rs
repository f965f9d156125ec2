//! A container that its runtime is about to start: who it is, and which cgroup is its own.

mod planned;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use knobgate_kernel::{Cgroup, CgroupError, CgroupType, Hierarchy};
use knobgate_policy::Mode;
use knobgate_policy::selector::{SelectorField, SelectorFields};
use knobgate_workload::{Engine, EngineState, OciContainer, Piece, Workload};

use crate::attachment_error::AttachmentError;
use crate::attachments::Attachments;
use crate::cgroup_ref::CgroupRef;
use crate::container_error::ContainerError;
use crate::container_policies::ContainerPolicy;
use crate::denied_sysctl::DeniedSysctl;
use crate::link_version::LinkedVersion;
use crate::oci_state::{OciBundle, OciState, OciStatus, bytes};

/// A container of which nothing runs yet, but which has a cgroup: at the stage `createRuntime` of the OCI hooks.
#[derive(Debug)]
pub struct StartingContainer {
    id: String,
    bundle: OciBundle,
    workload: Workload,
    /// Whether it is the sandbox of a pod.
    is_sandbox: bool,
    /// Its labels and those of its pod; `None` if they are not known.
    labels: Option<BTreeMap<String, String>>,
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
        let id = || state.id.clone();
        if state.status == OciStatus::Running {
            return Err(ContainerError::Running { id: id() });
        }
        let pid = state.pid.filter(|&pid| pid > 0).ok_or_else(|| ContainerError::NoProcess { id: id() })?;
        let bundle = OciBundle::read(&state.bundle)?;
        let cgroup = |source| ContainerError::Cgroup { id: id(), source };
        let hierarchy = Hierarchy::find().map_err(cgroup)?;
        let leaf = Cgroup::of_pid(pid).map_err(cgroup)?;
        let not_visible = |name: PathBuf| {
            cgroup(CgroupError::NotVisible { pid, name, hierarchy: hierarchy.path().to_owned() })
        };
        let name = hierarchy.name(leaf.path()).ok_or_else(|| not_visible(leaf.path().to_owned()))?;
        let container = OciContainer {
            id: &state.id,
            bundle: bytes(&state.bundle),
            annotations: &state.annotations,
            cgroups_path: bundle.cgroups_path.as_deref(),
        };
        let mut workload = Workload::of_oci(bytes(&name), &container);
        EngineState::below("/").add_names(&mut workload);
        let top = PathBuf::from(OsStr::from_bytes(&workload.path));
        let directory = hierarchy.directory(&top).ok_or_else(|| not_visible(top.clone()))?;
        Ok(Self::new(id(), bundle, workload, &state.annotations, directory))
    }

    fn new(
        id: String,
        bundle: OciBundle,
        workload: Workload,
        annotations: &HashMap<String, String>,
        directory: PathBuf,
    ) -> Self {
        let is_sandbox =
            SANDBOX.iter().any(|key| annotations.get(*key).is_some_and(|kind| kind == "sandbox"));
        let labels = match workload.engine {
            // A bundle has none.
            Engine::Runc | Engine::Crun => Some(BTreeMap::new()),
            Engine::CriO => {
                let labels = annotations.get("io.kubernetes.cri-o.Labels");
                labels.and_then(|labels| serde_json::from_str(labels).ok())
            }
            _ => None,
        };
        Self { id, bundle, workload, is_sandbox, labels, directory }
    }

    /// Adds labels of the container or its pod, which whoever starts it knows. From then on, it is known to have no others.
    pub fn add_labels(&mut self, labels: impl IntoIterator<Item = (String, String)>) {
        self.labels.get_or_insert_default().extend(labels);
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

    /// Puts policies on the container, all of them or none, after a check that they let the runtime write what the bundle asks for.
    /// The container's name is remembered for when it is gone.
    ///
    /// # Errors
    ///
    /// [`ContainerError`].
    pub fn link(
        &self,
        attachments: &Attachments,
        policies: &[&ContainerPolicy],
    ) -> Result<Vec<LinkedVersion>, ContainerError> {
        let enforced = policies.iter().filter(|policy| policy.mode() == Mode::Enforce);
        let denied = enforced.into_iter().find_map(|policy| DeniedSysctl::find(policy.file(), &self.bundle));
        if let Some(denied) = denied {
            return Err(Box::new(denied).into());
        }
        let cgroup = CgroupRef::from(&self.cgroup()?);
        let versions: Vec<_> = policies.iter().map(|policy| policy.version()).collect();
        let linked = attachments.link(&versions, &cgroup).map_err(|error| not_compiled(policies, error))?;
        // A name that is not remembered is no reason not to start it.
        let _ = attachments.remember_workload(cgroup.id(), &self.workload);
        Ok(linked)
    }
}

/// The error, with the place in the file if a policy cannot be compiled.
fn not_compiled(policies: &[&ContainerPolicy], error: AttachmentError) -> ContainerError {
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

/// What says that a container is the sandbox of a pod: annotations of containerd (internal/cri/annotations/annotations.go) and of
/// CRI-O (pkg/annotations/internal.go).
const SANDBOX: [&str; 2] = ["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"];

impl SelectorFields for StartingContainer {
    fn text(&self, field: &SelectorField) -> Option<Cow<'_, [u8]>> {
        const NONE: Option<Cow<'_, [u8]>> = Some(Cow::Borrowed(b""));
        let Workload { engine, namespace, .. } = &self.workload;
        let of = |piece: &'_ Option<Piece>| piece.as_ref().map(|piece| Cow::Owned(piece.bytes().to_vec()));
        let in_pod = match engine {
            Engine::CriO => true,
            Engine::Containerd => self.workload.pod_name.is_some() || self.is_sandbox,
            _ => false,
        };
        let is_runtime = matches!(engine, Engine::Runc | Engine::Crun);
        match field {
            SelectorField::Engine => Some(Cow::Borrowed(engine.name().as_bytes())),
            SelectorField::Cgroup => Some(Cow::Borrowed(&self.workload.path)),
            SelectorField::Unit => of(&self.workload.unit).or(NONE),
            SelectorField::Container if self.is_sandbox => NONE,
            // There, the id is a name that somebody has given.
            SelectorField::Container if is_runtime || (*engine == Engine::Containerd && !in_pod) => {
                Some(Cow::Borrowed(self.id.as_bytes()))
            }
            SelectorField::Container => of(&self.workload.container_name),
            SelectorField::Pod => match (of(&self.workload.pod_name), &self.workload.pod_id) {
                (Some(pod), _) => Some(pod),
                (None, None) if !in_pod => NONE,
                (None, _) => None,
            },
            SelectorField::Namespace => of(namespace).or(if in_pod { None } else { NONE }),
            SelectorField::Image if is_runtime || self.is_sandbox => of(&self.workload.image).or(NONE),
            SelectorField::Image => of(&self.workload.image),
            SelectorField::Label(key) => {
                let value = self.labels.as_ref()?.get(&*String::from_utf8_lossy(key.as_bytes()));
                Some(Cow::Owned(value.map_or_else(Vec::new, |value| value.clone().into_bytes())))
            }
            _ => None,
        }
    }
}
