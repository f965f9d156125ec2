//! The shape of a policy in JSON. The doc comments are the descriptions in the published schema.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::selector::SelectorDocument;
use crate::limits;

/// A knobgate policy: what the processes of a control group may read from and write to /proc/sys.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "knobgate policy")]
pub(super) struct PolicyDocument {
    /// Where the schema of this document is; ignored.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<String>,
    /// The name of the policy: letters, digits, `-`, `_` and `.`, at most 63.
    pub(super) name: String,
    /// Whether decisions are enforced.
    #[serde(default)]
    pub(super) mode: ModeDocument,
    /// What happens to an access that no rule matches.
    #[serde(default)]
    pub(super) defaults: DefaultsDocument,
    /// The rules, in order: the first that matches decides.
    #[serde(default)]
    pub(super) rules: Vec<RuleDocument>,
    /// The tests of the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tests: Vec<TestDocument>,
    /// Patterns, as in the language, of knobs whose handlers keep 64 bits of a number, besides those that are known to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) width_64: Vec<String>,
    /// Which containers and units the policy applies to, beside the cgroups that it is attached to by hand: those for which one
    /// of these holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) apply_if: Vec<SelectorDocument>,
}

/// Whether decisions are enforced, or only reported.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ModeDocument {
    /// Decide and enforce.
    #[default]
    Enforce,
    /// Decide and report, but let every access pass.
    Audit,
}

/// The default for each kind of access.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DefaultsDocument {
    /// For reads; absent, `allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) read: Option<FallbackDocument>,
    /// For writes; absent, `deny` with EPERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) write: Option<FallbackDocument>,
}

/// What a default does.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FallbackDocument {
    /// Let the access pass, or deny it.
    pub(super) action: FallbackActionDocument,
    /// Whether an event is sent, and how many; absent, for denials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<LogDocument>,
}

/// The action of a default.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum FallbackActionDocument {
    /// Let it pass.
    Allow,
    /// Deny it with this errno, such as "EPERM".
    Deny(String),
}

/// One rule.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleDocument {
    /// What it does to an access that it matches.
    pub(super) action: ActionDocument,
    /// The kinds of access that it applies to: one or both.
    #[schemars(length(min = 1, max = 2))]
    pub(super) kinds: Vec<KindDocument>,
    /// Patterns for the names of the knobs that it applies to, such as "net.ipv4.tcp_{rmem,wmem}".
    #[schemars(length(min = 1))]
    pub(super) knobs: Vec<String>,
    /// The condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) condition: Option<ConditionDocument>,
    /// Whether an event is sent, and how many; absent, for denials and rewrites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<LogDocument>,
}

/// Whether an event is sent, and how many.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected true, false, \"all\" or {\"per_second\": N}")]
pub(super) enum LogDocument {
    /// true: events, at most 10 a second in each cgroup. false: none.
    Default(bool),
    /// An event for every access, without a limit.
    Unlimited(UnlimitedDocument),
    /// Events up to another limit.
    Limited(EventRateDocument),
}

/// No limit.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum UnlimitedDocument {
    /// Every event.
    All,
}

/// A limit of events in each cgroup.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventRateDocument {
    /// At most so many a second.
    #[schemars(range(min = 1, max = limits::EVENTS_PER_SECOND_MAX))]
    pub(super) per_second: i64,
}

/// A kind of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum KindDocument {
    /// read(2), pread(2), readv(2) and so on.
    Read,
    /// write(2), pwrite(2), writev(2) and so on.
    Write,
}

/// What a rule does.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ActionDocument {
    /// Let the access pass.
    Allow,
    /// Deny it with this errno, such as "EPERM".
    Deny(String),
    /// Write this text instead.
    Set(TextDocument),
    /// Move each number of the value into its range.
    Clamp(Vec<RangeDocument>),
    /// Write the current value again.
    Ignore,
}

/// An interval of integers, both ends included.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RangeDocument {
    /// The lowest member; absent, there is no lower bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) low: Option<IntegerDocument>,
    /// The highest member; absent, there is no upper bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) high: Option<IntegerDocument>,
}

