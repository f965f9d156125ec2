//! A container as its runtime describes it to hooks.
//!
//! Annotations are chosen by whoever makes the bundle. So those of an engine count only where that engine made it, as far as
//! the path of the cgroup and the directory of the bundle show that: no container of Docker or Podman gets the name of a pod by its
//! annotations.

use std::collections::HashMap;

use crate::annotations;
use crate::component::is_name;
use crate::names::{name, name_in};
use crate::workload::{Engine, Origin, Piece, Role, Workload};

/// What an OCI runtime tells a hook about a container, and its bundle.
#[derive(Debug, Clone, Copy)]
pub struct OciContainer<'a> {
    /// Its id.
    pub id: &'a str,
    /// The directory of its bundle.
    pub bundle: &'a [u8],
    /// Its annotations.
    pub annotations: &'a HashMap<String, String>,
    /// `linux.cgroupsPath` of its bundle: a path, or `SLICE:PREFIX:NAME` for a runtime that has systemd make the cgroup.
    pub cgroups_path: Option<&'a str>,
}

/// The directory of containerd's bundles, as `NAMESPACE/ID` (`NewBundle()`, core/runtime/v2/bundle.go).
const CONTAINERD_TASKS: &[u8] = b"io.containerd.runtime.v2.task";
/// The namespace of dockerd (`--containerd-namespace`), and that of the CRI plugin (`k8sContainerdNamespace`).
const DOCKER: &[u8] = b"moby";
const KUBERNETES: &[u8] = b"k8s.io";

impl Workload {
    /// The container whose first process is in the cgroup with this path. Its [`path`](Self::path) is that of the container's
    /// topmost cgroup, which the process may be below of already: the outermost one in the path with the container's id, or else the
    /// one that its bundle asks for, or else the given one.
    ///
    /// To its runtime, it is the outermost container: it has neither [`outer`](Self::outer) nor [`owner`](Self::owner).
    ///
    /// ```
    /// use std::collections::HashMap;
    ///
    /// use knobgate_workload::{Engine, OciContainer, Workload};
    ///
    /// let annotations = [
    ///     ("io.kubernetes.cri.container-type", "container"),
    ///     ("io.kubernetes.cri.container-name", "nginx"),
    ///     ("io.kubernetes.cri.sandbox-name", "web-7d4b9"),
    ///     ("io.kubernetes.cri.sandbox-namespace", "prod"),
    /// ];
    /// let annotations: HashMap<_, _> =
    ///     annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    /// let container = OciContainer {
    ///     id: "4f6b1e3a9c0d",
    ///     bundle: b"/run/containerd/io.containerd.runtime.v2.task/k8s.io/4f6b1e3a9c0d",
    ///     annotations: &annotations,
    ///     cgroups_path: Some("/pods/web/4f6b1e3a9c0d"),
    /// };
    /// let workload = Workload::of_oci(b"/pods/web/4f6b1e3a9c0d/init", &container);
    /// assert_eq!((workload.engine, &*workload.path), (Engine::Containerd, &b"/pods/web/4f6b1e3a9c0d"[..]));
    /// assert_eq!(workload.label(), b"k8s/prod/web-7d4b9/nginx");
    /// ```
    pub fn of_oci(path: &[u8], container: &OciContainer<'_>) -> Self {
        let id = container.id.as_bytes();
        let is_it = |level: &Self| {
            // LXC's paths have the container's name, which is its id.
            let shown = match level.engine {
                Engine::Lxc => &level.container_name,
                _ => &level.container_id,
            };
            level.role == Role::Payload && shown.as_ref().map(Piece::bytes) == Some(id)
        };
        let mut workload = match levels(Self::of_path(path)).into_iter().find(is_it) {
            Some(level) => level,
            None => {
                let top = container.cgroups_path.and_then(|asked_for| asked_for_in(asked_for, path));
                let top = top.unwrap_or(path);
                // What is known about the cgroups above.
                let outside = levels(Self::of_path(top)).into_iter().next().unwrap_or_default();
                let Self { unit, slice, user, user_manager, pod_id, .. } = outside;
                Self { path: top.to_vec(), unit, slice, user, user_manager, pod_id, ..Self::default() }
            }
        };
        (workload.outer, workload.owner) = (None, None);
        workload.container_id = Some(match workload.container_id.take() {
            Some(id) if id.origin() == Origin::Path => id,
            _ => Piece::new(id, Origin::State),
        });
        workload.engine = container.engine(workload.engine);
        container.name(&mut workload);
        workload
    }
}

