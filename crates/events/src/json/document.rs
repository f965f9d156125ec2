//! The shape of a line. The doc comments are the descriptions in the published schema.

use std::borrow::Cow;
use std::fmt;

use knobgate_policy::{AccessKind, Errno, Mode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::text::{NameDocument, TextDocument};
use super::time::TimeDocument;
use crate::event::Namespaces;
use crate::stream::StreamWorkload;

/// One line of a stream of knobgate's events. Members are absent for what is not known. Later versions add members, and may add
/// types of lines.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "knobgate event")]
pub(super) enum LineDocument<'a> {
    /// One access.
    Event(Box<EventDocument<'a>>),
    /// Events that a rule has not sent because of its limit.
    Suppressed(Box<SuppressedDocument<'a>>),
    /// Events that found no room in the buffer of the reader.
    Lost(LostDocument<'a>),
}

/// What all lines have first.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct HeadDocument<'a> {
    #[serde(borrow)]
    pub(super) schema: Cow<'a, str>,
    pub(super) version: u32,
    #[serde(borrow)]
    pub(super) r#type: Cow<'a, str>,
}

/// One access to a knob, as a program reports it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(expecting = "an object")]
pub(super) struct EventDocument<'a> {
    /// What this is.
    #[schemars(extend("const" = "knobgate.events"))]
    pub(super) schema: Cow<'a, str>,
    /// The version of the schema.
    #[schemars(range(min = 1))]
    pub(super) version: u32,
    /// What the line reports.
    #[schemars(extend("const" = "event"))]
    pub(super) r#type: Cow<'a, str>,
    /// The number of the line in its stream, from 1.
    pub(super) sequence: u64,
    /// When the access happened, by the wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<TimeDocument>,
    /// When the access happened, in nanoseconds of CLOCK_BOOTTIME. This can exceed 2^53 (after 104 days), which some readers of
    /// JSON round.
    pub(super) boot_time: u64,
    /// Which boot of the machine, as in /proc/sys/kernel/random/boot_id.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) boot_id: Option<Cow<'a, str>>,
    /// The name of the attachment.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) attachment: Option<Cow<'a, str>>,
    /// The name of the policy.
    #[serde(borrow)]
    pub(super) policy: Cow<'a, str>,
    /// Whether the verdict is enforced, or only reported.
    pub(super) mode: ModeDocument,
    /// Whether the program only observes: it is not the program of a policy that somebody attached. Absent, it does not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) observer: bool,
    /// Whether the policy declares the width of knobs, of this one or of others. Absent, it does not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) declares_widths: bool,
    /// What the policy decided.
    pub(super) verdict: VerdictDocument,
    /// The errno of a denial by this policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) errno: Option<ErrnoDocument>,
    /// What became of the access, as far as the program could know: programs that run after it may still deny it. It follows
    /// from `verdict`, `mode` and `denied_before`.
    #[serde(skip_deserializing)]
    pub(super) outcome: OutcomeDocument,
    /// The errno with which programs that ran earlier had denied the access: those of cgroups below, and those attached before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) denied_before: Option<ErrnoDocument>,
    /// The kind of access.
    pub(super) access: AccessDocument,
    /// The name of the knob, as in policies: "net.ipv4.conf.eth0/1.forwarding". An object has its path below /proc/sys, for a name
    /// that policies cannot have, or of which only the start is known.
    #[serde(borrow)]
    pub(super) knob: NameDocument<'a>,
    /// The low 32 bits of the file position.
    pub(super) position: u32,
    /// Whether the values of the knob are secret, so that they were not recorded. Absent, they are not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) secret: bool,
    /// The value of the knob before the access.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) old: Option<TextDocument<'a>>,
    /// The value that the task wrote.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) new: Option<TextDocument<'a>>,
    /// The value that replaced it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) stored: Option<TextDocument<'a>>,
    /// The value with which the rule replaces the written one, which audit mode does not store. It is worked out from the rule
    /// and the values, if they are all known.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) replacement: Option<TextDocument<'a>>,
    /// The rule that decided.
    #[serde(borrow)]
    pub(super) rule: RuleDocument<'a>,
    /// Who accessed the knob.
    #[serde(borrow, default, skip_serializing_if = "TaskDocument::is_empty")]
    pub(super) task: TaskDocument<'a>,
    /// The namespaces of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) namespaces: Option<NamespacesDocument>,
    /// The cgroup of the task.
    #[serde(borrow)]
    pub(super) cgroup: CgroupDocument<'a>,
    /// What runs in the cgroup. Everything is as the workload or its engine chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) workload: Option<Cow<'a, StreamWorkload>>,
    /// How many events the rule has had for this cgroup, with this one.
    #[serde(default)]
    pub(super) totals: TotalsDocument,
    /// A number for the memory of the program: it identifies an attachment until the next boot.
    #[serde(default)]
    pub(super) origin: u64,
}

/// Events that were counted, but not sent: their rule had sent as many as it may in a second.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(expecting = "an object")]
pub(super) struct SuppressedDocument<'a> {
    /// What this is.
    #[schemars(extend("const" = "knobgate.events"))]
    pub(super) schema: Cow<'a, str>,
    /// The version of the schema.
    #[schemars(range(min = 1))]
    pub(super) version: u32,
    /// What the line reports.
    #[schemars(extend("const" = "suppressed"))]
    pub(super) r#type: Cow<'a, str>,
    /// The number of the line in its stream, from 1.
    pub(super) sequence: u64,
    /// When this was noticed, by the wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<TimeDocument>,
    /// When this was noticed, in nanoseconds of CLOCK_BOOTTIME. This can exceed 2^53.
    pub(super) boot_time: u64,
    /// Which boot of the machine, as in /proc/sys/kernel/random/boot_id.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) boot_id: Option<Cow<'a, str>>,
    /// The name of the attachment.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) attachment: Option<Cow<'a, str>>,
    /// The name of the policy.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<Cow<'a, str>>,
    /// The rule.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<RuleDocument<'a>>,
    /// The cgroup of the tasks. Absent for all cgroups that came too late for the memory of the policy.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) cgroup: Option<CgroupDocument<'a>>,
    /// What runs in the cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) workload: Option<Cow<'a, StreamWorkload>>,
    /// How many events there were since this was last said.
    pub(super) count: u64,
}

