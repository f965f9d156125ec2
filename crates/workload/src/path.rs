//! The workload that a path shows.

use crate::component::{Component, is_name};
use crate::unit::{user_of_manager, user_of_slice};
use crate::workload::{Engine, Origin, Piece, Role, Workload};

/// The namespaces of containerd that programs use for containers without a cgroup parent: `ctr` and nerdctl use
/// `default`, the CRI plugin `k8s.io`. The cgroup is `/NAMESPACE/ID` (`populateDefaultUnixSpec()`, pkg/oci/spec.go).
const CONTAINERD_NAMESPACES: [&[u8]; 2] = [b"default", b"k8s.io"];

/// The cgroups that engines create for their containers, beside slices.
const ENGINES: [&[u8]; 8] =
    [b"docker", b"libpod_parent", b"kubepods", b"burstable", b"besteffort", b"lxc", b"default", b"k8s.io"];

/// How many containers around another one are told apart. Whoever owns a cgroup can nest more without end.
const DEPTH_MAX: usize = 8;

impl Workload {
    /// The workload in the cgroup with this path, such as `/system.slice/nginx.service`.
    ///
    /// The path is that from the root of the hierarchy, as in `/proc/PID/cgroup`. The innermost container or unit counts;
    /// the containers around it are its [`outer`](Self::outer) ones, of which there are at most eight: what is deeper counts
    /// as part of the ninth container. If nothing in the path has a known pattern, only
    /// [`path`](Self::path) is set.
    pub fn of_path(path: &[u8]) -> Self {
        let mut levels = Levels::default();
        let mut start = 0;
        for text in path.split(|&byte| byte == b'/') {
            let end = start + text.len();
            if !text.is_empty() {
                levels.enter(text, &path[..end]);
            }
            start = end + 1;
        }
        levels.finish(path)
    }
}

/// The workload so far. A level is a container with what is above it, up to the next container.
#[derive(Default)]
struct Levels<'a> {
    current: Workload,
    /// The containers around the current one.
    depth: usize,
    /// The components since the last container.
    components: Vec<&'a [u8]>,
    /// The first cgroup outside of containers that somebody may own: none of a slice or an engine.
    owned: Option<Box<Workload>>,
}

impl<'a> Levels<'a> {
    /// Goes one component further. `path` ends with it.
    fn enter(&mut self, text: &'a [u8], path: &[u8]) {
        match split_systemd_path(text) {
            // runc was told to use the cgroup of a systemd driver, but uses cgroupfs.
            Some((slice, scope)) => {
                self.take(&Component::of(slice), path);
                self.take(&Component::of(&scope), path);
            }
            None => self.take(&self.in_context(text), path),
        }
        self.note_owner(text, path);
        if self.in_container() && self.current.path == path {
            // What comes below it is a hierarchy of its own.
            self.components.clear();
        } else {
            self.components.push(text);
        }
    }

    /// Notes whose all names below `text` are, if it is the first one that somebody may own.
    fn note_owner(&mut self, text: &[u8], path: &[u8]) {
        if self.owned.is_some() || self.in_container() || self.depth > 0 {
            return;
        }
        let level = &self.current;
        if level.path != path && !ENGINES.contains(&text) {
            self.owned = Some(Box::new(Workload { path: path.to_vec(), ..Workload::default() }));
        } else if level.unit.is_some() {
            self.owned = Some(Box::new(level.clone()));
        }
    }

    fn in_container(&self) -> bool {
        self.current.container_id.is_some() || self.current.container_name.is_some()
    }

