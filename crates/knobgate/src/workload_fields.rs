//! What a selector finds out about a workload.

use std::borrow::Cow;

use knobgate_policy::selector::{self, SelectorField, SelectorFields, Trust, trust};
use knobgate_workload::{Engine, Piece, Role, Workload};

/// A workload as the `apply if` of policies sees it.
///
/// This is the outermost container or unit: a policy for a container applies to all that is in it. What is below a
/// cgroup that somebody may own, such as a user's service manager, counts as that cgroup: its owner could have made up
/// all names below.
///
/// ```
/// use knobgate::WorkloadFields;
/// use knobgate::policy::Source;
/// use knobgate::policy::selector::Selector;
/// use knobgate::workload::Workload;
///
/// let workload = Workload::of_path(b"/system.slice/nginx.service");
/// let selector = Selector::parse(Source::new("selector", "unit == \"nginx.service\""))?;
/// assert_eq!(selector.holds(&WorkloadFields::of(&workload)), Some(true));
/// # Ok::<(), knobgate::policy::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct WorkloadFields<'a> {
    workload: &'a Workload,
    /// What is below the cgroup that somebody may own.
    below: Option<&'a Workload>,
}

/// The namespace of containerd for Kubernetes.
const KUBERNETES: &[u8] = b"k8s.io";

/// What is known about a name.
enum Name<'a> {
    /// There is none.
    None,
    /// There may be one.
    Unknown,
    Known(&'a [u8]),
}

impl<'a> WorkloadFields<'a> {
    /// Those of the outermost container or unit around `workload`, or of that itself.
    pub fn of(workload: &'a Workload) -> Self {
        let outermost = std::iter::successors(Some(workload), |workload| workload.outer.as_deref()).last();
        let outermost = outermost.unwrap_or(workload);
        match outermost.owner.as_deref() {
            Some(owner) => Self { workload: owner, below: Some(outermost) },
            None => Self { workload: outermost, below: None },
        }
    }

    /// The container or unit that they are of. A policy that applies to it goes on the cgroup at its path.
    pub fn workload(&self) -> &'a Workload {
        self.workload
    }

    /// The container in the cgroup whose names count as those of what is above, as long as no runtime has it there. Its runtime may do
    /// that later: it writes what it knows after it has made the cgroup.
    pub fn unconfirmed(&self) -> Option<&'a Workload> {
        self.below.filter(|below| below.container_id.is_some() && !below.user_manager)
    }

    /// What started it, if that is known.
    pub fn engine(&self) -> Option<selector::Engine> {
        engine(self.workload)
    }

    /// Who chooses a field, if it is known what started it.
    pub fn trust(&self, field: &SelectorField) -> Option<Trust> {
        Some(trust(self.engine()?, field))
    }
}

impl SelectorFields for WorkloadFields<'_> {
    fn text(&self, field: &SelectorField) -> Option<Cow<'_, [u8]>> {
        match name(self.workload, field) {
            Name::Known(name) => Some(Cow::Borrowed(name)),
            // Its owner may have made up what is below, or that is a container that somebody else started there.
            Name::None if self.below.is_some_and(|below| !matches!(name(below, field), Name::None)) => None,
            Name::None => Some(Cow::Borrowed(b"")),
            Name::Unknown => None,
        }
    }
}

fn engine(workload: &Workload) -> Option<selector::Engine> {
    Some(match workload.engine {
        Engine::Docker => selector::Engine::Docker,
        Engine::Podman => selector::Engine::Podman,
        Engine::Containerd => selector::Engine::Containerd,
        Engine::Nerdctl => selector::Engine::Nerdctl,
        Engine::CriO => selector::Engine::CriO,
        Engine::Runc => selector::Engine::Runc,
        Engine::Crun => selector::Engine::Crun,
        Engine::Lxc => selector::Engine::Lxc,
        Engine::Incus => selector::Engine::Incus,
        Engine::Lxd => selector::Engine::Lxd,
        Engine::Nspawn => selector::Engine::Nspawn,
        Engine::Libvirt => selector::Engine::Libvirt,
        Engine::Systemd => selector::Engine::Systemd,
        // The path does not show it.
        _ => return None,
    })
}