/// Events that found no room in the buffer of the reader, because it was too slow.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(expecting = "an object")]
pub(super) struct LostDocument<'a> {
    /// What this is.
    #[schemars(extend("const" = "knobgate.events"))]
    pub(super) schema: Cow<'a, str>,
    /// The version of the schema.
    #[schemars(range(min = 1))]
    pub(super) version: u32,
    /// What the line reports.
    #[schemars(extend("const" = "lost"))]
    pub(super) r#type: Cow<'a, str>,
    /// The number of the line in its stream, from 1.
    pub(super) sequence: u64,
    /// When this was noticed, by the wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<TimeDocument>,
    /// When this was noticed, in nanoseconds of CLOCK_BOOTTIME. This can exceed 2^53.
    pub(super) boot_time: u64,
    /// Which boot of the machine, as in /proc/sys/kernel/random/boot_id.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) boot_id: Option<Cow<'a, str>>,
    /// How many events there were since this was last said.
    pub(super) count: u64,
}

/// A rule, by `index`, or the default for a kind of access, by `default`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(expecting = "an object")]
pub(super) struct RuleDocument<'a> {
    /// Which rule, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<u32>,
    /// Which default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) default: Option<AccessDocument>,
    /// The line of the policy, from 1. Absent for a default that the policy does not state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u32>,
    /// The text of the rule.
    #[serde(borrow)]
    pub(super) text: TextDocument<'a>,
    /// Whether the rule could not be evaluated, which is why the access is denied. Absent, it could.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) eval_error: bool,
    /// Why it could not be evaluated. It is worked out from the rule and the values, if they are all known.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<Cow<'a, str>>,
}

/// A task.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(expecting = "an object")]
pub(super) struct TaskDocument<'a> {
    /// The process id, in the initial pid namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    /// The thread id, in the initial pid namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tid: Option<u32>,
    /// The real user id, in the initial user namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<u32>,
    /// The real group id, in the initial user namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gid: Option<u32>,
    /// The name of the task, which the task chooses itself.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) comm: Option<NameDocument<'a>>,
}

impl TaskDocument<'_> {
    fn is_empty(&self) -> bool {
        matches!(self, Self { pid: None, tid: None, uid: None, gid: None, comm: None })
    }
}

