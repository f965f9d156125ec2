//! One access as it was recorded, and what became of it.

use knobgate_events::secrets::is_secret;
use knobgate_events::{CallResult, Event, EventText, UnknownResult};
use knobgate_policy::{
    Access, AccessKind, Condition, Errno, KnobName, Policy, TextOperand, TextTest, Value, ValueText, holds,
    limits,
};

/// An access as it was recorded: the parts of an [`Event`] that a policy is made from, and the result of its system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedAccess {
    /// Whether the knob was read or written.
    pub kind: AccessKind,
    /// The path of the knob below `/proc/sys`.
    pub knob: EventText,
    /// The value that was written.
    pub new: Option<EventText>,
    /// The low 32 bits of the file position.
    pub position: u32,
    /// The name of the task.
    pub comm: Option<Vec<u8>>,
    /// How the system call ended.
    pub result: CallResult,
}

impl RecordedAccess {
    /// The access of an event whose system call ended like this.
    pub fn new(event: Event, result: CallResult) -> Self {
        let Event { kind, knob, new, position, comm, .. } = event;
        Self { kind, knob, new, position, comm, result }
    }
}

/// What a policy can be told of an access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lesson {
    /// It succeeded. A write has its value.
    Allow(Option<Vec<u8>>),
    /// It failed with this errno.
    Failed(Option<Errno>),
    /// Nobody should allow it unseen.
    Doubt(Doubt, Option<Vec<u8>>),
}

/// Why an access does not become a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    /// Whether it succeeded is not known.
    Unknown(UnknownResult),
    /// The knob took only the start of the value.
    Partial,
    /// It wrote no bytes, or not at the start of the file.
    NoValue(String),
    /// No rule can be evaluated for it.
    NotEvaluated(String),
    /// The value was not recorded whole.
    Cut,
    /// The value was not recorded, because it is secret.
    Secret,
    /// The hook does not run for it.
    NotASysctl,
    /// No rule can look at its name.
    NameTooLong,
    /// A rule of the policy that is extended decides otherwise.
    DecidedBy(String),
}

const CUT: &str = "the value is too long for a condition";
const SECRET: &str = "the values are secret and were not recorded";

impl Doubt {
    /// Why no rule can tell the access from others.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Cut => CUT.to_owned(),
            Self::Secret => SECRET.to_owned(),
            other => other.to_string(),
        }
    }

    /// Whether a condition could tell the value from others.
    fn has_condition(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Partial | Self::DecidedBy(_))
    }
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(why) => write!(f, "it is not known whether this succeeded: {why}"),
            Self::Partial => f.write_str("the knob took only the start of the value"),
            Self::NoValue(why) | Self::NotEvaluated(why) => {
                write!(f, "no condition can be evaluated for this: {why}")
            }
            Self::Cut => write!(f, "{CUT}, and so this allows any"),
            Self::Secret => write!(f, "{SECRET}, so this allows any"),
            Self::NotASysctl => f.write_str("no policy applies to this: it is on another file system"),
            Self::NameTooLong => write!(f, "the name has more than {} bytes", limits::NAME_MAX),
            Self::DecidedBy(rule) => write!(f, "{rule} decides otherwise"),
        }
    }
}

impl RecordedAccess {
    /// The name of the knob; `None` if it was not recorded whole.
    pub(crate) fn name(&self) -> Option<KnobName> {
        KnobName::from_path(self.knob.bytes.clone()).ok().filter(|_| self.knob.cut_from.is_none())
    }

    /// What a policy can be told of it.
    pub(crate) fn lesson(&self, name: &KnobName) -> Lesson {
        let value = self.new.as_ref().map(|new| new.bytes.clone());
        match self.result {
            CallResult::Returned(result @ ..0) => Lesson::Failed(Errno::from_returned(result)),
            _ => match self.doubt(name) {
                Some(doubt) => {
                    let is_compared = doubt.has_condition();
                    Lesson::Doubt(doubt, value.filter(|_| is_compared))
                }
                None => Lesson::Allow(value),
            },
        }
    }

    fn doubt(&self, name: &KnobName) -> Option<Doubt> {
        if name.check_is_sysctl().is_err() {
            return Some(Doubt::NotASysctl);
        }
        if name.as_bytes().len() > limits::NAME_MAX {
            return Some(Doubt::NameTooLong);
        }
        if is_secret(name.as_bytes()) {
            return Some(Doubt::Secret);
        }
        if self.kind == AccessKind::Write
            && let Some(doubt) = self.doubt_of_value(name)
        {
            return Some(doubt);
        }
        match self.result {
            CallResult::Unknown(why) => Some(Doubt::Unknown(why)),
            CallResult::Returned(_) => None,
        }
    }

    fn doubt_of_value(&self, name: &KnobName) -> Option<Doubt> {
        let Some(new) = self.new.as_ref().filter(|new| !new.bytes.is_empty()) else {
            return Some(Doubt::NoValue("it wrote no bytes".to_owned()));
        };
        if new.cut_from.is_some() {
            return Some(Doubt::Cut);
        }
        let access = Access { pos: self.position.into(), ..Access::write(name.clone(), new.bytes.clone()) };
        if let Err(error) = is_empty_text(&access) {
            return Some(if self.position == 0 {
                Doubt::NotEvaluated(error.to_string())
            } else {
                Doubt::NoValue(error.to_string())
            });
        }
        match self.result {
            CallResult::Returned(taken) if taken < new.bytes.len() as i64 => Some(Doubt::Partial),
            _ => None,
        }
    }
}

/// A condition that can be evaluated for all values for which any condition on texts can.
fn is_empty_text(access: &Access) -> Result<bool, knobgate_policy::EvalError> {
    let empty = ValueText::new("").expect("it is short");
    let policy = Policy::new("texts").expect("a name");
    holds(&policy, &Condition::Text(TextOperand::Value(Value::New), TextTest::Equals(empty)), access)
}
