//! What one component of a path is, by itself.

use crate::unit::{instance_of, unescape, unit_of};
use crate::workload::{Engine, Role};

/// One component of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Component<'a> {
    /// A container whose name in the path is an id.
    Container { engine: Engine, role: Role, id: &'a [u8] },
    /// A container or machine whose name in the path is its name.
    Machine { engine: Engine, role: Role, name: Vec<u8> },
    /// A pod of Kubernetes, by its UID.
    Pod(Vec<u8>),
    /// A pod of Podman.
    PodmanPod(&'a [u8]),
    /// 64 hexadecimal digits. What is above tells what they are.
    Id(&'a [u8]),
    /// A slice.
    Slice(&'a [u8]),
    /// Another unit.
    Unit(&'a [u8]),
    /// Anything else.
    Other,
}

/// What systemd drivers put before the id: `PREFIX-ID.scope`.
///
/// runc's `getUnitName()` (libcontainer/cgroups/systemd/common.go) makes this name from `cgroupsPath`, which is
/// `SLICE:PREFIX:ID`. The prefixes are those of dockerd (`newCgroupParent()`, cmd/dockerd/daemon_systemd_unix.go),
/// containerd (`getCgroupsPath()`, its CRI plugin), nerdctl (`generateCgroupPath()`, pkg/cmd/container/run_cgroup_linux.go),
/// CRI-O (`CrioPrefix`, internal/config/cgmgr) and libpod (`createUnitName()`, `cgroupfsPath`; `-payload` with
/// `--cgroups=split`). The monitors are conmon's.
///
/// Longer prefixes come first. With the flag, the engine's cgroupfs driver makes `PREFIX-ID`, too.
const PREFIXES: [(&[u8], Engine, Role, bool); 8] = [
    (b"libpod-conmon", Engine::Podman, Role::Monitor, true),
    (b"libpod-payload", Engine::Podman, Role::Payload, true),
    (b"libpod", Engine::Podman, Role::Payload, true),
    (b"crio-conmon", Engine::CriO, Role::Monitor, true),
    (b"crio", Engine::CriO, Role::Payload, true),
    (b"cri-containerd", Engine::Containerd, Role::Payload, false),
    (b"nerdctl", Engine::Nerdctl, Role::Payload, false),
    (b"docker", Engine::Docker, Role::Payload, false),
];

/// The same for runtimes without an engine, whose containers have any id: runc's `CreateCgroupConfig()`
/// (libcontainer/specconv/spec_linux.go), and crun's `get_systemd_scope_and_slice()` (src/libcrun/cgroup-systemd.c).
const RUNTIMES: [(&[u8], Engine); 2] = [(b"runc-", Engine::Runc), (b"crun-", Engine::Crun)];

/// LXC's `DEFAULT_PAYLOAD_CGROUP_PREFIX` and `DEFAULT_MONITOR_CGROUP_PREFIX` (src/lxc/cgroups/cgroup.h). If the name is
/// taken, LXC adds `-1` and so on, which cannot be told from a part of the name.
const LXC: [(&[u8], Role); 2] = [(b"lxc.payload.", Role::Payload), (b"lxc.monitor.", Role::Monitor)];

impl<'a> Component<'a> {
    /// What the component `text` is.
    pub(crate) fn of(text: &'a [u8]) -> Self {
        if is_id(text) {
            return Self::Id(text);
        }
        if let Some(container) = prefixed(text).or_else(|| runtime(text)).or_else(|| lxc(text)) {
            return container;
        }
        if let Some(uid) = text.strip_prefix(b"pod").filter(|uid| is_pod_uid(uid)) {
            return Self::Pod(uid.to_vec());
        }
        let Some(unit) = unit_of(text) else { return Self::Other };
        if let Some(name) = unit.strip_suffix(b".slice") {
            return pod_slice(name).unwrap_or(Self::Slice(unit));
        }
        machine(unit).unwrap_or(Self::Unit(unit))
    }
}

/// Whether this is an id of Docker, containerd's CRI plugin, CRI-O, Podman or nerdctl: 256 bits in hexadecimal digits.
fn is_id(text: &[u8]) -> bool {
    text.len() == 64 && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether this can be the name of a container of runc, crun or LXC: crun's `validate_id()` (src/libcrun/status.c), and
/// runc's `validateID()` (libcontainer/factory_linux.go), allow these characters.
pub(crate) fn is_name(text: &[u8]) -> bool {
    let is_valid = |&byte: &u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
    !text.is_empty() && text.iter().all(is_valid) && text.iter().any(|&byte| byte != b'.')
}

fn prefixed(text: &[u8]) -> Option<Component<'_>> {
    let (name, scope) = match text.strip_suffix(b".scope") {
        Some(name) => (name, true),
        None => (text, false),
    };
    PREFIXES.iter().find_map(|&(prefix, engine, role, by_cgroupfs)| {
        let id = name.strip_prefix(prefix)?.strip_prefix(b"-")?;
        (is_id(id) && (scope || by_cgroupfs)).then_some(Component::Container { engine, role, id })
    })
}

fn runtime(text: &[u8]) -> Option<Component<'_>> {
    let name = text.strip_suffix(b".scope")?;
    RUNTIMES.iter().find_map(|&(prefix, engine)| {
        let id = name.strip_prefix(prefix).filter(|id| is_name(id))?;
        Some(Component::Container { engine, role: Role::Payload, id })
    })
}

fn lxc(text: &[u8]) -> Option<Component<'_>> {
    LXC.iter().find_map(|&(prefix, role)| {
        let name = text.strip_prefix(prefix).filter(|name| is_name(name))?;
        Some(Component::Machine { engine: Engine::Lxc, role, name: name.to_vec() })
    })
}

/// A machine of systemd-machined: `machine-NAME.scope`, with systemd's escapes, or the unit of systemd-nspawn
/// (systemd-nspawn@.service). libvirt's names begin with its driver's (`virSystemdMakeScopeName()`, src/util/virsystemd.c).
fn machine(unit: &[u8]) -> Option<Component<'_>> {
    let registered = unit.strip_prefix(b"machine-").and_then(|name| name.strip_suffix(b".scope"));
    let escaped = registered.or_else(|| instance_of(unit, b"systemd-nspawn"))?;
    let name = unescape(escaped);
    let by_libvirt = registered.is_some() && (name.starts_with(b"qemu-") || name.starts_with(b"lxc-"));
    let engine = if by_libvirt { Engine::Libvirt } else { Engine::Nspawn };
    (!name.is_empty()).then_some(Component::Machine { engine, role: Role::Payload, name })
}

/// The slice of a pod, without its suffix.
///
/// For Kubernetes, the path `/kubepods/burstable/podUID`, below another one if the kubelet has a `cgroupRoot`, becomes
/// `kubepods-burstable-podUID`, with `_` for `-` (`ToSystemd()`, pkg/kubelet/cm/cgroup_manager_linux.go). Pods of the class
/// "guaranteed" have no class in the path (pkg/kubelet/cm/pod_container_manager_linux.go). libpod puts `libpod_pod_` before
/// the id (`platformMakePod()`, libpod/runtime_pod_linux.go).
fn pod_slice(name: &[u8]) -> Option<Component<'_>> {
    let start = name.iter().rposition(|&byte| byte == b'-').map_or(0, |dash| dash + 1);
    let (above, last) = name.split_at(start);
    if let Some(id) = last.strip_prefix(b"libpod_pod_").filter(|id| is_id(id)) {
        return Some(Component::PodmanPod(id));
    }
    let above = above.strip_suffix(b"-")?;
    let above = above.strip_suffix(b"-burstable").or(above.strip_suffix(b"-besteffort")).unwrap_or(above);
    let below_kubepods = above == b"kubepods" || above.ends_with(b"-kubepods");
    let uid: Vec<u8> =
        last.strip_prefix(b"pod")?.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect();
    (below_kubepods && is_pod_uid(&uid)).then_some(Component::Pod(uid))
}

/// Whether this can be the UID of a pod: the API server makes UUIDs; static pods have an MD5 sum
/// (`applyDefaults()`, pkg/kubelet/config/common.go).
fn is_pod_uid(uid: &[u8]) -> bool {
    (1..=64).contains(&uid.len()) && uid.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}
