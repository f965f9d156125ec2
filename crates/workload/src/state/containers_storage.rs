//! The state of Podman and CRI-O, which both use containers/storage.

use std::path::Path;

use serde::Deserialize;

use super::Root;
use super::directory::Directory;
use super::names::{Annotations, id, image, labels, name, name_in};
use super::oci::{self, Spec};
use crate::annotations;
use crate::workload::Workload;

/// The directories of containers, which stay and which go at a reboot (`graphroot` and `runroot` of
/// containers-storage.conf(5)).
const STORAGE: [&str; 2] = ["var/lib/containers/storage", "run/containers/storage"];
/// The storage drivers, each with its own containers.
const DRIVERS: [&str; 4] = ["overlay", "vfs", "btrfs", "zfs"];
/// The lists of all containers: those that stay, and those of `podman run --rm` (`newContainerStore()`, containers.go).
const LISTS: [&str; 2] = ["containers.json", "volatile-containers.json"];
/// The most that a list may take: about 10,000 containers.
const LIST_MAX: u64 = 16 << 20;

/// An entry of the list: `Container` of containers/storage (containers.go).
#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    id: String,
    #[serde(default)]
    names: Vec<String>,
    /// JSON as a string.
    #[serde(default)]
    metadata: String,
}

/// `RuntimeContainerMetadata` of libpod (libpod/storage.go).
#[derive(Deserialize)]
struct Metadata {
    #[serde(default, rename = "image-name")]
    image_name: Option<String>,
}

fn directories(root: Root<'_>) -> impl Iterator<Item = Directory> {
    let names = STORAGE
        .iter()
        .flat_map(|storage| DRIVERS.iter().map(move |driver| format!("{storage}/{driver}-containers")));
    names.filter_map(move |name| root.open(&name))
}

/// The directory of containers that a bundle is in, as `ID/userdata` (`ContainerDirectory()`, store.go).
fn directory_of(root: Root<'_>, bundle: &Path) -> Option<Directory> {
    let containers = bundle.parent()?.parent()?.strip_prefix("/").ok()?;
    root.open(containers.to_str()?)
}

/// Adds what Podman knows about the container. The names of pods are in its database alone.
pub(super) fn complete_podman(root: Root<'_>, bundle: Option<&Path>, workload: &mut Workload) {
    let Some(id) = id(workload) else { return };
    let of_bundle = bundle.and_then(|bundle| directory_of(root, bundle));
    let mut containers = of_bundle.into_iter().chain(directories(root)).flat_map(|directory| {
        let lists =
            LISTS.iter().filter_map(|list| directory.json::<Vec<Container>>(list.as_bytes(), LIST_MAX));
        lists.flatten().collect::<Vec<_>>()
    });
    let Some(container) = containers.find(|container| container.id.as_bytes() == id) else {
        return;
    };
    let metadata = serde_json::from_str(&container.metadata).unwrap_or(Metadata { image_name: None });
    workload.container_name = name(container.names.first().map(String::as_str));
    workload.image = image(metadata.image_name.as_deref());
}

/// Adds what CRI-O knows about the container: the annotations that it gives to the runtime
/// (pkg/annotations/internal.go, and pkg/kubelet/types/labels.go of Kubernetes).
pub(super) fn complete_crio(root: Root<'_>, workload: &mut Workload) {
    let Some(id) = id(workload) else { return };
    let Some(annotations) = crio_annotations(root, id) else { return };
    annotations::of_crio(workload, &annotations);
    // The kubelet gives the pod's labels to the sandbox alone (pkg/kubelet/kuberuntime/labels.go of Kubernetes).
    let sandbox = name_in(&annotations, "io.kubernetes.cri-o.SandboxID").map(|id| id.bytes().to_vec());
    let of_pod =
        sandbox.and_then(|id| crio_annotations(root, &id)).and_then(|of_sandbox| crio_labels(&of_sandbox));
    if let Some(of_container) = crio_labels(&annotations) {
        let is_complete = of_pod.is_some();
        workload.labels = labels(of_container, of_pod.unwrap_or_default(), is_complete);
    }
}

/// The annotations that CRI-O gives to the runtime for the container with this id.
fn crio_annotations(root: Root<'_>, id: &[u8]) -> Option<Annotations> {
    let path = [id, b"/userdata/config.json"].concat();
    let spec = directories(root).find_map(|directory| directory.json::<Spec>(&path, oci::SIZE_MAX));
    spec.and_then(|spec| spec.annotations)
}

/// The labels in these annotations: JSON as a string.
fn crio_labels(annotations: &Annotations) -> Option<Annotations> {
    serde_json::from_str(annotations.get("io.kubernetes.cri-o.Labels")?).ok()
}
