//! The state of Docker.

use serde::Deserialize;

use super::Root;
use super::names::{Annotations, id, image, labels, name, name_in};
use crate::workload::{Engine, Workload};

/// Where dockerd keeps its containers, unless it has another `data-root`.
const CONTAINERS: &str = "var/lib/docker/containers";
/// The most that a container's configuration may take. Common ones take less than 10 KiB.
const SIZE_MAX: u64 = 1 << 20;

/// `config.v2.json`: `Container` of dockerd (daemon/container/container.go).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    /// It begins with a slash.
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    config: Option<Config>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    labels: Option<Annotations>,
}

/// Adds what Docker knows about the container.
pub(super) fn complete(root: Root<'_>, workload: &mut Workload) {
    let Some(id) = id(workload) else { return };
    let path = [id, b"/config.v2.json"].concat();
    let container =
        root.open(CONTAINERS).and_then(|containers| containers.json::<Container>(&path, SIZE_MAX));
    let Some(Container { name: slash_name, config }) = container else { return };
    workload.engine = Engine::Docker;
    workload.container_name = name(slash_name.as_deref().map(|name| name.strip_prefix('/').unwrap_or(name)));
    let Some(Config { image: asked_for, labels: of_container }) = config else { return };
    workload.image = image(asked_for.as_deref());
    let of_container = of_container.unwrap_or_default();
    if workload.pod_id.is_some() {
        // An image can have these labels, too, so they count only in a pod. cri-dockerd replaces those of the image
        // there (core/labels.go, and pkg/kubelet/types/labels.go of Kubernetes).
        workload.container_name =
            name_in(&of_container, "io.kubernetes.container.name").or(workload.container_name.take());
        workload.pod_name = name_in(&of_container, "io.kubernetes.pod.name");
        workload.namespace = name_in(&of_container, "io.kubernetes.pod.namespace");
    } else {
        // Compose's labels (pkg/api/labels.go).
        workload.project = name_in(&of_container, "com.docker.compose.project");
        workload.service = name_in(&of_container, "com.docker.compose.service");
    }
    // cri-dockerd gives the pod's labels to another container, that of the sandbox.
    workload.labels = labels(of_container, Annotations::new(), workload.pod_id.is_none());
}
