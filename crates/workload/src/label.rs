//! The name of a workload in one column.

use crate::unit::{unescape, user_of_manager};
use crate::workload::{Engine, Piece, Role, Workload};

/// How much of an id is shown where there is no name, as by `docker ps`.
const SHORT: usize = 12;

/// What a label says of one container, pod or unit. What is unknown is `None`. All bytes are raw.
#[derive(Debug, Clone, Copy, Default)]
pub struct LabelLevel<'a> {
    /// The [name of the engine](Engine::name).
    pub engine: &'a str,
    /// Whether it is the engine's process that watches the container.
    pub is_monitor: bool,
    /// The container's or machine's name.
    pub container: Option<&'a [u8]>,
    /// The container's id.
    pub container_id: Option<&'a [u8]>,
    /// The pod's name.
    pub pod: Option<&'a [u8]>,
    /// The pod's id.
    pub pod_id: Option<&'a [u8]>,
    /// The namespace of Kubernetes; without a pod, that of containerd.
    pub namespace: Option<&'a [u8]>,
    /// The project of Incus or LXD.
    pub project: Option<&'a [u8]>,
    /// The unit or slice, with systemd's escapes.
    pub unit: Option<&'a [u8]>,
    /// The user whose service manager started the unit.
    pub user: Option<u32>,
}

/// The label of a workload and of the containers around it, which come after it: `docker/web in docker/builder`. Levels
/// without a name are left out. Each name goes through `quoted`, which gets raw bytes.
///
/// ```
/// use knobgate_workload::{LabelLevel, label};
///
/// let container = LabelLevel { engine: "docker", container: Some(b"web"), ..LabelLevel::default() };
/// let unit = LabelLevel { engine: "unit", unit: Some(br"a\x2db.service"), ..LabelLevel::default() };
/// assert_eq!(label([unit, container], |name| name.to_vec()), b"unit a-b.service in docker/web");
/// ```
pub fn label<'a>(
    levels: impl IntoIterator<Item = LabelLevel<'a>>,
    quoted: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let levels = levels.into_iter().filter_map(|level| level.label(&quoted));
    levels.collect::<Vec<_>>().join(&b" in "[..])
}

impl LabelLevel<'_> {
    /// The name of this level alone.
    fn label(&self, quoted: &impl Fn(&[u8]) -> Vec<u8>) -> Option<Vec<u8>> {
        let container = self.container.or(short(self.container_id));
        let pod = short(self.pod_id).or(self.pod);
        let (kind, names): (Vec<u8>, _) = match (pod, container) {
            (Some(pod), _) if self.engine != Engine::Podman.name() => {
                let (namespace, pod) = match (self.namespace, self.pod) {
                    (Some(namespace), Some(pod)) => (Some(namespace), pod),
                    _ => (None, pod),
                };
                ("k8s".into(), [namespace, Some(pod), container])
            }
            (Some(pod), None) => ("podman/pod".into(), [Some(pod), None, None]),
            (_, Some(container)) => {
                // Names are unique in a namespace of containerd, and in a project of Incus and LXD.
                let scope = match self.engine {
                    "incus" | "lxd" => self.project,
                    "containerd" => self.namespace,
                    _ => None,
                };
                (quoted(self.engine.as_bytes()), [scope, Some(container), None])
            }
            (None, None) => return self.unit.map(|unit| self.unit_label(unit, quoted)),
        };
        let names = names.into_iter().flatten().map(quoted);
        let parts: Vec<Vec<u8>> = std::iter::once(kind).chain(names).collect();
        let role = if self.is_monitor { &b"monitor of "[..] } else { b"" };
        Some([role, &parts.join(&b'/')].concat())
    }

    fn unit_label(&self, unit: &[u8], quoted: &impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let user = self.user.map(|user| format!("user {user} ")).unwrap_or_default();
        [user.as_bytes(), b"unit ", &quoted(&unescape(unit))].concat()
    }
}

impl Workload {
    /// The name in one column: `docker/web-1`, `k8s/NAMESPACE/POD/CONTAINER`, `unit nginx.service`.
    ///
    /// Ids are cut to 12 bytes where there is no name. The containers around the workload come after it: `docker/web in
    /// docker/builder`. Without a known pattern, this is the path: `cgroup /x`. The bytes are raw: escape them before you
    /// print them.
    pub fn label(&self) -> Vec<u8> {
        let levels = std::iter::successors(Some(self), |workload| workload.outer.as_deref());
        let label = label(levels.map(Self::level), <[u8]>::to_vec);
        if label.is_empty() { [b"cgroup ", &*self.path].concat() } else { label }
    }

    /// What a label says of this one alone, without the containers around it.
    pub fn level(&self) -> LabelLevel<'_> {
        LabelLevel {
            engine: self.engine.name(),
            is_monitor: self.role == Role::Monitor,
            container: self.container_name.as_ref().map(Piece::bytes),
            container_id: self.container_id.as_ref().map(Piece::bytes),
            pod: self.pod_name.as_ref().map(Piece::bytes),
            pod_id: self.pod_id.as_ref().map(Piece::bytes),
            namespace: self.namespace.as_ref().map(Piece::bytes),
            project: self.project.as_ref().map(Piece::bytes),
            unit: self.innermost_unit().map(Piece::bytes),
            user: self.naming_user(),
        }
    }

    /// The user below whose service manager it is, and who chose its names. The manager itself has none.
    pub fn naming_user(&self) -> Option<u32> {
        let is_manager = |unit: &Piece| user_of_manager(unit.bytes()).is_some();
        let is_the_manager = self.innermost_unit().is_some_and(is_manager);
        self.user.filter(|_| self.user_manager && !is_the_manager)
    }

    /// The unit or slice whose cgroup this is: below a user's service manager, that can be a slice.
    pub fn innermost_unit(&self) -> Option<&Piece> {
        let ends_here = |unit: &&Piece| self.path.ends_with(unit.bytes());
        [&self.unit, &self.slice].into_iter().flatten().find(ends_here)
    }
}

/// The beginning of an id.
fn short(id: Option<&[u8]>) -> Option<&[u8]> {
    id.map(|id| &id[..id.len().min(SHORT)])
}
