//! One line for each item of a stream.

use std::fmt::Write;

use anstyle::Style;
use knobgate_events::{Event, EventOutcome, EventVerdict, StreamContent, StreamEvent, StreamItem};
use knobgate_policy::{AccessKind, Mode};

use super::words::{self, Length};
use crate::style::{ALLOW, DENY, DIM, REWRITE, WARNING};
use crate::timestamp;

/// The widths of the columns. What is longer pushes the rest of its line to the right.
const TIME: usize = "12:04:31.482 ".len();
const VERDICT: usize = "WOULD-REWRITE ".len();
const ACCESS: usize = "write ".len();
const KNOB: usize = 48;
const WORKLOAD: usize = 20;
const TASK: usize = 20;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// Everything.
    All,
    /// What differs between events of the same rule and cgroup.
    RuleAndCgroupAreKnown,
}

/// A line about an item, without a newline: when, the verdict, the access, whose it is, and the rule.
pub(crate) fn line(item: &StreamItem, length: Length, about: About) -> String {
    let mut line = Columns::default();
    let time = item.time.map(timestamp::time_of_day).unwrap_or_default();
    line.column(DIM, &time, TIME);
    item_columns(&mut line, item, length, about);
    line.text()
}

/// The same in pieces, without the time.
pub(crate) fn pieces(item: &StreamItem, length: Length, about: About) -> Vec<Piece> {
    let mut line = Columns::default();
    item_columns(&mut line, item, length, about);
    line.pieces
}

/// The same as text that is not in columns.
pub(crate) fn sentence(item: &StreamItem) -> String {
    let pieces = pieces(item, Length::Full, About::All);
    let texts: Vec<String> =
        pieces.into_iter().map(|piece| piece.text).filter(|text| !text.trim().is_empty()).collect();
    texts.join(" ")
}

/// A part of a line, of one style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) style: Style,
    /// Escaped.
    pub(crate) text: String,
}

fn item_columns(line: &mut Columns, item: &StreamItem, length: Length, about: About) {
    match &item.content {
        StreamContent::Event(event) => event_columns(line, item, event, length, about),
        StreamContent::Suppressed(suppressed) => {
            line.column(WARNING, "SUPPRESSED", VERDICT);
            line.column(Style::new(), &events(suppressed.count), ACCESS + KNOB);
            line.column(Style::new(), &words::workload(item, length).unwrap_or_default(), WORKLOAD);
            line.column(Style::new(), "", TASK);
            line.column(DIM, &words::rule(item).unwrap_or_default(), 0);
        }
        StreamContent::Lost(lost) => {
            line.column(WARNING, "LOST", VERDICT);
            line.column(Style::new(), &format!("{}: they came too fast to be read", events(lost.count)), 0);
        }
    }
}

/// A line about what happened in an event, without when and to whom: the verdict, the access, and the rule.
pub(crate) fn what_happened(stream_event: &StreamEvent, rule: &str, length: Length) -> String {
    let mut line = Columns::default();
    let (style, verdict) = verdict(&stream_event.event);
    line.column(style, &verdict, VERDICT);
    line.column(Style::new(), words::access(stream_event.event.kind), ACCESS);
    line.column(Style::new(), &knob_and_values(stream_event, length), KNOB);
    line.column(DIM, rule, 0);
    for note in notes(stream_event) {
        line.column(Style::new(), "", 2);
        line.column(Style::new(), &note, 0);
    }
    line.text()
}

fn events(count: u64) -> String {
    format!("{count} event{}", if count == 1 { "" } else { "s" })
}

fn event_columns(
    line: &mut Columns,
    item: &StreamItem,
    stream_event: &StreamEvent,
    length: Length,
    about: About,
) {
    let event = &stream_event.event;
    let (style, verdict) = verdict(event);
    line.column(style, &verdict, VERDICT);
    line.column(Style::new(), words::access(event.kind), ACCESS);
    line.column(Style::new(), &knob_and_values(stream_event, length), KNOB);
    if about == About::All {
        line.column(Style::new(), &words::workload(item, length).unwrap_or_default(), WORKLOAD);
        line.column(Style::new(), &task(event), TASK);
        let rule = words::rule(item).filter(|_| !event.observer);
        line.column(DIM, &rule.unwrap_or_default(), 0);
    } else {
        line.column(Style::new(), &task(event), 0);
    }
    for note in notes(stream_event) {
        line.column(Style::new(), "", 2);
        line.column(Style::new(), &note, 0);
    }
}

