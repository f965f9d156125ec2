//! Who chooses what a selector looks at.

use super::{Engine, SelectorField};

/// Whether a selector can rely on a field, and who chooses that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trust {
    /// Only root, a daemon or the API server chooses it: this one.
    Trusted(&'static str),
    /// Whoever starts the container can choose it, and so which policies apply: these.
    Chosen(&'static str),
    /// With this engine, nothing has such a field.
    Absent,
    /// With this engine, the field is never known: what asks for it cannot be evaluated.
    Unknown,
}

impl Trust {
    /// Who chooses it, if it is known.
    pub fn chosen_by(self) -> Option<&'static str> {
        match self {
            Self::Trusted(who) | Self::Chosen(who) => Some(who),
            Self::Absent | Self::Unknown => None,
        }
    }
}

/// Who chooses this field of what `engine` started.
///
/// This is about what root and its daemons started. Who owns a cgroup above it, such as a user with a service manager, chooses
/// all of its fields.
///
/// ```
/// use knobgate_policy::selector::{Engine, SelectorField, Trust, trust};
///
/// assert!(matches!(trust(Engine::Containerd, &SelectorField::Namespace), Trust::Trusted(_)));
/// assert!(matches!(trust(Engine::Containerd, &SelectorField::Image), Trust::Chosen(_)));
/// ```
pub fn trust(engine: Engine, field: &SelectorField) -> Trust {
    use Engine::{
        Containerd, CriO, Crun, Docker, Incus, Libvirt, Lxc, Lxd, Nerdctl, Nspawn, Podman, Runc, Systemd,
    };
    use Trust::{Absent, Chosen, Trusted, Unknown};
    const BUNDLE: Trust = Chosen("whoever makes the bundle");
    const STARTS: Trust = Chosen("whoever starts it");
    const POD: Trust = Chosen("the author of the pod");
    match (field, engine) {
        (SelectorField::Engine, Runc | Crun) => BUNDLE,
        (SelectorField::Engine, _) => Trusted("the engine itself"),
        (SelectorField::Cgroup | SelectorField::Unit, Runc | Crun) => BUNDLE,
        (SelectorField::Cgroup | SelectorField::Unit, Docker | Podman | Nerdctl) => {
            Chosen("whoever starts it, with `--cgroup-parent`")
        }
        (SelectorField::Cgroup | SelectorField::Unit, Containerd | CriO) => Trusted("the kubelet"),
        (SelectorField::Cgroup | SelectorField::Unit, Systemd | Nspawn | Libvirt) => {
            Trusted("root and systemd")
        }
        (SelectorField::Cgroup | SelectorField::Unit, Lxc | Incus | Lxd) => Trusted("root and the engine"),
        (SelectorField::Container, Docker | Podman | Nerdctl | Runc | Crun) => STARTS,
        (SelectorField::Container, Containerd | CriO) => POD,
        (SelectorField::Container, Lxc | Incus | Lxd | Nspawn | Libvirt) => Chosen("whoever creates it"),
        (SelectorField::Pod, Containerd | CriO) => Chosen("whoever may create pods in its namespace"),
        (SelectorField::Pod | SelectorField::Namespace, Runc | Crun) => BUNDLE,
        (SelectorField::Pod | SelectorField::Namespace, Docker) => {
            Chosen("whoever starts it, with `--label`")
        }
        (SelectorField::Namespace, Containerd | CriO) => {
            Trusted("the API server, which decides who may create pods there")
        }
        (SelectorField::Namespace, Nerdctl) => Chosen("whoever starts it, with `--namespace`"),
        (SelectorField::Image, Docker | Podman) => STARTS,
        (SelectorField::Image, Containerd | CriO) => {
            Chosen("the author of the pod, unless admission restricts it")
        }
        (SelectorField::Image, Runc | Crun) => BUNDLE,
        (SelectorField::Label(_), Docker) => Chosen("whoever builds the image or starts it"),
        (SelectorField::Label(_), Containerd | CriO) => POD,
        (SelectorField::Pod, Podman) | (SelectorField::Image, Nerdctl | Incus | Lxd) => Unknown,
        (SelectorField::Label(_), Podman | Nerdctl | Incus | Lxd) => Unknown,
        (
            SelectorField::Container
            | SelectorField::Pod
            | SelectorField::Namespace
            | SelectorField::Image
            | SelectorField::Label(_),
            _,
        ) => Absent,
    }
}

/// Whether no engine vouches for this field.
pub(crate) fn is_always_chosen(field: &SelectorField) -> bool {
    !Engine::ALL.iter().any(|&engine| matches!(trust(engine, field), Trust::Trusted(_)))
}
