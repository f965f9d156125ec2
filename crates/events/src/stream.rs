//! A stream of events, with what a reader adds to them.

use std::time::SystemTime;

use knobgate_policy::AccessKind;

use crate::event::{Event, EventOutcome, EventRule, EventText};
use crate::reconstruct::reconstruct;
use crate::workload::StreamWorkload;

/// One item of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamItem {
    /// Its number in this stream, from 1.
    pub sequence: u64,
    /// When it happened, by the wall clock as the reader saw it.
    pub time: Option<SystemTime>,
    /// Which boot of the machine: `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Option<String>,
    /// Whose it is.
    pub context: StreamContext,
    /// What happened.
    pub content: StreamContent,
}

/// What a reader knows about the attachment and the cgroup of an item.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamContext {
    /// The name of the attachment.
    pub attachment: Option<String>,
    /// The path of the cgroup.
    pub cgroup_path: Option<Vec<u8>>,
    /// What runs in the cgroup.
    pub workload: Option<StreamWorkload>,
}

/// What an item of a stream reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamContent {
    /// An access.
    Event(Box<StreamEvent>),
    /// A rule has sent as many events as it may.
    Suppressed(Box<Suppressed>),
    /// The reader was too slow.
    Lost(Lost),
}

/// An event, with what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEvent {
    /// The event.
    pub event: Event,
    /// Why the rule could not be evaluated.
    pub eval_error: Option<String>,
    /// The value that the rule replaces the written one with. In audit mode that is not stored.
    pub replacement: Option<Vec<u8>>,
}

/// Events that were counted, but not sent: their rule had sent as many as it may in a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// When that was last noticed, in nanoseconds of `CLOCK_BOOTTIME`.
    pub boot_time: u64,
    /// The name of the policy.
    pub policy: Option<String>,
    /// The rule.
    pub rule: Option<EventRule>,
    /// The id of the cgroup; `None` for all cgroups that came too late for the memory of the policy.
    pub cgroup_id: Option<u64>,
    /// The memory of the program that counted them, as [`Event::origin`] has it.
    pub origin: Option<u64>,
    /// How many there were since this was last said.
    pub count: u64,
}

/// Events that found no room in the buffer of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// When that was noticed, in nanoseconds of `CLOCK_BOOTTIME`.
    pub boot_time: u64,
    /// How many there were since this was last said.
    pub count: u64,
}

impl StreamItem {
    /// When it happened, in nanoseconds of `CLOCK_BOOTTIME`.
    pub fn boot_time(&self) -> u64 {
        match &self.content {
            StreamContent::Event(event) => event.event.boot_time,
            StreamContent::Suppressed(suppressed) => suppressed.boot_time,
            StreamContent::Lost(lost) => lost.boot_time,
        }
    }
}

impl StreamEvent {
    /// The value that a write gave to the knob, which may have rejected it. `None` if it gave none, or if the value is not known
    /// as a whole: what a knob does with a write that is not at the start of the file depends on its handler.
    pub fn written(&self) -> Option<&[u8]> {
        let Self { event, replacement, .. } = self;
        match event.outcome() {
            _ if event.kind == AccessKind::Read => None,
            EventOutcome::Denied(_) | EventOutcome::Unknown => None,
            EventOutcome::Rewritten => whole(event.stored.as_ref()).or(replacement.as_deref()),
            EventOutcome::Allowed | EventOutcome::WouldDeny(_) | EventOutcome::WouldRewrite => {
                whole(event.new.as_ref()).filter(|_| event.position == 0)
            }
        }
    }
}

fn whole(text: Option<&EventText>) -> Option<&[u8]> {
    text.filter(|text| text.cut_from.is_none()).map(|text| &*text.bytes)
}

impl From<Event> for StreamEvent {
    /// With what follows from the event alone: see [`reconstruct`].
    fn from(event: Event) -> Self {
        let reconstructed = reconstruct(&event);
        Self {
            eval_error: reconstructed.eval_error.map(|error| error.to_string()),
            replacement: reconstructed.replacement,
            event,
        }
    }
}
