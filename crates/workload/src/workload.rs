//! What is known about the workload in a cgroup.

use std::fmt;

use crate::labels::Labels;

/// What runs in a cgroup, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Workload {
    /// The path of the cgroup that has this name: the one that was asked about, or one above it.
    pub path: Vec<u8>,
    /// What started it.
    pub engine: Engine,
    /// What it is for its engine.
    pub role: Role,
    /// The container's id: 64 hexadecimal digits for most engines.
    pub container_id: Option<Piece>,
    /// The container's or machine's name.
    pub container_name: Option<Piece>,
    /// The pod's id: for Kubernetes, the UID of the pod (of static pods, a hash of their definition).
    pub pod_id: Option<Piece>,
    /// The pod's name.
    pub pod_name: Option<Piece>,
    /// The namespace of Kubernetes; without a pod, that of containerd.
    pub namespace: Option<Piece>,
    /// The image as it was asked for.
    pub image: Option<Piece>,
    /// The project of Compose, Incus or LXD.
    pub project: Option<Piece>,
    /// The service of Compose.
    pub service: Option<Piece>,
    /// The labels of the container and its pod.
    pub labels: Labels,
    /// The innermost unit of systemd that contains it, if that is not a slice. systemd's escapes are kept.
    pub unit: Option<Piece>,
    /// The innermost slice of systemd that contains it.
    pub slice: Option<Piece>,
    /// The user of the slice or service manager that contains it.
    pub user: Option<u32>,
    /// Whether it is below a user's own service manager, so that the user chose all names below that.
    pub user_manager: bool,
    /// The container around it. Whoever controls that can choose all names below it.
    pub outer: Option<Box<Workload>>,
    /// The service, the user's service manager or the cgroup without a pattern above it. Whoever owns that could have chosen
    /// the names here, and nothing confirms them. `None` if only root and the engines could, or if a runtime has this container
    /// in this cgroup.
    pub owner: Option<Box<Workload>>,
}

/// What starts workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Engine {
    /// The path has no known pattern.
    #[default]
    None,
    /// An engine for containers, but the path does not show which.
    Container,
    /// An engine for Kubernetes, but the path does not show which.
    Cri,
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// containerd.
    Containerd,
    /// nerdctl, on containerd.
    Nerdctl,
    /// CRI-O.
    CriO,
    /// runc, without an engine above it.
    Runc,
    /// crun, without an engine above it.
    Crun,
    /// LXC, or Incus or LXD, whose paths look the same.
    Lxc,
    /// Incus.
    Incus,
    /// LXD.
    Lxd,
    /// systemd-nspawn, or another program that registers machines with systemd-machined.
    Nspawn,
    /// libvirt.
    Libvirt,
    /// systemd.
    Systemd,
}

impl Engine {
    /// Its name in lower case, as at the start of a [label](Workload::label).
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "cgroup",
            Self::Container => "container",
            Self::Cri => "k8s",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::Nerdctl => "nerdctl",
            Self::CriO => "crio",
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Lxc => "lxc",
            Self::Incus => "incus",
            Self::Lxd => "lxd",
            Self::Nspawn => "nspawn",
            Self::Libvirt => "libvirt",
            Self::Systemd => "unit",
        }
    }
}

/// What a cgroup is for its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Role {
    /// The workload itself.
    #[default]
    Payload,
    /// The engine's process that watches the container: conmon or LXC's monitor. It is not in the container.
    Monitor,
}

/// One fact about a workload.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Piece {
    bytes: Vec<u8>,
    origin: Origin,
}

impl Piece {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>, origin: Origin) -> Self {
        Self { bytes: bytes.into(), origin }
    }

    /// What it says. The bytes are raw: escape them before you print them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where it comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" ({:?})", self.bytes.escape_ascii(), self.origin)
    }
}

/// Where a [`Piece`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The path of the cgroup, by a pattern that one engine uses.
    Path,
    /// The path, but other programs make such paths, too.
    Guess,
    /// The engine's state.
    State,
}
