//! One access, as a program reports it.

use knobgate_policy::limits::VALUE_MAX;
use knobgate_policy::{AccessKind, Errno, Mode};

/// One access, as a program reports it. What the kernel could not tell is `None`, never a guess.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When, in nanoseconds of `CLOCK_BOOTTIME`.
    pub boot_time: u64,
    /// The id of the cgroup of the task: the inode number of its directory.
    pub cgroup_id: u64,
    /// The process id of the task, in the initial pid namespace.
    pub pid: Option<u32>,
    /// The thread id of the task, in the initial pid namespace.
    pub tid: Option<u32>,
    /// The real user id of the task, in the initial user namespace.
    pub uid: Option<u32>,
    /// The real group id of the task, in the initial user namespace.
    pub gid: Option<u32>,
    /// The name of the task.
    pub comm: Option<Vec<u8>>,
    /// The namespaces of the task.
    pub namespaces: Option<Namespaces>,
    /// The path of the knob below `/proc/sys`.
    pub knob: EventText,
    /// Whether it was read or written.
    pub kind: AccessKind,
    /// The low 32 bits of the file position.
    pub position: u32,
    /// Whether the values of the knob are [secret](crate::secrets), so that they were not recorded.
    pub secret: bool,
    /// The current value, before the access.
    pub old: Option<EventText>,
    /// The value that the task wrote, as the program found it: one that ran earlier may have replaced it.
    pub new: Option<EventText>,
    /// The value that replaced it.
    pub stored: Option<EventText>,
    /// What the policy decided.
    pub verdict: EventVerdict,
    /// Whether the verdict was enforced.
    pub mode: Mode,
    /// The errno with which the programs before this one had denied the access: those of the cgroups below, and those attached
    /// before it. `None` if they had not, or if the kernel cannot tell.
    pub denied_before: Option<u16>,
    /// The name of the policy.
    pub policy: String,
    /// Whether the policy declares the width of knobs, of this one or of others.
    pub declares_widths: bool,
    /// The rule that decided.
    pub rule: EventRule,
    /// Whether the program only observes: it is not the program of a policy that somebody attached.
    pub observer: bool,
    /// Whether an observer does not know what became of the access: other programs run after it, which only its reader knows, or
    /// the kernel cannot tell what those before it decided.
    pub outcome_unknown: bool,
    /// The memory of the program that reports it: the id of a map, which identifies an attachment until the next boot.
    pub origin: u64,
    /// How many events the rule has had for this cgroup.
    pub totals: Totals,
}

impl Event {
    /// What became of the access.
    pub fn outcome(&self) -> EventOutcome {
        match (self.mode, self.verdict, self.denied_before) {
            (Mode::Enforce, EventVerdict::Deny(errno), before) => {
                EventOutcome::Denied(denied_with(errno, before))
            }
            (_, _, Some(errno)) => EventOutcome::Denied(errno),
            _ if self.outcome_unknown => EventOutcome::Unknown,
            (_, EventVerdict::Allow, None) => EventOutcome::Allowed,
            (Mode::Enforce, EventVerdict::Rewrite, None) => EventOutcome::Rewritten,
            (Mode::Audit, EventVerdict::Deny(errno), None) => EventOutcome::WouldDeny(errno.number() as u16),
            (Mode::Audit, EventVerdict::Rewrite, None) => EventOutcome::WouldRewrite,
        }
    }
}

/// The errno of an access that a policy denies with `errno`, and that a program before it may have denied with `before`: that
/// of the program before stays, unless the policy chose one that is not EPERM.
///
/// The kernel: a program that returns 0 sets EPERM only where no error is set (`bpf_prog_run_array_cg`,
/// `kernel/bpf/cgroup.c`); any other errno is set with `bpf_set_retval`.
pub fn denied_with(errno: Errno, before: Option<u16>) -> u16 {
    before.filter(|_| errno == Errno::EPERM).unwrap_or(errno.number() as u16)
}

/// A text as it was recorded: at most [`TEXT_MAX`](crate::record::TEXT_MAX) bytes of it.
#[derive(Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EventText {
    /// Its first bytes.
    pub bytes: Vec<u8>,
    /// How many bytes the whole text has, if more than were recorded: the kernel's helpers see at most 4,096, and that number
    /// stands for any longer text as well.
    pub cut_from: Option<u32>,
}

impl EventText {
    /// What rules see of this value: all of it, or that it is too long for them. `None` if it was cut so short that neither is
    /// known.
    pub fn seen_by_rules(&self) -> Option<Vec<u8>> {
        match self.cut_from {
            None => Some(self.bytes.clone()),
            Some(whole) if whole as usize > VALUE_MAX => Some(too_long()),
            Some(_) => None,
        }
    }
}

/// A value that is too long for every rule.
pub(crate) fn too_long() -> Vec<u8> {
    vec![b'?'; VALUE_MAX + 1]
}

/// What a policy decided about an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventVerdict {
    /// It passes.
    Allow,
    /// It fails with this errno.
    Deny(Errno),
    /// It passes with another value.
    Rewrite,
}

/// What became of an access, as far as the program could know: programs that run after it may still deny it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventOutcome {
    /// It passed.
    Allowed,
    /// It failed with this errno.
    Denied(u16),
    /// It passed with another value.
    Rewritten,
    /// In audit mode: it passed, and would have failed with this errno.
    WouldDeny(u16),
    /// In audit mode: it passed as it was, and would have passed with another value.
    WouldRewrite,
    /// An observer saw it, and other programs decided.
    Unknown,
}

/// The rule that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventRule {
    /// Which one.
    pub rule: RuleRef,
    /// Its line in the policy, counted from 1; `None` for a default that the policy does not state.
    pub line: Option<u32>,
    /// Its text.
    pub text: EventText,
    /// Whether the rule could not be evaluated for the access, which is denied for that.
    pub eval_error: bool,
}

/// A rule or a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleRef {
    /// The rule with this index, from 0.
    Rule(u32),
    /// The default for this kind of access.
    Default(AccessKind),
}

/// The namespaces of a task, by inode number, as `ls -L -i /proc/PID/ns` shows them. An exiting task has left some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Namespaces {
    /// Of its network.
    pub net: Option<u32>,
    /// Of its host name.
    pub uts: Option<u32>,
    /// Of System V IPC and POSIX message queues.
    pub ipc: Option<u32>,
    /// Of its users.
    pub user: Option<u32>,
    /// Of its processes.
    pub pid: Option<u32>,
    /// Of its mounts.
    pub mnt: Option<u32>,
}

/// How many events a rule has had for a cgroup since its memory was made, up to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Totals {
    /// How many were sent, with that event.
    pub sent: u64,
    /// How many were suppressed.
    pub suppressed: u64,
}

impl std::fmt::Debug for EventText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.bytes.escape_ascii())?;
        self.cut_from.map_or(Ok(()), |bytes| write!(f, " of {bytes} bytes"))
    }
}
