//! Whether a container is one of LXC, Incus or LXD.

use super::Root;
use super::names::name;
use crate::component::is_name;
use crate::workload::{Engine, Origin, Piece, Workload};

/// Where each keeps its containers: Incus, LXD, and LXD as a snap (`VarPath("containers")`), and LXC.
const DIRECTORIES: [(&str, Engine); 4] = [
    ("var/lib/incus/containers", Engine::Incus),
    ("var/lib/lxd/containers", Engine::Lxd),
    ("var/snap/lxd/common/lxd/containers", Engine::Lxd),
    ("var/lib/lxc", Engine::Lxc),
];
/// How many containers are looked through.
const CONTAINERS_MAX: usize = 1 << 16;

/// Adds which engine has a container of this name, and for Incus and LXD the project. They call the container
/// `PROJECT_NAME`, and names have no `_` (`InstanceParts()`, lxd/project/project.go); in the project `default`, just `NAME`.
pub(super) fn complete(root: Root<'_>, workload: &mut Workload) {
    let Some(full) = workload.container_name.as_ref().map(Piece::bytes).filter(|name| is_name(name)) else {
        return;
    };
    let has_it = |directory: &str| {
        // Incus and LXD have symbolic links to the storage pools there.
        let entries =
            root.open(directory).map(|directory| directory.entries(CONTAINERS_MAX)).unwrap_or_default();
        entries.iter().any(|(name, _)| name == full)
    };
    let Some((_, engine)) = DIRECTORIES.iter().find(|(directory, _)| has_it(directory)) else { return };
    workload.engine = *engine;
    let full = String::from_utf8_lossy(full).into_owned();
    let (project, instance) = match full.rsplit_once('_') {
        Some((project, instance)) if *engine != Engine::Lxc => (Some(project), instance),
        _ => (None, &*full),
    };
    workload.project = project.and_then(|project| name(Some(project)));
    workload.container_name = Some(Piece::new(instance, Origin::State));
}
