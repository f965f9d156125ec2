//! The parts of a line.

use std::borrow::Cow;
use std::fmt;

use knobgate_policy::{AccessKind, Errno, Mode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::text::{NameDocument, TextDocument};
use crate::event::Namespaces;

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
    pub(super) fn is_empty(&self) -> bool {
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
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OutcomeDocument {
    /// It passed.
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

pub(crate) fn is_false(value: &bool) -> bool {
    !value
}
