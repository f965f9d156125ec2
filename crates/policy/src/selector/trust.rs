//! Who chooses what a selector looks at.

use super::{Engine, SelectorField};

/// Whether a selector can rely on a field, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trust {
    /// Only root, a daemon or the API server chooses it.
    Trusted(&'static str),
    /// Whoever starts the container can choose it, and so which policies apply.
    Chosen(&'static str),
    /// With this engine, no container has such a field, or it cannot be found out.
    Absent,
}

impl Trust {
    /// Of all fields of what is below a user's service manager, or below a cgroup that somebody owns.
    pub const DELEGATED: Self = Self::Chosen("whoever owns the cgroup above it");

    /// The reason, if there is such a field.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Trusted(reason) | Self::Chosen(reason) => Some(reason),
            Self::Absent => None,
        }
    }
}

/// Who chooses this field of what `engine` started.
///
/// This is about what root and its daemons started. If somebody else owns a cgroup above it, see [`Trust::DELEGATED`].
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
    use Trust::{Absent, Chosen, Trusted};
    const BUNDLE: Trust = Chosen("whoever makes the bundle");
    const STARTS: Trust = Chosen("whoever starts it");
    const POD: Trust = Chosen("the author of the pod");
    match (field, engine) {
        (SelectorField::Engine, Runc | Crun) => BUNDLE,
        (SelectorField::Engine, _) => Trusted("its cgroup and the engine's state"),
        (SelectorField::Cgroup | SelectorField::Unit, Runc | Crun) => BUNDLE,
        (SelectorField::Cgroup, Docker | Podman | Nerdctl) => Chosen("whoever starts it: `--cgroup-parent`"),
        (SelectorField::Cgroup, Containerd | CriO) => Trusted("the kubelet"),
        (SelectorField::Cgroup, Systemd | Nspawn | Libvirt) => Trusted("root and systemd"),
        (SelectorField::Cgroup, Lxc | Incus | Lxd) => Trusted("root and the engine"),
        (SelectorField::Unit, Systemd | Nspawn | Libvirt) => Trusted("root and systemd"),
        (SelectorField::Unit, _) => Trusted("the engine, from the container's id"),
        (SelectorField::Container, Docker | Podman | Nerdctl | Runc | Crun) => STARTS,
        (SelectorField::Container, Containerd | CriO) => POD,
        (SelectorField::Container, Lxc | Incus | Lxd | Nspawn | Libvirt) => Chosen("whoever creates it"),
        (SelectorField::Pod, Containerd | CriO) => Chosen("whoever may create pods in its namespace"),
        (SelectorField::Pod | SelectorField::Namespace, Runc | Crun) => BUNDLE,
        (SelectorField::Pod | SelectorField::Namespace, Docker) => Chosen("whoever starts it: `--label`"),
        (SelectorField::Namespace, Containerd | CriO) => {
            Trusted("the API server, which decides who may create pods there")
        }
        (SelectorField::Namespace, Nerdctl) => Chosen("whoever starts it: `--namespace`"),
        (SelectorField::Image, Docker | Podman | Nerdctl) => STARTS,
        (SelectorField::Image, Containerd | CriO) => {
            Chosen("the author of the pod, unless admission restricts it")
        }
        (SelectorField::Image, Runc | Crun) => BUNDLE,
        (SelectorField::Label(_), Docker) => Chosen("the image, and whoever starts it"),
        (SelectorField::Label(_), CriO) => POD,
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