/// An integer between -2^63 and 2^64-1.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub(super) struct IntegerDocument(#[schemars(range(min = i64::MIN, max = u64::MAX))] pub(super) i128);

/// Bytes: a string, or hexadecimal for what is not UTF-8.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum TextDocument {
    /// UTF-8.
    Utf8(String),
    /// Any bytes.
    Hex(HexDocument),
}

/// Bytes in hexadecimal.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HexDocument {
    /// Two digits for each byte.
    #[schemars(regex(pattern = "^([0-9a-fA-F]{2})*$"))]
    pub(super) hex: String,
}

/// A condition.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ConditionDocument {
    /// All of these hold; two or more.
    All(Vec<ConditionDocument>),
    /// One of these holds; two or more.
    Any(Vec<ConditionDocument>),
    /// This does not hold.
    Not(Box<ConditionDocument>),
    /// A chain of comparisons, as in mathematics.
    Chain(ChainDocument),
    /// The operand is in the range.
    InRange(InRangeDocument),
    /// The operand is in the set.
    InSet(InSetDocument),
    /// All numbers of a value pass the test, which has as many.
    List(ListConditionDocument),
    /// The value, as a set of numbers and ranges, is not empty and inside these.
    Ranges(RangesConditionDocument),
    /// The text passes the test.
    Text(TextConditionDocument),
    /// This network namespace owns the knob. Only in rules for knobs below `net`.
    Netns(NetnsDocument),
}

/// The network namespace that owns a knob below `net`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum NetnsDocument {
    /// That of the host.
    Host,
    /// Another one.
    Other,
}

/// `first`, then each link's relation and operand.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChainDocument {
    /// The leftmost operand.
    pub(super) first: OperandDocument,
    /// The others, each with its relation to the one before.
    #[schemars(length(min = 1))]
    pub(super) links: Vec<LinkDocument>,
}

/// One link of a chain of comparisons.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkDocument {
    /// The relation of the previous operand to this one.
    pub(super) relation: RelationDocument,
    /// This operand.
    pub(super) operand: OperandDocument,
}

/// How two integers compare.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub(super) enum RelationDocument {
    /// Less.
    #[serde(rename = "<")]
    Less,
    /// Less or equal.
    #[serde(rename = "<=")]
    LessOrEqual,
    /// Equal.
    #[serde(rename = "==")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=")]
    NotEqual,
    /// Greater or equal.
    #[serde(rename = ">=")]
    GreaterOrEqual,
    /// Greater.
    #[serde(rename = ">")]
    Greater,
}

/// Membership in a range; at least one end is given.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InRangeDocument {
    /// What is tested.
    pub(super) operand: OperandDocument,
    /// The range.
    pub(super) range: RangeDocument,
}

/// Membership in a set.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InSetDocument {
    /// What is tested.
    pub(super) operand: OperandDocument,
    /// The members of the set.
    #[schemars(length(min = 1))]
    pub(super) members: Vec<MemberDocument>,
}

/// A member of a set: an integer, or a range of them.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum MemberDocument {
    /// One.
    Integer(IntegerDocument),
    /// All in this range; at least one end is given, except in a list.
    Range(RangeDocument),
}

/// What serde derives for an untagged enum takes no integer of 128 bits.
impl<'de> Deserialize<'de> for MemberDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemberVisitor)
    }
}

struct MemberVisitor;

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = MemberDocument;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer of 64 bits or {\"low\": N, \"high\": N}")
    }

    fn visit_i64<E>(self, integer: i64) -> Result<MemberDocument, E> {
        Ok(MemberDocument::Integer(IntegerDocument(integer.into())))
    }

    fn visit_u64<E>(self, integer: u64) -> Result<MemberDocument, E> {
        Ok(MemberDocument::Integer(IntegerDocument(integer.into())))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MemberDocument, A::Error> {
        RangeDocument::deserialize(MapAccessDeserializer::new(map)).map(MemberDocument::Range)
    }
}

