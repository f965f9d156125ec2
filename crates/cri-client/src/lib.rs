//! A client of the Kubernetes container runtime interface (CRI), for tests: what the kubelet asks of containerd and CRI-O.
//!
//! In: the path of the runtime's socket, and messages. Out: messages, or a [`CallError`]. It knows the few calls that start
//! and stop pods and containers; [`messages`] has the fields of them that tests set or read. Each call is a connection of
//! its own and waits for its answer.
//!
//! A *pod sandbox* is what the containers of a pod share: a cgroup, namespaces, and a process that does nothing.
//!
//! ```no_run
//! use knobgate_cri_client::Client;
//!
//! let client = Client::new("/run/containerd/containerd.sock");
//! println!("{}", client.version()?.runtime_version);
//! # Ok::<(), knobgate_cri_client::CallError>(())
//! ```
#![forbid(unsafe_code)]

mod call;
pub mod messages;

use std::path::PathBuf;

use prost::Message;

pub use call::CallError;
use messages::{
    ContainerConfig, ContainerRequest, ContainerStatus, ContainerStatusResponse, CreateContainerRequest,
    CreateContainerResponse, Empty, ImageSpec, ImageStatusRequest, ImageStatusResponse, PodSandboxConfig,
    PodSandboxRequest, PodSandboxResponse, RunPodSandboxRequest, StopContainerRequest, VersionResponse,
};

/// The client of one runtime.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The client of the runtime that listens on this socket. Nothing is connected yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    fn runtime<A: Message + Default>(&self, method: &str, request: &impl Message) -> Result<A, CallError> {
        call::call(&self.socket, &format!("/runtime.v1.RuntimeService/{method}"), request)
    }

    /// What the runtime is.
    ///
    /// # Errors
    ///
    /// As for every call: [`CallError`].
    pub fn version(&self) -> Result<VersionResponse, CallError> {
        self.runtime("Version", &Empty {})
    }

    /// Whether the runtime has this image.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub fn has_image(&self, image: &str) -> Result<bool, CallError> {
        let request = ImageStatusRequest { image: Some(ImageSpec { image: image.to_owned() }) };
        let response: ImageStatusResponse =
            call::call(&self.socket, "/runtime.v1.ImageService/ImageStatus", &request)?;
        Ok(response.image.is_some())
    }

    /// Creates a pod sandbox and starts it. Returns its id.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub fn run_pod_sandbox(&self, config: &PodSandboxConfig) -> Result<String, CallError> {
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        self.runtime("RunPodSandbox", &request).map(|response: PodSandboxResponse| response.pod_sandbox_id)
    }

    /// Stops a pod sandbox and the containers in it.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub fn stop_pod_sandbox(&self, pod: &str) -> Result<(), CallError> {
        self.runtime("StopPodSandbox", &PodSandboxRequest { pod_sandbox_id: pod.to_owned() })
            .map(|Empty {}| ())
    }

    /// Removes a pod sandbox.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub fn remove_pod_sandbox(&self, pod: &str) -> Result<(), CallError> {
        self.runtime("RemovePodSandbox", &PodSandboxRequest { pod_sandbox_id: pod.to_owned() })
            .map(|Empty {}| ())
    }

    /// Creates a container in a pod sandbox, which had this configuration. Returns the container's id.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub fn create_container(
        &self,
        pod: &str,
        pod_config: &PodSandboxConfig,
        config: &ContainerConfig,
    ) -> Result<String, CallError> {
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.to_owned(),
            config: Some(config.clone()),
            sandbox_config: Some(pod_config.clone()),
        };
        self.runtime("CreateContainer", &request)
            .map(|response: CreateContainerResponse| response.container_id)
    }

    /// Starts a container that was created.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub fn start_container(&self, container: &str) -> Result<(), CallError> {
        self.runtime("StartContainer", &ContainerRequest { container_id: container.to_owned() })
            .map(|Empty {}| ())
    }

    /// The state of a container.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub fn container_status(&self, container: &str) -> Result<ContainerStatus, CallError> {
        let response: ContainerStatusResponse =
            self.runtime("ContainerStatus", &ContainerRequest { container_id: container.to_owned() })?;
        response.status.ok_or(CallError::NoAnswer)
    }

    /// Stops a container: it is killed `timeout` seconds after it was asked to stop.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub fn stop_container(&self, container: &str, timeout: i64) -> Result<(), CallError> {
        self.runtime("StopContainer", &StopContainerRequest { container_id: container.to_owned(), timeout })
            .map(|Empty {}| ())
    }

    /// Removes a container.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub fn remove_container(&self, container: &str) -> Result<(), CallError> {
        self.runtime("RemoveContainer", &ContainerRequest { container_id: container.to_owned() })
            .map(|Empty {}| ())
    }
}
