//! The name of a workload in one column.

use crate::unit::{unescape, user_of_manager};
use crate::workload::{Engine, Piece, Role, Workload};

/// How much of an id is shown where there is no name, as by `docker ps`.
const SHORT: usize = 12;

impl Workload {
    /// The name in one column: `docker/web-1`, `k8s/NAMESPACE/POD/CONTAINER`, `unit nginx.service`.
    ///
    /// Ids are cut to 12 bytes where there is no name. The containers around the workload come after it: `docker/web in
    /// docker/builder`. Without a known pattern, this is the path: `cgroup /x`. The bytes are raw: escape them before you
    /// print them.
    pub fn label(&self) -> Vec<u8> {
        let mut label = Vec::new();
        let mut level = Some(self);
        while let Some(workload) = level {
            if !label.is_empty() {
                label.extend(b" in ");
            }
            workload.add_to(&mut label);
            level = workload.outer.as_deref();
        }
        label
    }

    /// Adds the name of this level alone.
    fn add_to(&self, label: &mut Vec<u8>) {
        if self.role == Role::Monitor {
            label.extend(b"monitor of ");
        }
        let container = self.container_name.as_ref().map(Piece::bytes).or(short(&self.container_id));
        let parts: Vec<&[u8]> = match (&self.pod_id, container) {
            (Some(_), container) if self.engine != Engine::Podman => {
                let mut parts: Vec<&[u8]> = match (&self.namespace, &self.pod_name) {
                    (Some(namespace), Some(pod)) => vec![b"k8s", namespace.bytes(), pod.bytes()],
                    _ => vec![b"k8s", short(&self.pod_id).unwrap_or_default()],
                };
                parts.extend(container);
                parts
            }
            (Some(_), None) => vec![b"podman", b"pod", short(&self.pod_id).unwrap_or_default()],
            (_, Some(container)) => {
                // Names are unique in a namespace of containerd, and in a project of Incus and LXD.
                let scope = match self.engine {
                    Engine::Incus | Engine::Lxd => self.project.as_ref(),
                    Engine::Containerd => self.namespace.as_ref(),
                    _ => None,
                };
                let engine = self.engine.name().as_bytes();
                [Some(engine), scope.map(Piece::bytes), Some(container)].into_iter().flatten().collect()
            }
            (None, None) => return self.add_unit_to(label),
        };
        label.extend(parts.join(&b'/'));
    }

    fn add_unit_to(&self, label: &mut Vec<u8>) {
        // The path ends with the innermost one, which can be a slice below a user's service manager.
        let ends_here = |unit: &&Piece| self.path.ends_with(unit.bytes());
        let Some(unit) = [&self.unit, &self.slice].into_iter().flatten().find(ends_here) else {
            label.extend(b"cgroup ");
            label.extend(&self.path);
            return;
        };
        if let Some(user) = self.user.filter(|_| self.user_manager && user_of_manager(unit.bytes()).is_none())
        {
            label.extend(format!("user {user} ").into_bytes());
        }
        label.extend(b"unit ");
        label.extend(unescape(unit.bytes()));
    }
}

/// The beginning of an id.
fn short(id: &Option<Piece>) -> Option<&[u8]> {
    let id = id.as_ref()?.bytes();
    Some(&id[..id.len().min(SHORT)])
}
