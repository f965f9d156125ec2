//! The result: what happened, counted.

use knobgate_events::EventText;
use knobgate_policy::filter::OutcomeKind;

use crate::class::Class;
use crate::counts::Counts;
use crate::history::History;
use crate::moment::Span;
use crate::number::{count, number};
use crate::timeline::Timeline;

/// What a stream of events says, counted. The number of an entry of a list is its place there, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The events.
    pub events: Counts,
    /// How many events were counted and not sent, because of the limit of their rule.
    pub suppressed: u64,
    /// How many events were lost.
    pub lost: u64,
    /// From when to when.
    pub span: Span,
    /// How many items have no time.
    pub without_time: u64,
    /// How often the wall clock was set by more than a second, as far as the times of events show.
    pub clock_changes: u64,
    /// The boots of machines.
    pub boots: Vec<Boot>,
    /// The attachments and observers.
    pub attachments: Vec<Attachment>,
    /// Events over time.
    pub timeline: Timeline,
    /// The knobs, in the order of their first events.
    pub knobs: Vec<Knob>,
    /// The workloads, in the order of their first events.
    pub workloads: Vec<Workload>,
    /// The knobs and workloads that have events together.
    pub cells: Vec<Cell>,
    /// The rules, in the order of their first events.
    pub rules: Vec<Rule>,
    /// The classes, in the order of their first events.
    pub classes: Vec<Class>,
    /// What found no room in the lists.
    pub further: Further,
}

impl Report {
    /// What happened, on one line: `20 events: 9 denied, 2 rewritten; 38 suppressed, 12 lost`.
    pub fn headline(&self) -> String {
        let of = |outcome| self.events.of(outcome);
        let list = |counts: &[(u64, &str)]| {
            let counts = counts.iter().filter(|(count, _)| *count > 0);
            counts.map(|(count, what)| format!("{} {what}", number(*count))).collect::<Vec<_>>().join(", ")
        };
        let events = match self.events.total() {
            0 => "no events".to_owned(),
            events => count(events, "event"),
        };
        let outcomes = list(&[
            (of(OutcomeKind::Denied), "denied"),
            (of(OutcomeKind::Rewritten), "rewritten"),
            (of(OutcomeKind::WouldDeny), "would be denied"),
            (of(OutcomeKind::WouldRewrite), "would be rewritten"),
            (of(OutcomeKind::Allowed), "allowed"),
            (self.events.of(None), "of unknown outcome"),
        ]);
        let unsent = list(&[(self.suppressed, "suppressed"), (self.lost, "lost")]);
        let outcomes = if outcomes.is_empty() { outcomes } else { format!(": {outcomes}") };
        let unsent = if unsent.is_empty() { unsent } else { format!("; {unsent}") };
        format!("{events}{outcomes}{unsent}")
    }
}

/// A boot of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Boot {
    /// Which one, escaped; `None` if the items do not say.
    pub id: Option<String>,
    /// How many events there are of it.
    pub events: u64,
    /// From when to when.
    pub span: Span,
}

/// An attachment, or an observer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attachment {
    /// Its name, escaped; `None` if the events do not say.
    pub name: Option<String>,
    /// The name of its policy, escaped.
    pub policy: Option<String>,
    /// Whether it is an observer.
    pub observer: bool,
    /// Its events.
    pub events: Counts,
    /// How many events were counted and not sent.
    pub suppressed: u64,
    /// From when to when.
    pub span: Span,
}

/// A knob.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Knob {
    /// Its path below `/proc/sys`, as it was recorded.
    pub path: EventText,
    /// Its events.
    pub events: Counts,
    /// Its values.
    pub history: History,
}

/// What runs in a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Workload {
    /// What it is called, escaped.
    pub label: String,
    /// Its events.
    pub events: Counts,
}

/// A knob and a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cell {
    /// The number of the knob; `None` for all that found no room.
    pub knob: Option<usize>,
    /// The number of the workload; `None` for all that found no room.
    pub workload: Option<usize>,
    /// Their events.
    pub events: Counts,
}

/// A rule, or a default, of one attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// Where it is, escaped: `web/tour:8`.
    pub place: String,
    /// Its text, escaped.
    pub text: String,
    /// What it decided, even if another program had denied the access before.
    pub decided: Counts,
    /// How often it could not be evaluated.
    pub eval_errors: u64,
    /// How many of its events were counted and not sent.
    pub suppressed: u64,
    /// From when to when.
    pub span: Span,
}

/// What found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Further {
    /// Items of further boots.
    pub boots: u64,
    /// Events of further attachments.
    pub attachments: u64,
    /// Events of further knobs.
    pub knobs: u64,
    /// Events of further workloads.
    pub workloads: u64,
    /// Events of knobs and workloads that are known, but whose pair found no room. They count as those of further workloads.
    pub cells: u64,
    /// Events of further rules.
    pub rules: u64,
    /// Events of further classes.
    pub classes: u64,
}
