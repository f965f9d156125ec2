//! The state of runc and crun, which has the cgroup of each container.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use super::directory::Directory;
use super::names::name;
use crate::workload::{Engine, Origin, Piece, Workload};

/// How many containers of one directory are known at the same time.
const CONTAINERS_MAX: usize = 4096;
/// How many namespaces of containerd are searched.
const NAMESPACES_MAX: usize = 64;
/// The most that the state of a container may take. Common ones take less than 100 KiB.
const SIZE_MAX: u64 = 4 << 20;

/// `--root` of runc: of runc alone (and of Podman and CRI-O with runc), and of dockerd, for the namespace `moby` of
/// containerd.
const RUNC: [(&str, Engine); 2] =
    [("run/runc", Engine::Runc), ("run/docker/runtime-runc/moby", Engine::Docker)];
/// The same of containerd, with a directory for each namespace.
const CONTAINERD: &str = "run/containerd/runc";
/// `--root` of crun: `get_run_directory()` (src/libcrun/status.c).
const CRUN: &str = "run/crun";

/// The containers of the runtimes by the paths of their cgroups.
#[derive(Debug, Default)]
pub(super) struct Runtimes {
    /// By the directory of the container's state, with the inode of that. A new container has a new one.
    containers: HashMap<(String, Vec<u8>, u64), Option<Container>>,
}

#[derive(Debug)]
struct Container {
    cgroup: Vec<u8>,
    engine: Engine,
    id: String,
    /// The namespace of containerd.
    namespace: Option<String>,
}

/// Where a runtime has a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the cgroup that has its name.
    Here,
    /// In another one, so that the cgroup only has its name.
    Elsewhere,
}

/// `state.json` of runc: `State` (libcontainer/container_linux.go).
#[derive(Deserialize)]
struct RuncState {
    id: String,
    /// The directory in each hierarchy of cgroup v1, and under `""` that in the one of v2.
    #[serde(default)]
    cgroup_paths: HashMap<String, String>,
    config: RuncConfig,
}

#[derive(Deserialize)]
struct RuncConfig {
    /// The annotations, as `KEY=VALUE`.
    #[serde(default)]
    labels: Option<Vec<String>>,
}

/// `status` of crun: `libcrun_write_container_status()` (src/libcrun/status.c).
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct CrunStatus {
    #[serde(default)]
    cgroup_path: String,
}

impl Runtimes {
    /// Adds which container this is, if a runtime has one in this cgroup or, if nothing else is known about it, above it.
    pub(super) fn complete(&mut self, root: &Path, workload: &mut Workload) {
        self.refresh(root);
        let levels =
            paths_above(&workload.path).take(if workload.engine == Engine::None { usize::MAX } else { 1 });
        let found = levels
            .filter_map(|path| self.containers.values().flatten().find(|one| one.cgroup == path))
            .next();
        let Some(container) = found else { return };
        workload.path.truncate(container.cgroup.len());
        workload.engine = container.engine;
        workload.container_id = Some(Piece::new(&*container.id, Origin::State));
        workload.namespace = name(container.namespace.as_deref());
    }

    /// Where runtimes have the container; `None` if none knows it.
    ///
    /// crun may put the container into a cgroup below the one with the id ("container").
    pub(super) fn place(&mut self, root: &Path, workload: &Workload) -> Option<Place> {
        let id = workload.container_id.as_ref().map(Piece::bytes)?;
        self.refresh(root);
        let mut cgroups = self.containers.values().flatten().filter(|one| one.id.as_bytes() == id).peekable();
        let path = &*workload.path;
        let is_here =
            |one: &Container| is_at_or_above(&one.cgroup, path) || is_at_or_above(path, &one.cgroup);
        cgroups.peek()?;
        Some(if cgroups.any(is_here) { Place::Here } else { Place::Elsewhere })
    }