/// What became of the access.
pub(crate) fn verdict(event: &Event) -> (Style, String) {
    let denied = |word: &str, errno: u16| format!("{word} {}", words::errno(errno));
    match event.outcome() {
        EventOutcome::Allowed => (ALLOW, "ALLOW".to_owned()),
        EventOutcome::Rewritten => (REWRITE, "REWRITE".to_owned()),
        EventOutcome::WouldDeny(errno) => (REWRITE, denied("WOULD-DENY", errno)),
        EventOutcome::WouldRewrite => (REWRITE, "WOULD-REWRITE".to_owned()),
        EventOutcome::Unknown => (WARNING, "OBSERVED".to_owned()),
        EventOutcome::Denied(errno) if denies_here(event) => (DENY, denied("DENY", errno)),
        EventOutcome::Denied(errno) => (DENY, denied("DENIED-BEFORE", errno)),
    }
}

/// Whether this policy denies the access, whatever others do.
fn denies_here(event: &Event) -> bool {
    event.mode == Mode::Enforce && matches!(event.verdict, EventVerdict::Deny(_))
}

/// `net.core.somaxconn "9999999\n" → "65535\n\n\n" was "4096\n"`
fn knob_and_values(stream_event: &StreamEvent, length: Length) -> String {
    let event = &stream_event.event;
    let mut text = words::knob(&event.knob);
    // Writing to a String cannot fail.
    if event.position > 0 {
        let _ = write!(text, " at {}", event.position);
    }
    if event.secret {
        text.push_str(" (a secret)");
    }
    let new = event.new.as_ref().map(|new| words::value(new, length));
    let replacement = || stream_event.replacement.as_deref().map(|value| words::quoted(value, length));
    let replacement = match event.verdict {
        EventVerdict::Rewrite => {
            event.stored.as_ref().map(|stored| words::value(stored, length)).or_else(replacement)
        }
        EventVerdict::Allow | EventVerdict::Deny(_) => None,
    };
    for part in [new, replacement.map(|replacement| format!("→ {replacement}"))].into_iter().flatten() {
        let _ = write!(text, " {part}");
    }
    if let Some(old) = &event.old {
        let was = if event.kind == AccessKind::Write { "was " } else { "" };
        let _ = write!(text, " {was}{}", words::value(old, length));
    }
    text
}

/// `sh[4121] uid=0`
pub(crate) fn task(event: &Event) -> String {
    let mut text = event.comm.as_deref().map(words::name).unwrap_or_default().into_owned();
    if let Some(pid) = event.pid {
        let _ = write!(text, "[{pid}]");
    }
    if let Some(uid) = event.uid {
        let blank = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{blank}uid={uid}");
    }
    text
}

/// What else there is to say.
fn notes(stream_event: &StreamEvent) -> Vec<String> {
    let event = &stream_event.event;
    let mut notes = Vec::new();
    if event.rule.eval_error {
        let reason = stream_event.eval_error.as_deref().map(crate::printable::printable);
        notes.push(match reason {
            Some(reason) => format!("(cannot be evaluated: {reason})"),
            None => "(cannot be evaluated)".to_owned(),
        });
    }
    // An observer has no say.
    if let Some(before) = event.denied_before.filter(|_| !event.observer) {
        notes.push(match event.verdict {
            _ if denies_here(event) => format!("(denied before: {})", words::errno(before)),
            EventVerdict::Allow => "(this policy allows it)".to_owned(),
            EventVerdict::Rewrite => "(this policy rewrites it)".to_owned(),
            EventVerdict::Deny(errno) => format!("(this policy would deny it: {errno})"),
        });
    }
    notes
}

/// A line that is filled from the left, in columns.
#[derive(Debug, Default)]
struct Columns {
    pieces: Vec<Piece>,
    /// How many characters it has, without styles.
    width: usize,
    /// Where the next column starts.
    next: usize,
}

impl Columns {
    /// Adds `text`, and at least so many characters until the next column.
    fn column(&mut self, style: Style, text: &str, width: usize) {
        if !text.is_empty() {
            let start = if self.width > 0 && self.width >= self.next { self.width + 2 } else { self.next };
            if start > self.width {
                let text = " ".repeat(start - self.width);
                self.pieces.push(Piece { style: Style::new(), text });
            }
            self.pieces.push(Piece { style, text: text.to_owned() });
            self.width = start + text.chars().count();
            self.next = start;
        }
        self.next += width;
    }

    fn text(&self) -> String {
        let mut line = String::new();
        for Piece { style, text } in &self.pieces {
            // Writing to a String cannot fail.
            let _ = write!(line, "{style}{text}{style:#}");
        }
        line
    }
}
