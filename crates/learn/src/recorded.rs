//! One access as it was recorded, and what became of it.

use knobgate_events::secrets::is_secret;
use knobgate_events::{CallResult, Event, UnknownResult};
use knobgate_policy::{
    Access, AccessKind, Condition, Errno, KnobName, Policy, TextOperand, TextTest, Value, ValueText, holds,
    limits,
};
use knobgate_replay::Unknown;

/// An access as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedAccess {
    /// The access.
    pub event: Event,
    /// How its system call ended.
    pub result: CallResult,
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
    /// What the policy that is extended decides depends on something that was not recorded.
    Depends(Vec<Unknown>),
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
        matches!(self, Self::Unknown(_) | Self::Partial | Self::DecidedBy(_) | Self::Depends(_))
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
            Self::Depends(unknown) => {
                let unknown: Vec<String> = unknown.iter().map(Unknown::to_string).collect();
                write!(f, "what the policy decides depends on what was not recorded: {}", unknown.join(", "))
            }
        }
    }
}

impl RecordedAccess {
    /// The name of the knob; `None` if it was not recorded whole.
    pub(crate) fn name(&self) -> Option<KnobName> {
        let knob = &self.event.knob;
        KnobName::from_path(knob.bytes.clone()).ok().filter(|_| knob.cut_from.is_none())
    }

    /// What a policy can be told of it.
    pub(crate) fn lesson(&self, name: &KnobName) -> Lesson {
        let value = self.event.new.as_ref().map(|new| new.bytes.clone());
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
        if self.event.kind == AccessKind::Write
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
        let Some(new) = self.event.new.as_ref().filter(|new| !new.bytes.is_empty()) else {
            return Some(Doubt::NoValue("it wrote no bytes".to_owned()));
        };
        if new.cut_from.is_some() {
            return Some(Doubt::Cut);
        }
        let access =
            Access { pos: self.event.position.into(), ..Access::write(name.clone(), new.bytes.clone()) };
        if let Err(error) = is_empty_text(&access) {
            return Some(if self.event.position == 0 {
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
