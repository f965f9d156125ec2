//! The shape of a line. The doc comments are the descriptions in the published schema.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parts::{
    AccessDocument, CgroupDocument, ErrnoDocument, ModeDocument, NamespacesDocument, OutcomeDocument,
    RuleDocument, TaskDocument, TotalsDocument, VerdictDocument, is_false,
};
use super::text::{NameDocument, TextDocument};
use super::time::TimeDocument;
use crate::workload::StreamWorkload;

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
    /// Whether the program only observes, and does not know what became of the access: other programs decided after it, or the
    /// kernel cannot tell what those before it decided. Absent, it does know, or the program is that of a policy.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) outcome_unknown: bool,
    /// Whether the policy declares the width of knobs, of this one or of others. Absent, it does not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) declares_widths: bool,
    /// What the policy decided.
    pub(super) verdict: VerdictDocument,
    /// The errno of a denial by this policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) errno: Option<ErrnoDocument>,
    /// What became of the access, as far as the program could know: programs that run after it may still deny it. It follows
    /// from `verdict`, `mode` and `denied_before`. Absent if it is unknown.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<OutcomeDocument>,
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
    /// What runs in the cgroup. Somebody has chosen each name.
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
    /// A number for the memory of the program: it identifies an attachment until the next boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<u64>,
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
