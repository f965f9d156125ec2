//! What runs in a cgroup.

use knobgate_workload::{Engine, LabelLevel, label};

/// What runs in a cgroup: the outermost container or unit, whose names nothing inside of it can choose. What is inside of it
/// comes as `inner`. Somebody has chosen each name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(default))]
pub struct StreamWorkload {
    /// What started it, such as `docker`.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub engine: Option<String>,
    /// Whether this is the process of the engine that watches the container, and is not in it. Absent, it is not.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "crate::json::is_false"))]
    pub monitor: bool,
    /// The name of the container.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub container: Option<String>,
    /// The id of the container.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub container_id: Option<String>,
    /// The name of the pod.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub pod: Option<String>,
    /// The id of the pod: of Kubernetes, its UID.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub pod_id: Option<String>,
    /// The namespace of the pod; without a pod, that of containerd.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub namespace: Option<String>,
    /// The image of the container.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub image: Option<String>,
    /// The project of Compose, Incus or LXD.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub project: Option<String>,
    /// The service of Compose.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub service: Option<String>,
    /// The systemd unit, if it is not a slice.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub unit: Option<String>,
    /// The systemd slice, if the cgroup is that of a slice itself.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub slice: Option<String>,
    /// The user below whose service manager it is, and who chose its names. The manager itself has none.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub user: Option<u32>,
    /// What runs inside of it, by names that it could have chosen itself: containers or units in a container, the units of a
    /// user's service manager, or containers in a service or in a cgroup without a known name.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub inner: Option<Box<StreamWorkload>>,
}

impl StreamWorkload {
    /// This one, and what runs inside of it: from the outermost to the innermost.
    pub fn levels(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |level| level.inner.as_deref())
    }

    /// The name of the container, or its id if no name is known.
    pub fn container_or_id(&self) -> Option<&str> {
        self.container.as_deref().or(self.container_id.as_deref())
    }

    /// The name of the pod, or its id if no name is known.
    pub fn pod_or_id(&self) -> Option<&str> {
        self.pod.as_deref().or(self.pod_id.as_deref())
    }

    /// The name in one column, like the [label](knobgate_workload::Workload::label) of a workload: of the innermost level, and the
    /// containers around it. `None` if nothing has a name. Each name goes through `quoted`.
    pub fn label(&self, quoted: impl Fn(&[u8]) -> Vec<u8>) -> Option<String> {
        let mut levels: Vec<&Self> = self.levels().collect();
        levels.reverse();
        let is_container = |level: &Self| level.container_or_id().or(level.pod_or_id()).is_some();
        let shown = levels.iter().enumerate().filter(|&(index, level)| index == 0 || is_container(level));
        let label = label(shown.map(|(_, level)| level.label_level()), quoted);
        (!label.is_empty()).then(|| String::from_utf8_lossy(&label).into_owned())
    }

    fn label_level(&self) -> LabelLevel<'_> {
        fn bytes(text: &Option<String>) -> Option<&[u8]> {
            text.as_deref().map(str::as_bytes)
        }
        LabelLevel {
            engine: self.engine.as_deref().unwrap_or(Engine::Container.name()),
            is_monitor: self.monitor,
            container: bytes(&self.container),
            container_id: bytes(&self.container_id),
            pod: bytes(&self.pod),
            pod_id: bytes(&self.pod_id),
            namespace: bytes(&self.namespace),
            project: bytes(&self.project),
            unit: bytes(&self.slice).or(bytes(&self.unit)),
            user: self.user,
        }
    }
}