fn name<'a>(workload: &'a Workload, field: &SelectorField) -> Name<'a> {
    let known = |piece: &'a Option<Piece>| piece.as_ref().map(|piece| Name::Known(piece.bytes()));
    match field {
        SelectorField::Engine => {
            return engine(workload).map_or(Name::Unknown, |engine| Name::Known(engine.name().as_bytes()));
        }
        SelectorField::Cgroup => return Name::Known(&workload.path),
        // The path has it.
        SelectorField::Unit => return known(&workload.unit).unwrap_or(Name::None),
        _ => {}
    }
    // The process that watches a container is not in it.
    if workload.role == Role::Monitor {
        return Name::None;
    }
    let Some(engine) = engine(workload) else { return Name::Unknown };
    let (container, pod, image) = (&workload.container_name, &workload.pod_name, &workload.image);
    let namespace = &workload.namespace;
    let is_runtime = matches!(engine, selector::Engine::Runc | selector::Engine::Crun);
    // Without an engine or Kubernetes above, whoever starts the container calls it by its id.
    let is_plain = is_runtime
        || engine == selector::Engine::Containerd
            && namespace.is_some()
            && pod.is_none()
            && !is_in_pod(workload);
    let found = match field {
        SelectorField::Container => {
            known(container).or_else(|| known(&workload.container_id).filter(|_| is_plain))
        }
        SelectorField::Pod => known(pod),
        // Until the state of a pod is read, this is the namespace of containerd.
        SelectorField::Namespace if pod.is_some() || !is_in_pod(workload) => known(namespace),
        SelectorField::Image => known(image),
        SelectorField::Label(key) => workload.labels.get(key.as_bytes()).map(|value| match value {
            [] => Name::None,
            value => Name::Known(value),
        }),
        _ => None,
    };
    let has_none = match trust(engine, field) {
        Trust::Absent => true,
        Trust::Unknown => false,
        _ => match field {
            // In a pod whose name is known, a container without one is the sandbox.
            SelectorField::Container => pod.is_some(),
            SelectorField::Image => is_runtime || pod.is_some() && container.is_none(),
            SelectorField::Pod | SelectorField::Namespace => {
                is_plain || container.is_some() && !is_in_pod(workload)
            }
            _ => false,
        },
    };
    found.unwrap_or(if has_none { Name::None } else { Name::Unknown })
}

/// Whether Kubernetes started it, as far as its cgroup and its namespace of containerd show.
fn is_in_pod(workload: &Workload) -> bool {
    let of_kubernetes = |namespace: &Piece| namespace.bytes() == KUBERNETES;
    workload.pod_id.is_some() || workload.namespace.as_ref().is_some_and(of_kubernetes)
}

#[cfg(test)]
mod tests {
    use knobgate_workload::{EngineState, Labels};

    use super::*;

    const STATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../workload/tests/fixtures");
    const DOCKER: &str = "f31f384749f9115acf01fcf82f5a966b59dcc0a4cbd7c9740888c0bf32aa2bbb";
    const CRI: &str = "dcec88ba422f000e6d1afc9c9c1f01347a1db160ba40e597340c3b6e2076501b";
    const SANDBOX: &str = "e08f27c78966e257ff7318edddf12f9d4480cb94e7c6e2714341ddd165e937fd";
    const PODMAN: &str = "f9d688036191e04636c64024ce221730446495d6568b72e14d6ebc8aa23e434f";
    const PLAIN: &str = "a116c9ed46d6207734a43317d30fd88f52ac8634c37d904bbf4e41d865f90475";
    const POD: &str = "/kubepods.slice/kubepods-pod2f1a3b4c_5d6e_7f80_91a2_b3c4d5e6f708.slice";

    /// All fields, with `-` for what there is none of and `?` for what is not known.
    fn fields(workload: &Workload) -> String {
        let fields = WorkloadFields::of(workload);
        let text = |field| match fields.text(&field) {
            None => "?".to_owned(),
            Some(text) if text.is_empty() => "-".to_owned(),
            Some(text) => String::from_utf8_lossy(&text).into_owned(),
        };
        let texts = [
            SelectorField::Engine,
            SelectorField::Unit,
            SelectorField::Container,
            SelectorField::Pod,
            SelectorField::Namespace,
            SelectorField::Image,
            SelectorField::Label("maintainer".into()),
        ];
        texts.map(text).join(" ")
    }

