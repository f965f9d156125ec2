//! A stream of events, with what a reader adds to them.

use std::time::SystemTime;

use crate::event::{Event, EventRule};
use crate::reconstruct::reconstruct;

/// One item of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamItem {
    /// Its number in this stream, from 1.
    pub sequence: u64,
    /// When it happened, by the wall clock as the reader saw it.
    pub time: Option<SystemTime>,
    /// Which boot of the machine: `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Option<String>,
    /// Whose it is.
    pub context: StreamContext,
    /// What happened.
    pub content: StreamContent,
}

/// What a reader knows about the attachment and the cgroup of an item.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamContext {
    /// The name of the attachment.
    pub attachment: Option<String>,
    /// The path of the cgroup.
    pub cgroup_path: Option<Vec<u8>>,
    /// What runs in the cgroup.
    pub workload: Option<StreamWorkload>,
}

/// What an item of a stream reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamContent {
    /// An access.
    Event(Box<StreamEvent>),
    /// A rule has sent as many events as it may.
    Suppressed(Box<Suppressed>),
    /// The reader was too slow.
    Lost(Lost),
}

/// An event, with what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEvent {
    /// The event.
    pub event: Event,
    /// Why the rule could not be evaluated.
    pub eval_error: Option<String>,
    /// The value that the rule replaces the written one with. In audit mode that is not stored.
    pub replacement: Option<Vec<u8>>,
}

/// Events that were counted, but not sent: their rule had sent as many as it may in a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// When that was last noticed, in nanoseconds of `CLOCK_BOOTTIME`.
    pub boot_time: u64,
    /// The name of the policy.
    pub policy: Option<String>,
    /// The rule.
    pub rule: Option<EventRule>,
    /// The id of the cgroup; `None` for all cgroups that came too late for the memory of the policy.
    pub cgroup_id: Option<u64>,
    /// How many there were since this was last said.
    pub count: u64,
}

/// Events that found no room in the buffer of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// When that was noticed, in nanoseconds of `CLOCK_BOOTTIME`.
    pub boot_time: u64,
    /// How many there were since this was last said.
    pub count: u64,
}

/// What runs in a cgroup: the outermost container or unit, whose names nothing inside of it can choose. What is inside of it
/// comes as `inner`. Somebody has chosen each name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
}

impl StreamItem {
    /// When it happened, in nanoseconds of `CLOCK_BOOTTIME`.
    pub fn boot_time(&self) -> u64 {
        match &self.content {
            StreamContent::Event(event) => event.event.boot_time,
            StreamContent::Suppressed(suppressed) => suppressed.boot_time,
            StreamContent::Lost(lost) => lost.boot_time,
        }
    }
}

impl From<Event> for StreamEvent {
    /// With what follows from the event alone: see [`reconstruct`].
    fn from(event: Event) -> Self {
        let reconstructed = reconstruct(&event);
        Self {
            eval_error: reconstructed.eval_error.map(|error| error.to_string()),
            replacement: reconstructed.replacement,
            event,
        }
    }
}