    /// What a component is below those above it.
    fn in_context(&self, text: &'a [u8]) -> Component<'a> {
        let above = self.components.last().copied();
        match Component::of(text) {
            Component::Id(id) => self.container_of_id(id),
            // The kubelet's cgroupfs driver: /kubepods/burstable/podUID.
            Component::Pod(uid) if !text.ends_with(b".slice") => match above {
                Some(b"kubepods" | b"burstable" | b"besteffort") => Component::Pod(uid),
                _ => Component::Other,
            },
            // LXC's `lxc.cgroup.pattern` was `lxc/%n`; Proxmox still uses that.
            Component::Other if self.components == [b"lxc"] && is_name(text) => {
                Component::Machine { engine: Engine::Lxc, role: Role::Payload, name: text.to_vec() }
            }
            component => component,
        }
    }

    /// What 64 hexadecimal digits are below the components above them. Kinds without a pattern stay [`Component::Id`].
    fn container_of_id(&self, id: &'a [u8]) -> Component<'a> {
        let container = |engine| Component::Container { engine, role: Role::Payload, id };
        match self.components.last().copied() {
            // dockerd's `newCgroupParent()` (cmd/dockerd/daemon_systemd_unix.go).
            Some(b"docker") => container(Engine::Docker),
            // libpod's `CgroupfsDefaultCgroupParent` (libpod/runtime.go).
            Some(b"libpod_parent") => Component::PodmanPod(id),
            // The CRI plugin of containerd, and cri-dockerd.
            Some(_) if self.current.engine == Engine::Cri && !self.in_container() => container(Engine::Cri),
            Some(namespace) if self.components.len() == 1 && CONTAINERD_NAMESPACES.contains(&namespace) => {
                container(Engine::Containerd)
            }
            _ => Component::Id(id),
        }
    }

    /// Adds what a component says.
    fn take(&mut self, component: &Component<'_>, path: &[u8]) {
        // Cgroups in a container that mean nothing to us are still the container.
        if self.in_container() && *component != Component::Other {
            if self.depth == DEPTH_MAX {
                return;
            }
            self.depth += 1;
            let outer = std::mem::take(&mut self.current);
            self.current.outer = Some(Box::new(outer));
        }
        let level = &mut self.current;
        let from_path = |bytes: &[u8]| Some(Piece::new(bytes, Origin::Path));
        match component {
            Component::Container { engine, role, id } => {
                (level.engine, level.role, level.container_id) = (*engine, *role, from_path(id));
                if *engine == Engine::Containerd && level.pod_id.is_none() {
                    let namespace =
                        self.components.last().filter(|last| CONTAINERD_NAMESPACES.contains(last));
                    level.namespace = namespace.and_then(|namespace| from_path(namespace));
                }
            }
            Component::Machine { engine, role, name } => {
                (level.engine, level.role, level.container_name) = (*engine, *role, from_path(name));
            }
            Component::Id(id) => {
                level.engine = Engine::Container;
                level.container_id = Some(Piece::new(*id, Origin::Guess));
            }
            Component::Pod(uid) => (level.engine, level.pod_id) = (Engine::Cri, from_path(uid)),
            Component::PodmanPod(id) => (level.engine, level.pod_id) = (Engine::Podman, from_path(id)),
            // What is below a unit is its own, whatever it is called, unless that is a user's service manager.
            Component::Slice(_) | Component::Unit(_)
                if level.unit.as_ref().is_some_and(|unit| !is_manager(unit)) =>
            {
                return;
            }
            Component::Slice(unit) => {
                level.slice = from_path(unit);
                if !level.user_manager {
                    level.user = user_of_slice(unit).or(level.user);
                }
            }
            Component::Unit(unit) => {
                level.unit = from_path(unit);
                if let Some(user) = user_of_manager(unit).filter(|_| !level.user_manager) {
                    (level.user, level.user_manager) = (Some(user), true);
                }
            }
            Component::Other => return,
        }
        if level.engine == Engine::None {
            level.engine = Engine::Systemd;
        }
        level.path = path.to_vec();
        if level.outer.is_none() && level.owner.is_none() {
            level.owner = self.owned.take();
        }
    }

    /// The innermost workload of `path`.
    fn finish(mut self, path: &[u8]) -> Workload {
        if self.current.engine == Engine::None {
            self.current.path = if path.is_empty() { b"/".to_vec() } else { path.to_vec() };
        }
        self.current
    }
}

fn is_manager(unit: &Piece) -> bool {
    user_of_manager(unit.bytes()).is_some()
}

/// The slice and the scope of a `SLICE:PREFIX:ID`.
fn split_systemd_path(text: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let parts: Vec<&[u8]> = text.split(|&byte| byte == b':').collect();
    let [slice, prefix, id] = parts[..] else { return None };
    let scope = [prefix, b"-", id, b".scope"].concat();
    let is_container = matches!(Component::of(&scope), Component::Container { .. });
    (slice.ends_with(b".slice") && is_container).then_some((slice, scope))
}
