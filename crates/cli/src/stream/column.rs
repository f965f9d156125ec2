//! Chosen fields of items, in columns between tabs.

use knobgate_events::{EventOutcome, StreamContent, StreamItem};
use knobgate_policy::Mode;
use knobgate_policy::filter::{EventType, Fields, IntegerField, OutcomeKind, TextField, VerdictKind};

use super::rule_text;
use super::words::{self, Length};
use crate::printable::printable;
use crate::timestamp;

/// A field of an item. The names are those of filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[clap(rename_all = "snake_case")]
pub(crate) enum Column {
    Type,
    Time,
    Verdict,
    Outcome,
    Errno,
    Access,
    Knob,
    Old,
    New,
    Stored,
    Pos,
    Pid,
    Tid,
    Uid,
    Gid,
    Comm,
    Policy,
    Attachment,
    Rule,
    Line,
    Cgroup,
    CgroupId,
    Container,
    ContainerId,
    Pod,
    Namespace,
    Image,
    Unit,
    Netns,
    Utsns,
    Ipcns,
    Userns,
    Pidns,
    Mntns,
    Mode,
    Count,
}

/// The fields of an item, between tabs. What is not known is empty.
pub(crate) fn columns(item: &StreamItem, columns: &[Column]) -> String {
    columns.iter().map(|&column| text(item, column).unwrap_or_default()).collect::<Vec<_>>().join("\t")
}

/// The text of a column. It has no tab: everything that a terminal interprets is escaped.
pub(crate) fn text(item: &StreamItem, column: Column) -> Option<String> {
    let event = item.event().map(|event| &event.event);
    let integer = |field: IntegerField| item.integer(field).map(|number| number.to_string());
    let chosen = |field: TextField| item.text(field).map(|text| printable(text).into_owned());
    let value = |value: &knobgate_events::EventText| words::value(value, Length::Full);
    match column {
        Column::Type => Some(of_type(item.event_type()).to_owned()),
        Column::Time => item.time.map(timestamp::rfc_3339),
        Column::Verdict => item.verdict().map(|verdict| of_verdict(verdict).to_owned()),
        Column::Outcome => item.outcome().map(|outcome| of_outcome(outcome).to_owned()),
        Column::Errno => match event?.outcome() {
            EventOutcome::Denied(errno) | EventOutcome::WouldDeny(errno) => Some(words::errno(errno)),
            _ => None,
        },
        Column::Access => item.access().map(|kind| words::access(kind).to_owned()),
        Column::Knob => event.map(|event| words::knob(&event.knob)),
        Column::Old => event?.old.as_ref().map(value),
        Column::New => event?.new.as_ref().map(value),
        Column::Stored => event?.stored.as_ref().map(value),
        Column::Pos => integer(IntegerField::Pos),
        Column::Pid => integer(IntegerField::Pid),
        Column::Tid => integer(IntegerField::Tid),
        Column::Uid => integer(IntegerField::Uid),
        Column::Gid => integer(IntegerField::Gid),
        Column::Comm => chosen(TextField::Comm),
        Column::Policy => chosen(TextField::Policy),
        Column::Attachment => chosen(TextField::Attachment),
        Column::Rule => item.rule().map(|rule| rule_text(&rule.text)),
        Column::Line => integer(IntegerField::Line),
        Column::Cgroup => chosen(TextField::Cgroup),
        Column::CgroupId => integer(IntegerField::CgroupId),
        Column::Container => chosen(TextField::Container),
        Column::ContainerId => chosen(TextField::ContainerId),
        Column::Pod => chosen(TextField::Pod),
        Column::Namespace => chosen(TextField::Namespace),
        Column::Image => chosen(TextField::Image),
        Column::Unit => chosen(TextField::Unit),
        Column::Netns => integer(IntegerField::Netns),
        Column::Utsns => integer(IntegerField::Utsns),
        Column::Ipcns => integer(IntegerField::Ipcns),
        Column::Userns => integer(IntegerField::Userns),
        Column::Pidns => integer(IntegerField::Pidns),
        Column::Mntns => integer(IntegerField::Mntns),
        Column::Mode => item.mode().map(|mode| of_mode(mode).to_owned()),
        Column::Count => match &item.content {
            StreamContent::Event(_) => None,
            StreamContent::Suppressed(suppressed) => Some(suppressed.count.to_string()),
            StreamContent::Lost(lost) => Some(lost.count.to_string()),
        },
    }
}

fn of_type(event_type: EventType) -> &'static str {
    match event_type {
        EventType::Event => "event",
        EventType::Suppressed => "suppressed",
        EventType::Lost => "lost",
    }
}

fn of_verdict(verdict: VerdictKind) -> &'static str {
    match verdict {
        VerdictKind::Allow => "allow",
        VerdictKind::Deny => "deny",
        VerdictKind::Rewrite => "rewrite",
    }
}

/// As in JSON.
fn of_outcome(outcome: OutcomeKind) -> &'static str {
    match outcome {
        OutcomeKind::Allowed => "allowed",
        OutcomeKind::Denied => "denied",
        OutcomeKind::Rewritten => "rewritten",
        OutcomeKind::WouldDeny => "would-deny",
        OutcomeKind::WouldRewrite => "would-rewrite",
    }
}

fn of_mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Audit => "audit",
    }
}
