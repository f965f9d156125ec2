//! Events that are alike, with the first and the last one as examples.

use std::time::SystemTime;

use knobgate_events::{EventText, StreamEvent, StreamItem};
use knobgate_policy::AccessKind;
use knobgate_policy::filter::OutcomeKind;

use crate::counts::outcome;
use crate::kept::{keep, label, start};

/// The most classes: of each, two examples are kept.
pub(crate) const CLASSES_MAX: usize = 6000;

/// What the events of a class have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ClassKey {
    /// What became of the accesses.
    pub outcome: Option<OutcomeKind>,
    /// The errno of a denial.
    pub errno: Option<u16>,
    /// Whether the knob was read or written.
    pub kind: AccessKind,
    /// The number of the knob.
    pub knob: usize,
    /// The number of the workload.
    pub workload: usize,
    /// The number of the rule; `None` for an observer, which has none.
    pub rule: Option<usize>,
}

/// Events that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Class {
    /// What they have in common.
    pub key: ClassKey,
    /// How many there were.
    pub events: u64,
    /// The first one in the stream.
    pub first: Example,
    /// The last one in the stream; `None` if there was only one.
    pub last: Option<Example>,
}

/// What differs between the events of a class. What is not known is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Example {
    /// When.
    pub time: Option<SystemTime>,
    /// The process id of the task.
    pub pid: Option<u32>,
    /// The user id of the task.
    pub uid: Option<u32>,
    /// The name of the task.
    pub comm: Option<Vec<u8>>,
    /// The file position.
    pub position: u32,
    /// Whether the values are secret.
    pub secret: bool,
    /// The value before.
    pub old: Option<EventText>,
    /// The value that was written.
    pub new: Option<EventText>,
    /// The value that replaced it.
    pub stored: Option<EventText>,
    /// The errno with which another program had denied the access.
    pub denied_before: Option<u16>,
    /// Whether the rule could not be evaluated.
    pub eval_error: bool,
    /// Why it could not.
    pub reason: Option<String>,
}

impl ClassKey {
    pub(crate) fn new(event: &StreamEvent, knob: u32, workload: u32, rule: Option<u32>) -> Self {
        let (outcome, errno) = outcome(&event.event);
        let rule = rule.map(|rule| rule as usize);
        Self {
            outcome,
            errno,
            kind: event.event.kind,
            knob: knob as usize,
            workload: workload as usize,
            rule,
        }
    }
}

impl Class {
    pub(crate) fn new(key: ClassKey, item: &StreamItem, event: &StreamEvent) -> Self {
        let mut first = Example::default();
        first.set(item, event);
        Self { key, events: 1, first, last: None }
    }

    pub(crate) fn add(&mut self, item: &StreamItem, event: &StreamEvent) {
        self.events += 1;
        self.last.get_or_insert_default().set(item, event);
    }
}

impl Example {
    /// Becomes the example of this event. It keeps its allocations: most events are the last one of their class for a while.
    fn set(&mut self, item: &StreamItem, StreamEvent { event, eval_error, .. }: &StreamEvent) {
        self.time = item.time;
        self.pid = event.pid;
        self.uid = event.uid;
        match &event.comm {
            Some(comm) => {
                let kept = self.comm.get_or_insert_default();
                kept.clear();
                kept.extend(start(comm));
            }
            None => self.comm = None,
        }
        self.position = event.position;
        self.secret = event.secret;
        set_value(&mut self.old, event.old.as_ref());
        set_value(&mut self.new, event.new.as_ref());
        set_value(&mut self.stored, event.stored.as_ref());
        self.denied_before = event.denied_before;
        self.eval_error = event.rule.eval_error;
        self.reason = eval_error.as_deref().map(|reason| label(reason).into_owned());
    }
}

fn set_value(kept: &mut Option<EventText>, value: Option<&EventText>) {
    match value {
        Some(value) => keep(kept.get_or_insert_default(), value),
        None => *kept = None,
    }
}