    fn of(path: &str, state: &str) -> String {
        let mut workload = Workload::of_path(path.as_bytes());
        EngineState::below(state).complete(&mut workload);
        fields(&workload)
    }

    #[test]
    fn what_is_known_and_what_is_not_are_kept_apart() {
        for (path, expected) in [
            ("/system.slice/nginx.service".to_owned(), "systemd nginx.service - - - - -".to_owned()),
            (
                format!("/docker/{DOCKER}"),
                "docker - shop-web-1 - - nginx:1.27 NGINX Docker Maintainers".to_owned(),
            ),
            (
                format!("{POD}/cri-containerd-{CRI}.scope"),
                "containerd - nginx web-7d4b9 prod docker.io/library/nginx:1.27 ?".to_owned(),
            ),
            (format!("/kubepods/pod2f1a/{SANDBOX}"), "containerd - - web-7d4b9 prod - ?".to_owned()),
            (
                format!("/libpod_parent/libpod-{PODMAN}"),
                "podman - web ? - docker.io/library/nginx:latest ?".to_owned(),
            ),
            (format!("/default/{PLAIN}"), format!("containerd - {PLAIN} - default ? ?")),
            ("/c1".to_owned(), "runc - web - - - -".to_owned()),
            ("/lxc.payload.a".to_owned(), "lxc - a - - - -".to_owned()),
            ("/plain".to_owned(), "? - ? ? ? ? ?".to_owned()),
        ] {
            assert_eq!(of(&path, STATE), expected, "{path}");
        }
        for (path, expected) in [
            (format!("/docker/{DOCKER}"), "docker - ? ? ? ? ?"),
            (format!("/kubepods/pod2f1a/{CRI}"), "? - ? ? ? ? ?"),
            (format!("/k8s.io/{CRI}"), "containerd - ? ? ? ? ?"),
            (format!("/machine.slice/libpod-conmon-{PODMAN}.scope"), "podman - - - - - -"),
        ] {
            assert_eq!(of(&path, "/missing"), expected, "{path}, without the engine's state");
        }
    }

    #[test]
    fn what_somebody_else_named_counts_as_the_cgroup_that_they_own() {
        let user = "/user.slice/user-1000.slice/user@1000.service";
        let nested = Workload::of_path(format!("{user}/user.slice/libpod-{PODMAN}.scope").as_bytes());
        assert_eq!(WorkloadFields::of(&nested).workload().path, user.as_bytes());
        assert_eq!(WorkloadFields::of(&nested).unconfirmed(), None, "its runtime is the user's, too");
        // It may be a container, so it is not known to be none.
        assert_eq!(fields(&nested), "systemd user@1000.service ? ? - ? ?");
        let unit = Workload::of_path(format!("{user}/app.slice/nginx.service").as_bytes());
        assert_eq!(fields(&unit), "systemd user@1000.service - - - - -");
        let below = Workload::of_path(format!("/somebody/{DOCKER}").as_bytes());
        assert_eq!(WorkloadFields::of(&below).workload().path, b"/somebody");
        assert_eq!(WorkloadFields::of(&below).unconfirmed(), Some(&below));
        let inside = Workload::of_path(format!("/docker/{DOCKER}/system.slice/nginx.service").as_bytes());
        assert_eq!(WorkloadFields::of(&inside).workload().path, format!("/docker/{DOCKER}").as_bytes());
    }

    #[test]
    fn labels_are_asked_by_their_keys() {
        let mut workload = Workload::of_path(format!("/docker/{DOCKER}").as_bytes());
        workload.labels = Labels::new([("maintainer", "me")], true);
        assert_eq!(fields(&workload), "docker - ? ? ? ? me");
        let trust = WorkloadFields::of(&workload).trust(&SelectorField::Label("maintainer".into()));
        assert_eq!(trust, Some(Trust::Chosen("whoever builds the image or starts it")));
    }
}