impl OciContainer<'_> {
    /// The engine. `shown` is the one that the path shows.
    fn engine(&self, shown: Engine) -> Engine {
        let has = |key: &str| self.annotations.contains_key(key);
        let manager = self.annotations.get("io.container.manager").map(String::as_str);
        match (self.containerd_namespace(), shown) {
            (Some(DOCKER), _) => Engine::Docker,
            (Some(KUBERNETES), _) => Engine::Containerd,
            (Some(_), Engine::Nerdctl) => Engine::Nerdctl,
            (Some(_), _) if has("nerdctl/name") => Engine::Nerdctl,
            (Some(_), _) => Engine::Containerd,
            (None, Engine::Docker | Engine::Podman | Engine::CriO | Engine::Nerdctl | Engine::Containerd) => {
                shown
            }
            // libpod and CRI-O overwrite what a user puts there (`ContainerManager` in pkg/annotations of each).
            (None, _) if manager == Some("libpod") => Engine::Podman,
            (None, _) if manager == Some("cri-o") || has("io.kubernetes.cri-o.ContainerID") => Engine::CriO,
            (None, _) if has("io.kubernetes.cri.container-type") => Engine::Containerd,
            (None, _) if has("nerdctl/name") => Engine::Nerdctl,
            (None, Engine::None | Engine::Systemd | Engine::Container) => Engine::Runc,
            (None, shown) => shown,
        }
    }

    /// The namespace of containerd in which this is a task.
    fn containerd_namespace(&self) -> Option<&[u8]> {
        let mut components = self.bundle.rsplit(|&byte| byte == b'/').filter(|part| !part.is_empty());
        let (_id, namespace, tasks) = (components.next()?, components.next()?, components.next()?);
        (tasks == CONTAINERD_TASKS && is_name(namespace)).then_some(namespace)
    }

    /// Adds the names that the engine gives.
    fn name(&self, workload: &mut Workload) {
        let annotations = self.annotations;
        let namespace = self.containerd_namespace();
        match workload.engine {
            Engine::Containerd if namespace.is_none_or(|namespace| namespace == KUBERNETES) => {
                annotations::of_containerd(workload, annotations);
            }
            Engine::CriO => annotations::of_crio(workload, annotations),
            // pkg/labels/labels.go of nerdctl
            Engine::Nerdctl => {
                workload.container_name = name_in(annotations, "nerdctl/name");
                let namespace = namespace.map(|namespace| Piece::new(namespace, Origin::State));
                workload.namespace = namespace.or(name_in(annotations, "nerdctl/namespace"));
            }
            Engine::Containerd => {
                workload.namespace = namespace.and_then(|found| name(str::from_utf8(found).ok()));
            }
            _ => {}
        }
    }
}

/// A workload and those around it, the outermost first.
fn levels(innermost: Workload) -> Vec<Workload> {
    let mut levels = Vec::new();
    let mut next = Some(Box::new(innermost));
    while let Some(mut level) = next {
        next = level.outer.take();
        levels.push(*level);
    }
    levels.reverse();
    levels
}

