//! The names by which people ask for a workload.

use std::fmt;

use crate::label::{LabelLevel, label};
use crate::unit::unit_of;
use crate::workload::{Engine, Role, Workload};

/// What somebody calls a workload, to say which one is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WorkloadName {
    /// A container or machine: its name, its id, the beginning of its id, or its [label](Workload::label) (`docker/web`).
    Container(String),
    /// A unit of systemd, with its type: `nginx.service`. [`unit`](Self::unit) adds that.
    Unit(String),
    /// A pod of Kubernetes.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// How well a name fits. The best comes first, as for Docker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameMatch {
    /// It is the id.
    Id,
    /// It is the name.
    Name,
    /// The id begins with it.
    IdPrefix,
}

impl WorkloadName {
    /// A unit. Without a type (`nginx`), it is a service.
    pub fn unit(name: &str) -> Self {
        let has_type = unit_of(name.as_bytes()).is_some();
        Self::Unit(if has_type { name.to_owned() } else { format!("{name}.service") })
    }

    /// A pod by its `NAMESPACE/NAME`; `None` if this is something else.
    pub fn pod(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        let is_part = |part: &str| !part.is_empty() && !part.contains('/');
        let pod = || Self::Pod { namespace: namespace.to_owned(), name: name.to_owned() };
        (is_part(namespace) && is_part(name)).then(pod)
    }

    /// Whether this is a name of the workload, and how well it fits. Only the workload itself counts, not what is
    /// [around](Workload::outer) or [above](Workload::owner) it; the engine's process beside a container has no name. A pod is a
    /// name of each of its containers: they alone know what the pod is called.
    ///
    /// ```
    /// use knobgate_workload::{NameMatch, Workload, WorkloadName};
    ///
    /// let path = b"/docker/4f6b1e3a9c0d2b7f8e5a6c1d3b9f0e2a7c4d8b6f1e3a5c9d0b2f7e8a6c4d1b3f";
    /// let container = WorkloadName::Container("4f6b".to_owned());
    /// assert_eq!(container.matches(&Workload::of_path(path)), Some(NameMatch::IdPrefix));
    ///
    /// let service = Workload::of_path(b"/system.slice/nginx.service");
    /// assert_eq!(WorkloadName::unit("nginx").matches(&service), Some(NameMatch::Name));
    /// ```
    pub fn matches(&self, workload: &Workload) -> Option<NameMatch> {
        if workload.role != Role::Payload {
            return None;
        }
        let level = workload.level();
        match self {
            Self::Container(text) => matches_container(text, &level),
            Self::Unit(unit) => {
                // The cgroup of a container or a pod can be that of a scope or slice as well.
                let component = workload.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
                (unit_of(component) == Some(unit.as_bytes())).then_some(NameMatch::Name)
            }
            Self::Pod { namespace, name } => {
                let of_kubernetes = workload.engine != Engine::Podman;
                let is_it =
                    level.pod == Some(name.as_bytes()) && level.namespace == Some(namespace.as_bytes());
                (of_kubernetes && is_it).then_some(NameMatch::Name)
            }
        }
    }
}

fn matches_container(text: &str, level: &LabelLevel<'_>) -> Option<NameMatch> {
    /// So many digits has an id whose beginning stands for it. Other ids are names.
    const DIGITS: usize = 64;
    let bytes = text.as_bytes();
    let id = level.container_id.unwrap_or_default();
    if id.is_empty() && level.container.is_none() || bytes.is_empty() {
        None
    } else if id == bytes {
        Some(NameMatch::Id)
    } else if level.container == Some(bytes) || label([*level], <[u8]>::to_vec) == bytes {
        Some(NameMatch::Name)
    } else {
        (id.len() == DIGITS && id.starts_with(bytes)).then_some(NameMatch::IdPrefix)
    }
}

impl fmt::Display for WorkloadName {
    /// The name is raw: escape it before you print it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(name) => write!(f, "the container \"{name}\""),
            Self::Unit(name) => write!(f, "the unit \"{name}\""),
            Self::Pod { namespace, name } => write!(f, "the pod \"{namespace}/{name}\""),
        }
    }
}
