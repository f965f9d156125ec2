//! The messages of the interface, with the fields that tests set or read. The numbers are those of CRI v1
//! (`k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`). Fields that are missing here are skipped when they are read.

use std::collections::BTreeMap;

use prost::Message;

/// A message without fields that matter here.
#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

/// What a runtime is.
#[derive(Clone, PartialEq, Message)]
pub struct VersionResponse {
    /// Its name, like `containerd`.
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    /// Its version.
    #[prost(string, tag = "3")]
    pub runtime_version: String,
    /// The version of the interface.
    #[prost(string, tag = "4")]
    pub runtime_api_version: String,
}

/// The name of an image.
#[derive(Clone, PartialEq, Message)]
pub struct ImageSpec {
    /// A reference.
    #[prost(string, tag = "1")]
    pub image: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ImageStatusRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ImageStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) image: Option<Empty>,
}

/// Who a pod is.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxMetadata {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its unique id in Kubernetes.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// Its namespace in Kubernetes.
    #[prost(string, tag = "3")]
    pub namespace: String,
}

/// What a container or a pod shares, and with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum NamespaceMode {
    /// With the other containers of the pod.
    Pod = 0,
    /// With nobody.
    Container = 1,
    /// With the runtime.
    Node = 2,
}

/// The namespaces of a pod sandbox or a container.
#[derive(Clone, PartialEq, Message)]
pub struct NamespaceOption {
    /// The network namespace.
    #[prost(enumeration = "NamespaceMode", tag = "1")]
    pub network: i32,
    /// The pid namespace.
    #[prost(enumeration = "NamespaceMode", tag = "2")]
    pub pid: i32,
    /// The IPC namespace.
    #[prost(enumeration = "NamespaceMode", tag = "3")]
    pub ipc: i32,
}

/// The security context of a pod sandbox.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxSandboxSecurityContext {
    /// Its namespaces.
    #[prost(message, optional, tag = "1")]
    pub namespace_options: Option<NamespaceOption>,
}

/// What a pod sandbox has on Linux only.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxPodSandboxConfig {
    /// The cgroup above those of the pod, from the root of the hierarchy.
    #[prost(string, tag = "1")]
    pub cgroup_parent: String,
    /// Its security context.
    #[prost(message, optional, tag = "2")]
    pub security_context: Option<LinuxSandboxSecurityContext>,
    /// Knobs that the runtime sets for it.
    #[prost(btree_map = "string, string", tag = "3")]
    pub sysctls: BTreeMap<String, String>,
}

/// A pod sandbox that is to be made.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxConfig {
    /// Who it is.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<PodSandboxMetadata>,
    /// Where the output of its containers goes.
    #[prost(string, tag = "3")]
    pub log_directory: String,
    /// Its labels.
    #[prost(btree_map = "string, string", tag = "6")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[prost(btree_map = "string, string", tag = "7")]
    pub annotations: BTreeMap<String, String>,
    /// The rest.
    #[prost(message, optional, tag = "8")]
    pub linux: Option<LinuxPodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandboxRequest {
    #[prost(string, tag = "1")]
    pub(crate) pod_sandbox_id: String,
}

pub(crate) type PodSandboxResponse = PodSandboxRequest;

/// The name of a container.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerMetadata {
    /// As the pod's specification has it.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// The security context of a container. Without further fields nothing is masked or read-only below `/proc`.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxContainerSecurityContext {
    /// Its namespaces.
    #[prost(message, optional, tag = "3")]
    pub namespace_options: Option<NamespaceOption>,
}

/// What a container has on Linux only.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxContainerConfig {
    /// Its security context.
    #[prost(message, optional, tag = "2")]
    pub security_context: Option<LinuxContainerSecurityContext>,
}

/// A container that is to be made.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerConfig {
    /// Its name.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ContainerMetadata>,
    /// Its image.
    #[prost(message, optional, tag = "2")]
    pub image: Option<ImageSpec>,
    /// The command, with its arguments.
    #[prost(string, repeated, tag = "3")]
    pub command: Vec<String>,
    /// Its labels.
    #[prost(btree_map = "string, string", tag = "9")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[prost(btree_map = "string, string", tag = "10")]
    pub annotations: BTreeMap<String, String>,
    /// The file in the pod's log directory for its output.
    #[prost(string, tag = "11")]
    pub log_path: String,
    /// The rest.
    #[prost(message, optional, tag = "15")]
    pub linux: Option<LinuxContainerConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CreateContainerRequest {
    #[prost(string, tag = "1")]
    pub(crate) pod_sandbox_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    pub(crate) sandbox_config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContainerRequest {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
}

pub(crate) type CreateContainerResponse = ContainerRequest;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct StopContainerRequest {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(int64, tag = "2")]
    pub(crate) timeout: i64,
}

/// Whether a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ContainerState {
    /// It was created and not started.
    Created = 0,
    /// It runs.
    Running = 1,
    /// It has ended.
    Exited = 2,
    /// The runtime does not know.
    Unknown = 3,
}

/// The state of a container.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerStatus {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Whether it runs.
    #[prost(enumeration = "ContainerState", tag = "3")]
    pub state: i32,
    /// Its exit status, once it has ended.
    #[prost(int32, tag = "7")]
    pub exit_code: i32,
    /// Why it is in this state, in one word.
    #[prost(string, tag = "10")]
    pub reason: String,
    /// The same in words.
    #[prost(string, tag = "11")]
    pub message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) status: Option<ContainerStatus>,
}