/// Namespaces, by inode number.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(expecting = "an object")]
pub(super) struct NamespacesDocument {
    /// Of its network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) net: Option<u32>,
    /// Of its host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) uts: Option<u32>,
    /// Of System V IPC and POSIX message queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ipc: Option<u32>,
    /// Of its users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<u32>,
    /// Of its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    /// Of its mounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mnt: Option<u32>,
}

impl From<Namespaces> for NamespacesDocument {
    fn from(Namespaces { net, uts, ipc, user, pid, mnt }: Namespaces) -> Self {
        Self { net, uts, ipc, user, pid, mnt }
    }
}

impl From<NamespacesDocument> for Namespaces {
    fn from(NamespacesDocument { net, uts, ipc, user, pid, mnt }: NamespacesDocument) -> Self {
        Self { net, uts, ipc, user, pid, mnt }
    }
}

/// A cgroup.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(expecting = "an object")]
pub(super) struct CgroupDocument<'a> {
    /// The inode number of its directory.
    pub(super) id: u64,
    /// Its path, as far as the reader could see it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<NameDocument<'a>>,
}

/// How many events a rule has had for a cgroup.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(expecting = "an object")]
pub(super) struct TotalsDocument {
    /// How many were sent.
    pub(super) sent: u64,
    /// How many were suppressed.
    pub(super) suppressed: u64,
}

/// The mode of a policy.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ModeDocument {
    /// Decisions are enforced.
    Enforce,
    /// Decisions are reported, and every access passes.
    Audit,
}

/// A decision.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum VerdictDocument {
    /// The access passes.
    Allow,
    /// It fails.
    Deny,
    /// It passes with another value.
    Rewrite,
}

/// What became of an access.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OutcomeDocument {
    /// It passed.
    #[default]
    Allowed,
    /// It failed.
    Denied,
    /// It passed with another value.
    Rewritten,
    /// In audit mode: it passed, and would have failed.
    WouldDeny,
    /// In audit mode: it passed as it was, and would have passed with another value.
    WouldRewrite,
}

/// A kind of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AccessDocument {
    /// read(2) and the like.
    Read,
    /// write(2) and the like.
    Write,
}

impl From<AccessKind> for AccessDocument {
    fn from(kind: AccessKind) -> Self {
        match kind {
            AccessKind::Read => Self::Read,
            AccessKind::Write => Self::Write,
        }
    }
}

impl From<AccessDocument> for AccessKind {
    fn from(kind: AccessDocument) -> Self {
        match kind {
            AccessDocument::Read => Self::Read,
            AccessDocument::Write => Self::Write,
        }
    }
}

impl From<Mode> for ModeDocument {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Enforce,
            Mode::Audit => Self::Audit,
        }
    }
}

impl From<ModeDocument> for Mode {
    fn from(mode: ModeDocument) -> Self {
        match mode {
            ModeDocument::Enforce => Self::Enforce,
            ModeDocument::Audit => Self::Audit,
        }
    }
}

/// An errno: its name, or its number if it has none.
#[derive(Debug, Clone, Copy)]
pub(super) struct ErrnoDocument(pub(super) u16);

impl From<Errno> for ErrnoDocument {
    fn from(errno: Errno) -> Self {
        Self(errno.number() as u16)
    }
}

impl Serialize for ErrnoDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match Errno::from_number(self.0.into()) {
            Some(errno) => serializer.collect_str(&errno),
            None => serializer.serialize_u16(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ErrnoDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrNumber;

        impl Visitor<'_> for NameOrNumber {
            type Value = ErrnoDocument;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an errno, or a number up to 65535")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<ErrnoDocument, E> {
                let errno = Errno::from_name(name);
                errno
                    .map(ErrnoDocument::from)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(name), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ErrnoDocument, E> {
                let number = number.try_into();
                number.map(ErrnoDocument).map_err(|_| E::custom("the errno is more than 65535"))
            }
        }

        deserializer.deserialize_any(NameOrNumber)
    }
}

impl JsonSchema for ErrnoDocument {
    fn schema_name() -> Cow<'static, str> {
        "Errno".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An errno: its name, such as \"EPERM\", or its number if it has no name.",
            "anyOf": [
                { "type": "string", "pattern": "^E[A-Z0-9]+$" },
                { "type": "integer", "minimum": 0, "maximum": 65535 },
            ],
        })
    }
}

fn is_false(value: &bool) -> bool {
    !value
}
