//! What the engines of Kubernetes write into the annotations of a container.

use crate::names::{Annotations, image, name_in};
use crate::workload::Workload;

/// Adds the names that containerd's CRI plugin gives (internal/cri/annotations/annotations.go).
pub(crate) fn of_containerd(workload: &mut Workload, annotations: &Annotations) {
    workload.container_name = name_in(annotations, "io.kubernetes.cri.container-name");
    workload.pod_name = name_in(annotations, "io.kubernetes.cri.sandbox-name");
    workload.namespace = name_in(annotations, "io.kubernetes.cri.sandbox-namespace");
    workload.image = image(annotations.get("io.kubernetes.cri.image-name").map(String::as_str));
    let uid = name_in(annotations, "io.kubernetes.cri.sandbox-uid");
    workload.pod_id = workload.pod_id.take().or(uid);
}

/// Adds the names that CRI-O gives (pkg/annotations/internal.go, and pkg/kubelet/types/labels.go of Kubernetes).
pub(crate) fn of_crio(workload: &mut Workload, annotations: &Annotations) {
    workload.container_name = name_in(annotations, "io.kubernetes.container.name");
    workload.pod_name = name_in(annotations, "io.kubernetes.pod.name");
    workload.namespace = name_in(annotations, "io.kubernetes.pod.namespace");
    workload.image = image(annotations.get("io.kubernetes.cri-o.ImageName").map(String::as_str));
    let uid = name_in(annotations, "io.kubernetes.pod.uid");
    workload.pod_id = workload.pod_id.take().or(uid);
}
