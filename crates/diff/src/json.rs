//! Diffs as JSON. The doc comments are the descriptions in the published schema.

use knobgate_policy::selector::Selector;
use knobgate_policy::{Access, AccessKind, DecidedBy, Decision, KnobNetns, Mode, PolicyFile, Verdict};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{Change, Class, Diff, NameSet, Names, Part, Region, SelectorChanges, Subject};

/// What two policies decide differently. Lines and rules count from 1. Later versions may add members.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "knobgate diff")]
pub struct DiffDocument {
    /// The old policy.
    old: PolicyDocument,
    /// The new policy.
    new: PolicyDocument,
    /// How many classes of each change there are.
    counts: CountsDocument,
    /// The `apply if` statements that only one of the policies has; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    apply_if: Option<SelectorsDocument>,
    /// How many recorded events are in no class; absent if none were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<EventsDocument>,
    /// The classes of accesses that the policies decide differently, the most dangerous first.
    classes: Vec<ClassDocument>,
}

impl DiffDocument {
    /// `diff` as JSON; it has to be that between these policies.
    pub fn new(diff: &Diff, old: &PolicyFile, new: &PolicyFile) -> Self {
        let policy = |file: &PolicyFile, mode: Mode| PolicyDocument {
            file: file.source().name().to_owned(),
            policy: file.policy().name().to_owned(),
            enforced: mode == Mode::Enforce,
        };
        let count = |change| diff.classes().iter().filter(|class| class.change == change).count();
        Self {
            old: policy(old, diff.modes().0),
            new: policy(new, diff.modes().1),
            counts: CountsDocument {
                newly_allowed: count(Change::NewlyAllowed),
                undecided: count(Change::Undecided),
                rewritten_differently: count(Change::RewrittenDifferently),
                newly_denied: count(Change::NewlyDenied),
                errno: count(Change::Errno),
                logging: count(Change::Logging),
            },
            apply_if: Some(diff.selectors()).filter(|changes| !changes.is_empty()).map(SelectorsDocument::of),
            events: None,
            classes: diff.classes().iter().map(|class| ClassDocument::of(class, old, new)).collect(),
        }
    }

    /// The same with recorded events: those in no class, and those in each.
    #[must_use]
    pub fn with_events(
        mut self,
        events: EventsDocument,
        of_classes: impl IntoIterator<Item = ClassEventsDocument>,
    ) -> Self {
        self.events = Some(events);
        for (class, of_class) in self.classes.iter_mut().zip(of_classes) {
            class.events = Some(of_class);
        }
        self
    }
}

/// The JSON schema of diffs.
pub fn json_schema() -> schemars::Schema {
    schemars::schema_for!(DiffDocument)
}

/// One of the policies.
#[derive(Debug, Serialize, JsonSchema)]
struct PolicyDocument {
    /// The name of its file.
    file: String,
    /// The name of the policy.
    policy: String,
    /// False in audit mode.
    enforced: bool,
}

/// Which containers and units only one of the policies applies to.
#[derive(Debug, Serialize, JsonSchema)]
struct SelectorsDocument {
    /// The conditions of the old policy, as the language writes them.
    removed: Vec<String>,
    /// Those of the new policy.
    added: Vec<String>,
}

impl SelectorsDocument {
    fn of(changes: &SelectorChanges) -> Self {
        let texts = |selectors: &[Selector]| selectors.iter().map(Selector::to_string).collect();
        Self { removed: texts(&changes.removed), added: texts(&changes.added) }
    }
}

/// Recorded events that are in no class.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EventsDocument {
    /// How many are of accesses that both policies decide in the same way.
    pub same: u64,
    /// How many may be in a class, depending on what the events do not have.
    pub unknown: u64,
    /// How many were counted and not sent, because of the limit of their rule.
    pub suppressed: u64,
    /// How many were lost.
    pub lost: u64,
}

/// Recorded events in a class.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClassEventsDocument {
    /// How many.
    pub count: u64,
    /// How many of the accesses another program had denied before. They fail, whatever these policies decide.
    pub denied_before: u64,
    /// When the first one happened, as RFC 3339; null if that is unknown.
    pub first: Option<String>,
    /// When the last one happened.
    pub last: Option<String>,
    /// The first workloads in which they happened.
    pub workloads: Vec<String>,
    /// Whether there were more workloads.
    pub more_workloads: bool,
}

/// How many classes of each change there are.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct CountsDocument {
    newly_allowed: usize,
    undecided: usize,
    rewritten_differently: usize,
    newly_denied: usize,
    errno: usize,
    logging: usize,
}

/// Accesses that the policies decide differently, in the same way.
#[derive(Debug, Serialize, JsonSchema)]
struct ClassDocument {
    change: ChangeDocument,
    kind: KindDocument,
    /// What the accesses hold, in words, such as `new 129..256`; empty if every access is in the class.
    values: String,
    /// The same by subject; only those that make a difference.
    region: Vec<SubjectDocument>,
    /// Not all combinations of these values are in the class, or not in every notation and length.
    partial: bool,
    /// Why it was not decided whether the policies differ; null if they do.
    undecided: Option<String>,
    /// Recorded events in this class; absent if none were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<ClassEventsDocument>,
    /// The names of the knobs, in sets for which the same rules decide.
    names: Vec<NamesDocument>,
}

