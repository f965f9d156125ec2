//! The state of containerd: the specifications that it gives to the runtime.

use serde::Deserialize;

use super::Root;
use super::directory::Directory;
use super::names::{Annotations, id, name_in};
use crate::annotations;
use crate::workload::{Engine, Origin, Piece, Workload};

/// Where containerd keeps its tasks, as `NAMESPACE/ID` (`bundle.go` in core/runtime/v2): its own `state` directory, and
/// that of k3s and RKE2.
const TASKS: [&str; 2] =
    ["run/containerd/io.containerd.runtime.v2.task", "run/k3s/containerd/io.containerd.runtime.v2.task"];
/// The most namespaces that are searched.
const NAMESPACES_MAX: usize = 64;
/// The namespace of the CRI plugin (`k8sContainerdNamespace`).
const KUBERNETES: &[u8] = b"k8s.io";
/// The most that a specification may take. Common ones take less than 100 KiB.
pub(super) const SIZE_MAX: u64 = 4 << 20;

/// `config.json` of the OCI runtime specification.
#[derive(Deserialize)]
pub(super) struct Spec {
    #[serde(default)]
    pub(super) annotations: Option<Annotations>,
}

/// Adds what containerd knows about the container.
pub(super) fn complete(root: Root<'_>, workload: &mut Workload) {
    let Some(id) = id(workload) else { return };
    for tasks in TASKS.iter().filter_map(|tasks| root.open(tasks)) {
        for namespace in namespaces(&tasks, workload) {
            let path = [&namespace, &b"/"[..], id, b"/config.json"].concat();
            if let Some(spec) = tasks.json::<Spec>(&path, SIZE_MAX) {
                add(workload, &namespace, &spec.annotations.unwrap_or_default());
                return;
            }
        }
    }
}

/// The namespaces in which the container can be.
fn namespaces(tasks: &Directory, workload: &Workload) -> Vec<Vec<u8>> {
    match &workload.namespace {
        _ if workload.pod_id.is_some() => vec![KUBERNETES.to_vec()],
        Some(namespace) => vec![namespace.bytes().to_vec()],
        None => tasks.entries(NAMESPACES_MAX).into_iter().map(|(name, _)| name).collect(),
    }
}

fn add(workload: &mut Workload, namespace: &[u8], annotations: &Annotations) {
    if workload.engine != Engine::Nerdctl {
        workload.engine = Engine::Containerd;
    }
    // Whoever starts a container in another namespace can give it these annotations, too.
    if namespace == KUBERNETES {
        annotations::of_containerd(workload, annotations);
    } else {
        if workload.namespace.is_none() {
            workload.namespace = Some(Piece::new(namespace, Origin::State));
        }
        // pkg/labels/labels.go of nerdctl, which also reads them back from the annotations.
        if let Some(name) = name_in(annotations, "nerdctl/name") {
            (workload.engine, workload.container_name) = (Engine::Nerdctl, Some(name));
        }
    }
}
