//! The engines that start containers and units.

use std::fmt;

/// What started a container or unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// `docker`
    Docker,
    /// `podman`
    Podman,
    /// `containerd`
    Containerd,
    /// `nerdctl`, on containerd.
    Nerdctl,
    /// `crio`: CRI-O.
    CriO,
    /// `runc`, without an engine above it.
    Runc,
    /// `crun`, without an engine above it.
    Crun,
    /// `lxc`
    Lxc,
    /// `incus`
    Incus,
    /// `lxd`
    Lxd,
    /// `nspawn`: systemd-nspawn, or another program that registers machines with systemd-machined.
    Nspawn,
    /// `libvirt`
    Libvirt,
    /// `systemd`: a unit that is not a container.
    Systemd,
}

impl Engine {
    /// All of them.
    pub const ALL: &[Engine] = &[
        Self::Docker,
        Self::Podman,
        Self::Containerd,
        Self::Nerdctl,
        Self::CriO,
        Self::Runc,
        Self::Crun,
        Self::Lxc,
        Self::Incus,
        Self::Lxd,
        Self::Nspawn,
        Self::Libvirt,
        Self::Systemd,
    ];

    /// Its word in the language.
    pub const fn name(self) -> &'static str {
        match self {
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
            Self::Systemd => "systemd",
        }
    }

    /// The engine with this word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|engine| engine.name() == name)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
