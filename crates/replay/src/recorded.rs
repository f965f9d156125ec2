//! From events to accesses.

use std::fmt;

use knobgate_events::{Event, EventText};
use knobgate_policy::{Access, AccessKind, Input, Inputs, KnobName, Task};

/// An access, as far as an event has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// The access. Where something is unknown, there is anything. A value that is too long for rules to look at may be another
    /// one that is too long.
    pub access: Access,
    /// What is unknown of it.
    pub unknown: Inputs,
    /// Whether its values are secret.
    is_secret: bool,
}

/// Something that an event does not have, and on which a verdict depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unknown {
    /// The name of the knob: only its start was recorded.
    Knob,
    /// The values of a knob whose values are secret.
    Secret,
    /// The written value: only its start was recorded.
    New,
    /// The current value: only its start was recorded.
    Old,
    /// The user id.
    Uid,
    /// The group id.
    Gid,
    /// The name of the task.
    Comm,
    /// The network namespace that owns the knob: an event has that of the task, which can be another one.
    KnobNetns,
    /// The value that replaced the written one.
    Replacement,
    /// What became of the access: an observer saw it, and other programs decided.
    Outcome,
}

impl Recorded {
    /// The access of an event.
    ///
    /// # Errors
    /// The name of the knob is unknown.
    pub fn of(event: &Event) -> Result<Self, Unknown> {
        let name = (event.knob.cut_from.is_none()).then(|| KnobName::from_path(&*event.knob.bytes).ok());
        let knob = name.flatten().ok_or(Unknown::Knob)?;
        let mut unknown = vec![Input::Netns];
        let mut value = |text: &Option<EventText>, input: Input| {
            let Some(text) = text else { return None };
            let known = text.seen_by_rules();
            unknown.extend(known.is_none().then_some(input));
            Some(known.unwrap_or_default())
        };
        let (new, old) = (value(&event.new, Input::New), value(&event.old, Input::Old));
        let new = match event.kind {
            AccessKind::Read => None,
            // The hook shows nothing of an empty write.
            AccessKind::Write => Some(new.unwrap_or_default()),
        };
        if event.secret {
            unknown.extend(old.is_none().then_some(Input::Old));
            // At another position, no rule that looks at the new value can be evaluated, whatever it is.
            let is_unknown = event.kind == AccessKind::Write && event.new.is_none() && event.position == 0;
            unknown.extend(is_unknown.then_some(Input::New));
        }
        unknown.extend(event.uid.is_none().then_some(Input::Uid));
        unknown.extend(event.gid.is_none().then_some(Input::Gid));
        unknown.extend(event.comm.is_none().then_some(Input::Comm));
        let task = Task::default().uid(event.uid.unwrap_or_default()).gid(event.gid.unwrap_or_default());
        let task = task.comm(event.comm.clone().unwrap_or_default());
        let access = Access { knob, new, old, pos: event.position.into(), knob_netns: None, task };
        Ok(Self { access, unknown: unknown.into_iter().collect(), is_secret: event.secret })
    }

    /// The same inputs, by why they are unknown.
    pub(crate) fn reasons(&self, inputs: Inputs) -> Vec<Unknown> {
        let of = |input| match input {
            Input::New | Input::Old if self.is_secret => Unknown::Secret,
            Input::New => Unknown::New,
            Input::Old => Unknown::Old,
            Input::Uid => Unknown::Uid,
            Input::Gid => Unknown::Gid,
            Input::Comm => Unknown::Comm,
            Input::Netns => Unknown::KnobNetns,
        };
        let all = [Input::New, Input::Old, Input::Uid, Input::Gid, Input::Comm, Input::Netns];
        let mut reasons: Vec<Unknown> =
            all.into_iter().filter(|&input| inputs.contains(input)).map(of).collect();
        reasons.dedup();
        reasons
    }
}

/// As in "the user id".
impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Knob => "the whole name of the knob",
            Self::Secret => "the secret values",
            Self::New => "the whole value that was written",
            Self::Old => "the whole current value",
            Self::Uid => "the user id",
            Self::Gid => "the group id",
            Self::Comm => "the name of the task",
            Self::KnobNetns => "the network namespace that owns the knob",
            Self::Replacement => "the value that replaced the written one",
            Self::Outcome => "what became of the access",
        })
    }
}
