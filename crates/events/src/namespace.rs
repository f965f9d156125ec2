//! Which namespace a knob belongs to.

use std::fmt;
use std::sync::LazyLock;

use knobgate_catalogue::Scope;
use knobgate_policy::{KnobName, KnobPattern};

use crate::event::Namespaces;

/// A kind of namespaces that have knobs of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Namespace {
    /// Of the network.
    Net,
    /// Of the host name.
    Uts,
    /// Of System V IPC and POSIX message queues.
    Ipc,
    /// Of users.
    User,
    /// Of processes.
    Pid,
}

/// Where knobs that the catalogue lacks are registered: `net/sysctl_net.c`, `kernel/utsname_sysctl.c`, `ipc/ipc_sysctl.c`, `ipc/mq_sysctl.c`,
/// `kernel/ucount.c`, `kernel/pid_namespace.c`, `kernel/pid_sysctl.h`.
const KNOBS: [(Namespace, &str); 5] = [
    (Namespace::Net, "net.**"),
    (Namespace::Uts, "kernel.{hostname,domainname}"),
    (Namespace::Ipc, "{fs.mqueue.*,kernel.{auto_msgmni,msg*,sem,sem_next_id,shm*}}"),
    (Namespace::User, "user.**"),
    (Namespace::Pid, "{kernel.{ns_last_pid,pid_max},vm.memfd_noexec}"),
];

static PATTERNS: LazyLock<Vec<(Namespace, KnobPattern)>> = LazyLock::new(|| {
    let parse = |text| KnobPattern::parse(text).expect("a constant");
    KNOBS.iter().map(|&(namespace, text)| (namespace, parse(text))).collect()
});

impl Namespace {
    /// The kind of namespaces that have their own of this knob; `None` if there is one for the whole machine, as far as is known. The
    /// [catalogue](knobgate_catalogue) knows most; of others, the directory tells. Before Linux 6.14, there was one `kernel.pid_max` for the whole machine.
    ///
    /// ```
    /// use knobgate_events::Namespace;
    /// use knobgate_policy::KnobName;
    ///
    /// assert_eq!(Namespace::of(&KnobName::parse("net.core.somaxconn")?), Some(Namespace::Net));
    /// assert_eq!(Namespace::of(&KnobName::parse("vm.swappiness")?), None);
    /// # Ok::<(), knobgate_policy::NotationError>(())
    /// ```
    pub fn of(knob: &KnobName) -> Option<Self> {
        if let Some(knob) = knobgate_catalogue::find(knob.as_bytes()) {
            // What nobody can write, such as `kernel.ostype`, is the same in all UTS namespaces.
            let has_own = |namespace: &Self| *namespace != Self::Uts || knob.newest().mode().is_writable();
            return Self::of_scope(knob.newest().scope()).filter(has_own);
        }
        let found = PATTERNS.iter().find(|(_, pattern)| pattern.matches(knob.as_bytes()));
        found.map(|(namespace, _)| *namespace)
    }

    /// The namespaces with this scope; `None` for the whole machine.
    fn of_scope(scope: Scope) -> Option<Self> {
        match scope {
            Scope::Network => Some(Self::Net),
            Scope::Uts => Some(Self::Uts),
            Scope::Ipc => Some(Self::Ipc),
            Scope::User => Some(Self::User),
            Scope::Pid => Some(Self::Pid),
            _ => None,
        }
    }
}

impl Namespaces {
    /// The one of this kind.
    pub fn of(&self, namespace: Namespace) -> Option<u32> {
        match namespace {
            Namespace::Net => self.net,
            Namespace::Uts => self.uts,
            Namespace::Ipc => self.ipc,
            Namespace::User => self.user,
            Namespace::Pid => self.pid,
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Net => "network namespace",
            Self::Uts => "UTS namespace",
            Self::Ipc => "IPC namespace",
            Self::User => "user namespace",
            Self::Pid => "pid namespace",
        })
    }
}
