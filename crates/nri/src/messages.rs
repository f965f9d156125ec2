//! The messages of NRI, with the fields that plugins here use. The numbers are those of NRI's `pkg/api/api.proto`, and are the same
//! in all versions so far. Fields that are missing here are skipped when they are read.

use std::collections::BTreeMap;

use prost::Message;

/// A pod.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandbox {
    /// The id of its sandbox.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Its unique id in Kubernetes.
    #[prost(string, tag = "3")]
    pub uid: String,
    /// Its namespace in Kubernetes.
    #[prost(string, tag = "4")]
    pub namespace: String,
    /// Its labels.
    #[prost(btree_map = "string, string", tag = "5")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[prost(btree_map = "string, string", tag = "6")]
    pub annotations: BTreeMap<String, String>,
}

/// A container.
#[derive(Clone, PartialEq, Message)]
pub struct Container {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The id of its pod's sandbox.
    #[prost(string, tag = "2")]
    pub pod_sandbox_id: String,
    /// Its name in the pod.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Whether it runs.
    #[prost(enumeration = "ContainerState", tag = "4")]
    pub state: i32,
    /// Its labels.
    #[prost(btree_map = "string, string", tag = "5")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations, with those of the runtime.
    #[prost(btree_map = "string, string", tag = "6")]
    pub annotations: BTreeMap<String, String>,
    /// Its OCI hooks, with those of plugins that came earlier.
    #[prost(message, optional, tag = "10")]
    pub hooks: Option<Hooks>,
    /// What it has on Linux only.
    #[prost(message, optional, tag = "11")]
    pub linux: Option<LinuxContainer>,
    /// The id of its first process in the runtime's pid namespace. 0 if there is none yet, or the runtime does not tell.
    #[prost(uint32, tag = "12")]
    pub pid: u32,
}

/// Whether a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ContainerState {
    /// The runtime does not know.
    Unknown = 0,
    /// It was created and not started.
    Created = 1,
    /// It is paused.
    Paused = 2,
    /// It runs.
    Running = 3,
    /// It has ended.
    Stopped = 4,
}

/// What a container has on Linux only.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxContainer {
    /// Its `cgroupsPath` of OCI: a path from the root of the hierarchy, or `SLICE:PREFIX:NAME` for systemd.
    #[prost(string, tag = "5")]
    pub cgroups_path: String,
}

/// OCI hooks.
#[derive(Clone, PartialEq, Message)]
pub struct Hooks {
    /// They run when the container's namespaces and cgroup exist, and its process does not run yet.
    #[prost(message, repeated, tag = "2")]
    pub create_runtime: Vec<Hook>,
    /// They run when the container was deleted.
    #[prost(message, repeated, tag = "6")]
    pub poststop: Vec<Hook>,
}

/// An OCI hook: a command that the runtime runs.
#[derive(Clone, PartialEq, Message)]
pub struct Hook {
    /// Its program, as an absolute path.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Its arguments, of which the first is the name of the program.
    #[prost(string, repeated, tag = "2")]
    pub args: Vec<String>,
    /// Its environment. It has nothing else.
    #[prost(string, repeated, tag = "3")]
    pub env: Vec<String>,
    /// After so many seconds, the runtime ends it.
    #[prost(message, optional, tag = "4")]
    pub timeout: Option<OptionalInt>,
}

/// A number that may be missing.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct OptionalInt {
    /// The number.
    #[prost(int64, tag = "1")]
    pub value: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RegisterPluginRequest {
    #[prost(string, tag = "1")]
    pub(crate) plugin_name: String,
    #[prost(string, tag = "2")]
    pub(crate) plugin_idx: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConfigureRequest {
    #[prost(string, tag = "2")]
    pub(crate) runtime_name: String,
    #[prost(string, tag = "3")]
    pub(crate) runtime_version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConfigureResponse {
    #[prost(int32, tag = "2")]
    pub(crate) events: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SynchronizeRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) pods: Vec<PodSandbox>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) containers: Vec<Container>,
    #[prost(bool, tag = "3")]
    pub(crate) more: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SynchronizeResponse {
    #[prost(bool, tag = "2")]
    pub(crate) more: bool,
}

/// What all requests about a container have: CreateContainer, StartContainer, StopContainer, RemoveContainer.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContainerRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "2")]
    pub(crate) container: Option<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CreateContainerResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) adjust: Option<ContainerAdjustment>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContainerAdjustment {
    #[prost(message, optional, tag = "5")]
    pub(crate) hooks: Option<Hooks>,
}

/// Runtimes before NRI 0.10 tell of starts and removals like this.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StateChangeEvent {
    #[prost(int32, tag = "1")]
    pub(crate) event: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "3")]
    pub(crate) container: Option<Container>,
}