    /// Reads the state of new containers, and drops those that are gone.
    fn refresh(&mut self, root: &Path) {
        let mut present = HashSet::new();
        let mut read = |directory: &Directory, place: &str, read: &dyn Fn(&[u8]) -> Option<Container>| {
            for (id, inode) in directory.entries(CONTAINERS_MAX) {
                let key = (place.to_owned(), id, inode);
                // It may not be written yet.
                if !self.containers.get(&key).is_some_and(Option::is_some) {
                    let container = read(&key.1);
                    self.containers.insert(key.clone(), container);
                }
                present.insert(key);
            }
        };
        for (place, engine) in RUNC {
            if let Some(directory) = Directory::open(root, place) {
                read(&directory, place, &|id| runc(&directory, id, engine, None));
            }
        }
        if let Some(namespaces) = Directory::open(root, CONTAINERD) {
            for (namespace, _) in namespaces.entries(NAMESPACES_MAX) {
                let Some(directory) = namespaces.directory(&namespace) else { continue };
                let namespace = String::from_utf8_lossy(&namespace).into_owned();
                read(&directory, &format!("{CONTAINERD}/{namespace}"), &|id| {
                    runc(&directory, id, Engine::Containerd, Some(namespace.clone()))
                });
            }
        }
        if let Some(directory) = Directory::open(root, CRUN) {
            read(&directory, CRUN, &|id| crun(&directory, id));
        }
        self.containers.retain(|key, _| present.contains(key));
    }
}

/// Whether crun has a container with this id, or begins one, and runc does not. crun runs its hooks before it writes what it knows, but its
/// directory is there.
pub(super) fn is_of_crun(root: &Path, id: &[u8]) -> bool {
    let [(runc, _), _] = RUNC;
    let has =
        |place| Directory::open(root, place).is_some_and(|containers| containers.directory(id).is_some());
    has(CRUN) && !has(runc)
}

/// What runc says about a container.
fn runc(directory: &Directory, id: &[u8], engine: Engine, namespace: Option<String>) -> Option<Container> {
    let state: RuncState = directory.json(&[id, b"/state.json"].concat(), SIZE_MAX)?;
    let labels = state.config.labels.unwrap_or_default();
    let engine = match engine {
        // `ContainerManager` of libpod (pkg/annotations/annotations.go).
        Engine::Runc if labels.iter().any(|label| label == "io.container.manager=libpod") => Engine::Podman,
        Engine::Runc if labels.iter().any(|label| label.starts_with("io.kubernetes.cri-o.ContainerID=")) => {
            Engine::CriO
        }
        engine => engine,
    };
    Some(Container {
        cgroup: cgroup_of_runc(&state.cgroup_paths)?,
        engine,
        id: name_of(&state.id)?,
        namespace,
    })
}

/// The path of the cgroup, from its directories: on v2, or else on systemd's own hierarchy, where engines make the same
/// path.
fn cgroup_of_runc(directories: &HashMap<String, String>) -> Option<Vec<u8>> {
    const MOUNT: &str = "/sys/fs/cgroup";
    let path = match directories.get("") {
        // systemd's hybrid layout has v2 below the hierarchies of v1.
        Some(unified) => {
            let below = unified.strip_prefix(MOUNT)?;
            below.strip_prefix("/unified").filter(|rest| rest.starts_with('/')).unwrap_or(below)
        }
        None => directories.get("name=systemd")?.strip_prefix(MOUNT)?.strip_prefix("/systemd")?,
    };
    (path.len() > 1).then(|| path.as_bytes().to_vec())
}

/// What crun says about a container.
fn crun(directory: &Directory, id: &[u8]) -> Option<Container> {
    let status: CrunStatus = directory.json(&[id, b"/status"].concat(), SIZE_MAX)?;
    let path = status.cgroup_path.trim_matches('/');
    let id = name_of(str::from_utf8(id).ok()?)?;
    let cgroup = [b"/", path.as_bytes()].concat();
    (!path.is_empty()).then_some(Container { cgroup, engine: Engine::Crun, id, namespace: None })
}

/// An id, if it has the characters that runtimes allow.
fn name_of(id: &str) -> Option<String> {
    name(Some(id)).map(|_| id.to_owned())
}

fn is_at_or_above(above: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The path and those above it, without the root.
fn paths_above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = (1..=path.len()).rev().filter(|&end| end == path.len() || path[end] == b'/');
    ends.map(|end| &path[..end])
}