/// A test of all numbers of a value.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListConditionDocument {
    /// Of which value.
    pub(super) of: ValueDocument,
    /// The test. It cannot be evaluated for a value with fewer or more numbers.
    pub(super) test: ListTestDocument,
}

/// A test of a value as a set of numbers, such as "8080,9000-9100".
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RangesConditionDocument {
    /// Of which value.
    pub(super) of: ValueDocument,
    /// The set in which it is.
    #[schemars(length(min = 1))]
    pub(super) members: Vec<MemberDocument>,
}

/// A predicate on all numbers of a value.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ListTestDocument {
    /// They are these.
    Equals(#[schemars(length(min = 1, max = limits::ELEMENTS_MAX))] Vec<IntegerDocument>),
    /// They are not these.
    Differs(#[schemars(length(min = 1, max = limits::ELEMENTS_MAX))] Vec<IntegerDocument>),
    /// Each is in its range; at least one range has an end.
    In(#[schemars(length(min = 1, max = limits::ELEMENTS_MAX))] Vec<MemberDocument>),
}

/// An integer in a condition.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OperandDocument {
    /// A literal.
    Literal(IntegerDocument),
    /// The new value, which must be exactly one number.
    New,
    /// The current value, which must be exactly one number.
    Old,
    /// One number of a value.
    Element(ElementDocument),
    /// Every number of a value: the test holds if there are some, and it holds for all of them.
    Each(ValueDocument),
    /// Some bits of a number, which must not be negative.
    Masked(MaskedDocument),
    /// How many numbers the value holds.
    Count(ValueDocument),
    /// The file position, its low 32 bits.
    Pos,
    /// The user id of the task.
    Uid,
    /// The group id of the task.
    Gid,
}

/// Some bits of a number.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MaskedDocument {
    /// The number: "new", "old", an element, or each number of a value.
    pub(super) operand: Box<OperandDocument>,
    /// The bits that count; at least one.
    pub(super) mask: IntegerDocument,
}

/// One number of a value.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ElementDocument {
    /// Of which value.
    pub(super) of: ValueDocument,
    /// Which, counted from 0.
    pub(super) index: u8,
}

/// One of the two values of a write.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ValueDocument {
    /// The new value.
    New,
    /// The current value.
    Old,
}

/// A test of a text.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TextConditionDocument {
    /// What is tested.
    pub(super) operand: TextOperandDocument,
    /// The test.
    pub(super) test: TextTestDocument,
}

/// A text in a condition.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TextOperandDocument {
    /// The text of the new value.
    New,
    /// The text of the current value.
    Old,
    /// The name of the task.
    Comm,
}

/// A predicate on text.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TextTestDocument {
    /// It is this text.
    Equals(TextDocument),
    /// It is not this text.
    Differs(TextDocument),
    /// It is one of these.
    In(Vec<TextDocument>),
    /// The glob matches it; `*` matches anything.
    Matches(String),
    /// It starts with this text.
    StartsWith(TextDocument),
    /// It contains this text.
    Contains(TextDocument),
}

/// A test of the policy.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TestDocument {
    /// What the test states.
    pub(super) name: String,
    /// Its accesses, each with the expected verdict.
    pub(super) steps: Vec<StepDocument>,
}

/// One access with the expected verdict.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StepDocument {
    /// The knob.
    pub(super) knob: String,
    /// The new value; absent, the access is a read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) new: Option<TextDocument>,
    /// The current value; absent, it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) old: Option<TextDocument>,
    /// The file position in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) pos: u64,
    /// The user id of the task.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) uid: u32,
    /// The group id of the task.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) gid: u32,
    /// The name of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) comm: Option<TextDocument>,
    /// The network namespace that owns the knob, if it is below `net`. Absent, rules that look at it cannot be evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) netns: Option<NetnsDocument>,
    /// The expected verdict.
    pub(super) expect: ExpectedDocument,
}

/// What a test expects.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ExpectedDocument {
    /// It passes as it is.
    Allow,
    /// It is denied with this errno, or with any errno if this is null.
    Deny(Option<String>),
    /// It is rewritten to exactly these bytes.
    Set(TextDocument),
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}