/// The part of `path` up to the cgroup that `linux.cgroupsPath` asks for; `None` if that is not in the path. It is not the
/// root.
fn asked_for_in<'a>(asked_for: &str, path: &'a [u8]) -> Option<&'a [u8]> {
    let mut ends = (1..=path.len()).filter(|&end| end == path.len() || path[end] == b'/');
    // runc's `getUnitName()` (libcontainer/cgroups/systemd/common.go).
    if let [_slice, prefix, name] = asked_for.split(':').collect::<Vec<_>>()[..]
        && !asked_for.contains('/')
    {
        let unit = match (prefix, name) {
            (_, slice) if slice.ends_with(".slice") => slice.to_owned(),
            ("", name) => format!("{name}.scope"),
            (prefix, name) => format!("{prefix}-{name}.scope"),
        };
        return ends.map(|end| &path[..end]).find(|above| {
            let last = above.rsplit(|&byte| byte == b'/').next();
            last == Some(unit.as_bytes())
        });
    }
    let asked_for = asked_for.trim_matches('/').as_bytes();
    let above = |end: usize| &path[..end];
    (!asked_for.is_empty())
        .then(|| ends.find(|&end| above(end).strip_prefix(b"/") == Some(asked_for)).map(above))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f6b1e3a9c0d2b7f8e5a6c1d3b9f0e2a7c4d8b6f1e3a5c9d0b2f7e8a6c4d1b3f";
    const OTHER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn annotations(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn of_oci(
        path: &str,
        id: &str,
        bundle: &str,
        asked_for: Option<&str>,
        pairs: &[(&str, &str)],
    ) -> Workload {
        let annotations = annotations(pairs);
        let cgroups_path = asked_for;
        let container =
            OciContainer { id, bundle: bundle.as_bytes(), annotations: &annotations, cgroups_path };
        Workload::of_oci(path.replace("{ID}", ID).replace("{OTHER}", OTHER).as_bytes(), &container)
    }

    #[test]
    fn the_topmost_cgroup_of_the_container_counts() {
        for (path, id, asked_for, top) in [
            ("/machine.slice/libpod-{ID}.scope/container", ID, None, "/machine.slice/libpod-{ID}.scope"),
            ("/docker/{OTHER}/docker/{ID}/init.scope", ID, None, "/docker/{OTHER}/docker/{ID}"),
            // The container names its cgroups after itself.
            ("/docker/{ID}/docker/{ID}", ID, None, "/docker/{ID}"),
            ("/x/c1", "web", Some("/x/c1"), "/x/c1"),
            ("/x/c1/init", "web", Some("/x/c1"), "/x/c1"),
            ("/x/c1/init", "web", Some("x/c1"), "/x/c1"),
            ("/x/c11", "web", Some("/x/c1"), "/x/c11"),
            ("/x/c1", "web", Some("/"), "/x/c1"),
            ("/x/c1", "web", None, "/x/c1"),
            ("/system.slice/foo.service/c1", "web", None, "/system.slice/foo.service/c1"),
            ("/a.slice/run-web.scope/x", "web", Some("a.slice:run:web"), "/a.slice/run-web.scope"),
            ("/a.slice/web.scope/x", "web", Some("a.slice::web"), "/a.slice/web.scope"),
            ("/a.slice/web.slice/x", "web", Some("a.slice:run:web.slice"), "/a.slice/web.slice"),
            ("/", "web", Some("/x"), "/"),
        ] {
            let workload = of_oci(path, id, "/b", asked_for, &[]);
            let expected = top.replace("{ID}", ID).replace("{OTHER}", OTHER);
            assert_eq!(String::from_utf8_lossy(&workload.path), expected, "{path}");
            assert_eq!(workload.container_id.as_ref().map(Piece::bytes), Some(id.as_bytes()), "{path}");
            assert_eq!((workload.outer, workload.owner), (None, None), "{path}");
        }
    }

    #[test]
    fn annotations_count_where_their_engine_made_the_bundle() {
        let pod = [
            ("io.kubernetes.cri.container-type", "container"),
            ("io.kubernetes.cri.container-name", "nginx"),
            ("io.kubernetes.cri.sandbox-name", "web-1"),
            ("io.kubernetes.cri.sandbox-namespace", "prod"),
        ];
        let tasks = "/run/containerd/io.containerd.runtime.v2.task";
        let libpod = [("io.container.manager", "libpod"), pod[0], pod[1]];
        let crio = [
            ("io.container.manager", "cri-o"),
            ("io.kubernetes.container.name", "nginx"),
            ("io.kubernetes.pod.name", "web-1"),
            ("io.kubernetes.pod.namespace", "prod"),
        ];
        let nerdctl = [("nerdctl/name", "db")];
        for (path, bundle, pairs, label) in [
            ("/kubepods/podab/{ID}", format!("{tasks}/k8s.io/{ID}"), &pod[..], "k8s/prod/web-1/nginx"),
            ("/x/{ID}", format!("{tasks}/k8s.io/{ID}"), &pod, "k8s/prod/web-1/nginx"),
            ("/docker/{ID}", format!("{tasks}/moby/{ID}"), &pod, "docker/4f6b1e3a9c0d"),
            ("/x/{ID}", format!("{tasks}/moby/{ID}/"), &pod, "docker/4f6b1e3a9c0d"),
            ("/x/{ID}", format!("{tasks}/shop/{ID}"), &pod, "containerd/shop/4f6b1e3a9c0d"),
            ("/x/{ID}", format!("{tasks}/shop/{ID}"), &nerdctl, "nerdctl/db"),
            ("/machine.slice/libpod-{ID}.scope", "/b".to_owned(), &pod, "podman/4f6b1e3a9c0d"),
            ("/x/{ID}", "/b".to_owned(), &libpod, "podman/4f6b1e3a9c0d"),
            ("/x/{ID}", "/b".to_owned(), &crio, "k8s/prod/web-1/nginx"),
            // Whoever makes a bundle by hand chooses everything.
            ("/x/{ID}", "/b".to_owned(), &pod, "k8s/prod/web-1/nginx"),
            ("/x/{ID}", "/b".to_owned(), &[], "runc/4f6b1e3a9c0d"),
            // No engine allows such a name.
            ("/x/{ID}", "/b".to_owned(), &[("nerdctl/name", "a/b")], "nerdctl/4f6b1e3a9c0d"),
        ] {
            let workload = of_oci(path, ID, &bundle, None, pairs);
            assert_eq!(String::from_utf8_lossy(&workload.label()), label, "{path} {bundle} {pairs:?}");
        }
    }

    #[test]
    fn a_container_of_lxc_has_its_name_as_its_id() {
        for (path, id, label, top) in [
            ("/lxc.payload.web", "web", "lxc/web", "/lxc.payload.web"),
            ("/lxc.payload.web/.lxc", "web", "lxc/web", "/lxc.payload.web"),
            ("/shop/lxc.payload.web", "web", "lxc/web", "/shop/lxc.payload.web"),
            ("/lxc/101/ns", "101", "lxc/101", "/lxc/101"),
            // This is another container, or the same one in a cgroup beside one that is still there.
            ("/lxc.payload.web-1", "web", "runc/web", "/lxc.payload.web-1"),
            // The process beside the container.
            ("/lxc.monitor.web", "web", "runc/web", "/lxc.monitor.web"),
        ] {
            let workload = of_oci(path, id, "/b", None, &[]);
            assert_eq!(String::from_utf8_lossy(&workload.label()), label, "{path}");
            assert_eq!(String::from_utf8_lossy(&workload.path), top, "{path}");
        }
    }

    #[test]
    fn where_the_cgroup_is_stays_known() {
        let workload = of_oci("/user.slice/user-7.slice/user@7.service/x.slice/c", "c", "/b", None, &[]);
        assert_eq!((workload.user, workload.user_manager, workload.engine), (Some(7), true, Engine::Runc));
        let workload = of_oci("/system.slice/web.service/c", "c", "/b", None, &[]);
        assert_eq!(workload.unit.as_ref().map(Piece::bytes), Some(&b"web.service"[..]));
    }
}