/// How the new policy treats an access differently.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum ChangeDocument {
    /// It was denied and now succeeds, or it was rewritten and now passes as it was written.
    NewlyAllowed,
    /// The policies may differ: it was not decided whether they do. Count it as newly allowed.
    Undecided,
    /// It was written and now is rewritten, or it is rewritten to something else.
    RewrittenDifferently,
    /// It succeeded and now is denied.
    NewlyDenied,
    /// It is denied with another errno.
    Errno,
    /// It has the same verdict, and only one policy logs it.
    Logging,
}

/// Whether knobs are read or written.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum KindDocument {
    Read,
    Write,
}

/// The values of one subject.
#[derive(Debug, Serialize, JsonSchema)]
struct SubjectDocument {
    /// What the values are of.
    subject: SubjectNameDocument,
    /// Which values.
    values: Vec<PartDocument>,
}

/// What a condition can look at.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum SubjectNameDocument {
    New,
    Old,
    Pos,
    Uid,
    Gid,
    Comm,
    Netns,
}

/// Some values.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum PartDocument {
    /// All values.
    Any,
    /// A number between these two, both included, in decimal: they can be beyond what a JSON number holds exactly.
    Numbers {
        /// The least one.
        low: String,
        /// The greatest one.
        high: String,
    },
    /// Several numbers.
    List,
    /// This text.
    Text(BytesDocument),
    /// The texts for which the tests of both policies hold as they do for this one.
    TextLike(BytesDocument),
    /// Every other text.
    OtherText,
    /// The same bytes as the new value's.
    SameAsNew,
    /// Something follows the first newline or NUL.
    GoesOn,
    /// Too many bytes to be evaluated.
    TooLong,
    /// There is no value.
    Missing,
    /// The network namespace of the host.
    Host,
    /// Every network namespace but that of the host.
    NotHost,
}

/// Bytes: a string, or hexadecimal for what is not UTF-8.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum BytesDocument {
    /// UTF-8.
    Utf8(String),
    /// Any bytes.
    Hex {
        /// Two digits for each.
        hex: String,
    },
}

/// Names of one class for which the same rules decide.
#[derive(Debug, Serialize, JsonSchema)]
struct NamesDocument {
    /// The names.
    set: NameSetDocument,
    /// An access to one of them.
    example: AccessDocument,
    /// What the old policy decides about the example.
    old: DecisionDocument,
    /// What the new policy decides about the example.
    new: DecisionDocument,
}

/// Some names.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum NameSetDocument {
    /// These names.
    Names(Vec<String>),
    /// Every name that all of these patterns match, and no other pattern does; without a pattern, all names that none
    /// matches.
    Matched(Vec<String>),
    /// Names that are too long to be looked at, and end in this component; null for those that no pattern ends in.
    TooLong(Option<BytesDocument>),
}

/// An access.
#[derive(Debug, Serialize, JsonSchema)]
struct AccessDocument {
    kind: KindDocument,
    knob: String,
    /// What is written; null for a read.
    new: Option<BytesDocument>,
    /// The current value; null if it cannot be read.
    old: Option<BytesDocument>,
    pos: u64,
    uid: u32,
    gid: u32,
    comm: BytesDocument,
    /// The network namespace that owns the knob, if that makes a difference: "host" or "other".
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<String>,
}

/// A decision.
#[derive(Debug, Serialize, JsonSchema)]
struct DecisionDocument {
    verdict: VerdictDocument,
    /// The errno of a denial.
    errno: Option<String>,
    /// What is written instead.
    value: Option<BytesDocument>,
    /// Whether it is logged.
    log: bool,
    /// The rule that decided; null if the default did.
    rule: Option<RuleDocument>,
    /// Why that rule could not be evaluated.
    eval_error: Option<String>,
    /// The line that states the default that decided.
    default_line: Option<usize>,
}

/// What happens to an access.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum VerdictDocument {
    Allow,
    Deny,
    Set,
}

/// A rule.
#[derive(Debug, Serialize, JsonSchema)]
struct RuleDocument {
    number: usize,
    /// The included file or preset that has it; absent if the policy's own file does.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    line: Option<usize>,
    text: Option<String>,
}

impl ClassDocument {
    fn of(class: &Class, old: &PolicyFile, new: &PolicyFile) -> Self {
        Self {
            change: class.change.into(),
            kind: class.kind.into(),
            values: class.region.to_string(),
            region: subjects(&class.region),
            partial: class.region.is_partial,
            undecided: class.reason.map(|reason| reason.to_string()),
            events: None,
            names: class.names.iter().map(|names| NamesDocument::of(names, old, new)).collect(),
        }
    }
}

