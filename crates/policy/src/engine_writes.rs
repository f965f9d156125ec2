//! What container engines write themselves, inside each container that they start.

use crate::selector::Engine;
use crate::{Access, KnobName};

/// A knob that an engine sets in each container with a network of its own, without being asked.
///
/// The OCI runtime writes it from inside the cgroup of the container, before the first instruction of the container. So the policies
/// of the container judge it, and if one of them denies it, the container does not start.
///
/// ```
/// use knobgate_policy::engine_writes::{self, EngineWrite};
/// use knobgate_policy::selector::Engine;
///
/// let of_docker = |write: &&EngineWrite| write.engine() == Engine::Docker;
/// let knobs: Vec<_> = engine_writes::all().iter().filter(of_docker).map(EngineWrite::knob).collect();
/// assert_eq!(knobs, ["net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineWrite {
    engine: Engine,
    /// What people call the engine.
    name: &'static str,
    knob: &'static str,
    value: &'static str,
    source: &'static str,
}

/// The preset that allows what engines write, and nothing else.
pub const PRESET: &str = "docker-runtime@1";

const OF_DOCKER: &str = "dockerd since 20.10, WithCommonOptions in daemon/oci_linux.go";

/// containerd's CRI plugin and CRI-O are not here. They set the same knobs, but in the sandbox of a pod alone: policies apply to its
/// containers.
static WRITES: &[EngineWrite] = &[
    EngineWrite {
        engine: Engine::Docker,
        name: "Docker",
        knob: "net.ipv4.ip_unprivileged_port_start",
        value: "0",
        source: OF_DOCKER,
    },
    EngineWrite {
        engine: Engine::Docker,
        name: "Docker",
        knob: "net.ipv4.ping_group_range",
        value: "0 2147483647",
        source: OF_DOCKER,
    },
    EngineWrite {
        engine: Engine::Podman,
        name: "Podman",
        knob: "net.ipv4.ping_group_range",
        value: "0 0",
        source: "default_sysctls in the containers.conf of distributions",
    },
];

/// All of them, by engine.
pub fn all() -> &'static [EngineWrite] {
    WRITES
}

impl EngineWrite {
    /// The engine.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// What people call the engine, such as `Docker`.
    pub fn engine_name(&self) -> &'static str {
        self.name
    }

    /// The knob, as `net.ipv4.ping_group_range`.
    pub fn knob(&self) -> &'static str {
        self.knob
    }

    /// The value that it writes.
    pub fn value(&self) -> &'static str {
        self.value
    }

    /// Where in the engine that comes from.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// The write, by root.
    ///
    /// # Panics
    ///
    /// Never: all knobs have valid names.
    pub fn access(&self) -> Access {
        let knob = KnobName::parse(self.knob.as_bytes()).expect("a name of a knob");
        Access::write(knob, self.value)
    }
}