fn subjects(region: &Region) -> Vec<SubjectDocument> {
    let subject = |(subject, parts): &(Subject, Vec<Part>)| SubjectDocument {
        subject: match subject {
            Subject::New => SubjectNameDocument::New,
            Subject::Old => SubjectNameDocument::Old,
            Subject::Pos => SubjectNameDocument::Pos,
            Subject::Uid => SubjectNameDocument::Uid,
            Subject::Gid => SubjectNameDocument::Gid,
            Subject::Comm => SubjectNameDocument::Comm,
            Subject::Netns => SubjectNameDocument::Netns,
        },
        values: parts.iter().map(PartDocument::from).collect(),
    };
    region.subjects.iter().map(subject).collect()
}

impl NamesDocument {
    fn of(names: &Names, old: &PolicyFile, new: &PolicyFile) -> Self {
        Self {
            set: match &names.set {
                NameSet::Literals(names) => {
                    NameSetDocument::Names(names.iter().map(ToString::to_string).collect())
                }
                NameSet::Matched { patterns } => NameSetDocument::Matched(patterns.clone()),
                NameSet::TooLong { last } => {
                    NameSetDocument::TooLong(last.as_deref().map(BytesDocument::from))
                }
            },
            example: AccessDocument::from(&names.example),
            old: DecisionDocument::of(&names.old, old),
            new: DecisionDocument::of(&names.new, new),
        }
    }
}

impl DecisionDocument {
    fn of(decision: &Decision, file: &PolicyFile) -> Self {
        let (verdict, errno, value) = match &decision.verdict {
            Verdict::Allow => (VerdictDocument::Allow, None, None),
            Verdict::Deny(errno) => (VerdictDocument::Deny, Some(errno.to_string()), None),
            Verdict::Rewrite(value) => {
                (VerdictDocument::Set, None, Some(BytesDocument::from(value.as_slice())))
            }
        };
        let (rule, eval_error, default_line) = match decision.by {
            DecidedBy::Rule(rule) => (Some(rule), None, None),
            DecidedBy::EvalError { rule, error } => (Some(rule), Some(error.to_string()), None),
            DecidedBy::Default(kind) => (None, None, file.default_place(kind).map(|place| place.line)),
        };
        let rule = rule.map(|rule| {
            let place = file.rule_place(rule);
            RuleDocument {
                number: rule + 1,
                file: place
                    .filter(|place| place.name != file.source().name())
                    .map(|place| place.name.to_owned()),
                line: place.map(|place| place.line),
                text: file.rule_text(rule).map(str::to_owned),
            }
        });
        Self { verdict, errno, value, log: decision.log, rule, eval_error, default_line }
    }
}

impl From<&Access> for AccessDocument {
    fn from(access: &Access) -> Self {
        Self {
            kind: access.kind().into(),
            knob: access.knob.to_string(),
            new: access.new.as_deref().map(BytesDocument::from),
            old: access.old.as_deref().map(BytesDocument::from),
            pos: access.pos,
            uid: access.task.uid,
            gid: access.task.gid,
            comm: BytesDocument::from(access.task.comm.as_slice()),
            netns: access.knob_netns.map(|netns| netns.to_string()),
        }
    }
}

impl From<&Part> for PartDocument {
    fn from(part: &Part) -> Self {
        match part {
            Part::Any => Self::Any,
            Part::Number(low, high) => Self::Numbers { low: low.to_string(), high: high.to_string() },
            Part::List => Self::List,
            Part::Text(text) => Self::Text(text.as_bytes().into()),
            Part::TextLike(text) => Self::TextLike(text.as_bytes().into()),
            Part::OtherText => Self::OtherText,
            Part::SameAsNew => Self::SameAsNew,
            Part::GoesOn => Self::GoesOn,
            Part::TooLong => Self::TooLong,
            Part::Missing => Self::Missing,
            Part::Netns(KnobNetns::Host) => Self::Host,
            Part::Netns(KnobNetns::Other) => Self::NotHost,
        }
    }
}

impl From<&[u8]> for BytesDocument {
    fn from(bytes: &[u8]) -> Self {
        let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        str::from_utf8(bytes).map_or_else(|_| Self::Hex { hex: hex() }, |text| Self::Utf8(text.to_owned()))
    }
}

impl From<Change> for ChangeDocument {
    fn from(change: Change) -> Self {
        match change {
            Change::NewlyAllowed => Self::NewlyAllowed,
            Change::Undecided => Self::Undecided,
            Change::RewrittenDifferently => Self::RewrittenDifferently,
            Change::NewlyDenied => Self::NewlyDenied,
            Change::Errno => Self::Errno,
            Change::Logging => Self::Logging,
        }
    }
}

impl From<AccessKind> for KindDocument {
    fn from(kind: AccessKind) -> Self {
        match kind {
            AccessKind::Read => Self::Read,
            AccessKind::Write => Self::Write,
        }
    }
}
