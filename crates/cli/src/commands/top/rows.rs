//! The rows of the panes: their order, and their columns.

use std::cmp::Reverse;

use anstyle::Style;
use knobgate_policy::Mode;

use super::activity::{Activity, Entry};
use super::cells;
use super::model::Model;
use super::pane::{Order, Pane};
use super::rate::{MINUTE, Rate, rate, sparkline};
use super::shown::Without;
use super::table::Row as _;
use super::tallies::{AttachmentRow, Column, KnobRow, Owner, RuleKey, RuleRow};
use crate::printable::printable;
use crate::stream;
use crate::stream::line::{About, Piece, pieces};
use crate::stream::words::{self, Length};
use crate::style::{DENY, DIM, HEADING, WARNING};
use crate::timestamp;

/// A row of a pane.
#[derive(Debug, Clone, Copy)]
pub(super) enum PaneRow<'a> {
    Attachment(&'a Owner, &'a AttachmentRow),
    Rule(&'a RuleKey, &'a RuleRow),
    Event(&'a Entry),
    Knob(&'a [u8], &'a KnobRow),
}

/// What is before the first column: whether a row is chosen.
const MARK: usize = 2;
/// The widths of the columns after the first one, which has the rest.
const ATTACHMENT_COLUMNS: [(&str, usize); 7] = [
    ("MODE", 7),
    ("DENIED/s", 8),
    ("WOULD/s", 7),
    ("REWR/s", 6),
    ("ALLOW/s", 7),
    ("SUPPR/s", 7),
    ("TOTAL", 8),
];
const PLACE: usize = 12;
const BARS: usize = 12;
const TOTAL: usize = 8;
const KNOB_COLUMNS: [(&str, usize); 5] =
    [("DENIED", 8), ("WOULD", 8), ("REWR", 8), ("ALLOWED", 8), ("LAST", TIME)];
/// From which width on the columns of an event fit, as `watch` has them.
const WIDE: usize = 160;
/// `12:04:31.482`, or `earlier 12:04`
const TIME: usize = 13;

/// The rows of a pane, in the order of the model.
pub(super) fn rows(model: &Model, pane: Pane) -> Vec<PaneRow<'_>> {
    let (shown, order, now) = (model.activity().shown(), model.order(pane), model.second());
    let minute = |rate: &Rate| Reverse(rate.last(now, MINUTE));
    match pane {
        Pane::Attachments => {
            let mut rows: Vec<_> = shown.attachments.iter().collect();
            rows.sort_by_cached_key(|(owner, row)| {
                let ranks = match order {
                    Order::Denials => row.rates.each_ref().map(minute),
                    Order::Total => [Reverse(row.events()), Reverse(0), Reverse(0), Reverse(0)],
                    Order::Latest => [Reverse(row.last()), Reverse(0), Reverse(0), Reverse(0)],
                    Order::Oldest | Order::Name => [Reverse(0); 4],
                };
                (ranks, owner_name(owner, row.policy.as_deref()), row.id)
            });
            rows.into_iter().map(|(owner, row)| PaneRow::Attachment(owner, row)).collect()
        }
        Pane::Rules => {
            let mut rows: Vec<_> = shown.rules.iter().collect();
            rows.sort_by_cached_key(|(_, row)| {
                let (rank, number) = match order {
                    Order::Denials => (row.rank, minute(&row.rate)),
                    Order::Total => (0, Reverse(row.events())),
                    Order::Latest | Order::Oldest => (0, Reverse(row.last)),
                    Order::Name => (0, Reverse(0)),
                };
                let name = (order == Order::Name).then(|| (row.workload.clone(), rule_text(row)));
                (rank, number, name, Reverse(row.last), row.id)
            });
            rows.into_iter().map(|(key, row)| PaneRow::Rule(key, row)).collect()
        }
        Pane::Events => {
            let items = shown.items.iter().map(|entry| PaneRow::Event(entry));
            if order == Order::Oldest { items.rev().collect() } else { items.collect() }
        }
        Pane::Knobs => {
            let mut rows: Vec<_> = shown.knobs.iter().collect();
            rows.sort_by_cached_key(|(knob, row)| {
                let number = match order {
                    Order::Denials => row.counts[Column::Denied as usize],
                    Order::Total => row.events(),
                    Order::Latest | Order::Oldest => row.last,
                    Order::Name => 0,
                };
                (Reverse(number), (*knob).clone())
            });
            rows.into_iter().map(|(knob, row)| PaneRow::Knob(knob, row)).collect()
        }
    }
}

/// The ids of the rows of a pane, in their order.
pub(super) fn ids(model: &Model, pane: Pane) -> Vec<u64> {
    rows(model, pane).iter().map(PaneRow::id).collect()
}

/// The line above the rows of a pane, of which there are so many, and so many more had to be left out.
pub(super) fn heading(pane: Pane, rows: usize, left_out: u64, has_focus: bool, width: usize) -> Vec<Piece> {
    let name = match pane {
        Pane::Attachments => "ATTACHMENTS",
        Pane::Rules => "RULES",
        Pane::Events => "EVENTS",
        Pane::Knobs => "KNOBS",
    };
    let name = format!("{name} {rows}");
    let cells = match pane {
        Pane::Attachments => {
            columns(name, ATTACHMENT_COLUMNS.map(|(title, cells)| (title.to_owned(), cells, true)), width)
        }
        Pane::Rules => {
            let [place, workload, minute, total] = ["PLACE", "WORKLOAD", "LAST MINUTE", "TOTAL"];
            rule_columns(name, [place, workload, minute, total].map(str::to_owned), width)
        }
        Pane::Events if left_out > 0 => format!("{name}  ({left_out} older ones are left out)"),
        Pane::Events => name,
        Pane::Knobs => {
            columns(name, KNOB_COLUMNS.map(|(title, cells)| (title.to_owned(), cells, true)), width)
        }
    };
    let mark = if has_focus { "▶ " } else { "  " };
    let style = if has_focus { HEADING.underline() } else { Style::new().underline() };
    vec![Piece { style, text: cells::left(&format!("{mark}{cells}"), width) }]
}

/// The first column, which has the rest of the width, and others: text, width, and whether it is a number.
fn columns<const N: usize>(first: String, others: [(String, usize, bool); N], width: usize) -> String {
    let needed: usize = others.iter().map(|(_, cells, _)| cells + 1).sum();
    let mut line = cells::left(&first, width.saturating_sub(MARK + needed));
    for (text, cells, is_number) in others {
        line.push(' ');
        line += &if is_number { cells::right(&text, cells) } else { cells::left(&text, cells) };
    }
    line
}

fn rule_columns(rule: String, [place, workload, bars, total]: [String; 4], width: usize) -> String {
    columns(
        rule,
        [
            (place, PLACE.max(width / 8), false),
            (workload, workload_cells(width), false),
            (bars, BARS, false),
            (total, TOTAL, true),
        ],
        width,
    )
}

/// The width of the column of workloads.
fn workload_cells(width: usize) -> usize {
    20.max(width / 5)
}

impl PaneRow<'_> {
    pub(super) fn id(&self) -> u64 {
        match self {
            Self::Attachment(_, row) => row.id,
            Self::Rule(_, row) => row.id,
            Self::Event(entry) => entry.id,
            Self::Knob(_, row) => row.id,
        }
    }

    /// The row on one line of this width, in this second.
    pub(super) fn line(&self, now: u64, width: usize, is_chosen: bool) -> Vec<Piece> {
        let mark = Piece { style: HEADING, text: if is_chosen { "> " } else { "  " }.to_owned() };
        let mut line = vec![mark];
        match *self {
            Self::Attachment(owner, row) => line.extend(attachment_line(owner, row, now, width)),
            Self::Rule(key, row) => line.push(rule_line(key, row, now, width)),
            Self::Event(entry) => line.extend(event_line(entry, width)),
            Self::Knob(knob, row) => line.extend(knob_line(knob, row, width)),
        }
        cells::cut_pieces(&line, width)
    }
}

fn attachment_line(owner: &Owner, row: &AttachmentRow, now: u64, width: usize) -> Vec<Piece> {
    let gone = if row.gone_since.is_some() { "(gone) " } else { "" };
    let no_cgroup = if row.cgroups == Some(0) && gone.is_empty() { "(no cgroup) " } else { "" };
    let name = format!("{gone}{no_cgroup}{}", owner_name(owner, row.policy.as_deref()));
    let rates = row.rates.iter().chain([&row.suppressed_rate]).map(|one| rate(one.per_second(now)));
    let values = [row.mode.map_or("", mode).to_owned()].into_iter().chain(rates);
    let mut values = values.chain([row.events().to_string()]);
    let text = columns(
        name,
        ATTACHMENT_COLUMNS.map(|(_, cells)| (values.next().unwrap_or_default(), cells, true)),
        width,
    );
    let denies = row.rates[Column::Denied as usize].per_second(now) > 0.0;
    vec![Piece { style: row_style(denies, row.gone_since.is_some()), text }]
}

fn rule_line(key: &RuleKey, row: &RuleRow, now: u64, width: usize) -> Piece {
    let is_gone = row.gone_since.is_some();
    let gone = if is_gone { "(gone) " } else { "" };
    let minute = match row.sent + row.suppressed {
        0 => "earlier".to_owned(),
        _ => sparkline(&row.rate.bars(now, BARS)),
    };
    let is_path = row.cgroup_path.as_deref().is_some_and(|path| words::name(path) == row.workload);
    let workload = match is_path {
        // The end says most.
        true => cells::cut_front(&row.workload, workload_cells(width) - gone.len()),
        false => row.workload.as_str().into(),
    };
    let texts = [place(key, row), format!("{gone}{workload}"), minute, row.events().to_string()];
    let denies = row.rank == 0 && row.rate.last(now, MINUTE) > 0;
    Piece { style: row_style(denies, is_gone), text: rule_columns(rule_text(row), texts, width) }
}

fn event_line(entry: &Entry, width: usize) -> Vec<Piece> {
    let mut line = vec![Piece { style: DIM, text: cells::left(&time(entry), TIME + 1) }];
    let rest = pieces(&entry.item, Length::Short, About::All);
    if width >= WIDE {
        line.extend(rest);
        return line;
    }
    // The columns after the outcome would be beyond the right edge.
    line.extend(rest.into_iter().enumerate().map(|(index, piece)| match piece.text.trim().is_empty() {
        true if index > 1 && piece.text.len() > 2 => Piece { text: "  ".to_owned(), ..piece },
        _ => piece,
    }));
    line
}

fn knob_line(knob: &[u8], row: &KnobRow, width: usize) -> Vec<Piece> {
    let last = row.history.back().map(|entry| time(entry)).unwrap_or_default();
    let mut values = row.counts.map(|count| count.to_string()).into_iter().chain([last]);
    let text = columns(
        knob_name(knob, row),
        KNOB_COLUMNS.map(|(_, cells)| (values.next().unwrap_or_default(), cells, true)),
        width,
    );
    vec![Piece { style: Style::new(), text }]
}

/// Where something is denied now, and where nothing more comes.
fn row_style(denies: bool, is_gone: bool) -> Style {
    match (denies, is_gone) {
        (_, true) => DIM,
        (true, false) => DENY,
        (false, false) => Style::new(),
    }
}

/// When an event was: `12:04:31.482`, or `earlier 12:04`.
pub(super) fn time(entry: &Entry) -> String {
    let time = entry.item.time.map(timestamp::time_of_day).unwrap_or_default();
    match entry.is_earlier {
        true => format!("earlier {}", time.get(..5).unwrap_or_default()),
        false => time,
    }
}

/// The name of an attachment, or what stands for it.
pub(super) fn owner_name(owner: &Owner, policy: Option<&str>) -> String {
    match (owner, policy) {
        (Owner::Attachment(name), _) => printable(name).into_owned(),
        (Owner::Policy(_), Some(policy)) => format!("policy {}", printable(policy)),
        (Owner::Policy(_), None) => "a policy without attachment".to_owned(),
    }
}

pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Audit => "audit",
    }
}

/// The text of a rule, on one line.
pub(super) fn rule_text(row: &RuleRow) -> String {
    let rule = row.example.as_ref().and_then(|entry| entry.item.rule());
    rule.map_or_else(|| "a rule that cannot be read".to_owned(), |rule| stream::rule_text(&rule.text))
}

/// `web/tour:7`
pub(super) fn place(key: &RuleKey, row: &RuleRow) -> String {
    let place = row.example.as_ref().and_then(|entry| words::rule(&entry.item));
    place.unwrap_or_else(|| owner_name(&key.owner, key.policy.as_deref()))
}

pub(super) fn knob_name(knob: &[u8], row: &KnobRow) -> String {
    let event = row.history.back().and_then(|entry| entry.item.event());
    event.map_or_else(|| printable(knob).into_owned(), |event| words::knob(&event.event.knob))
}

/// What had to be left out, and what is not on the screen for other reasons: one sentence each.
pub(super) fn notes(model: &Model) -> Vec<Piece> {
    let activity: &Activity = model.activity();
    let note = |text: String| Piece { style: WARNING, text };
    let mut notes = Vec::new();
    if !model.filter_text.is_empty() {
        let Without { events, before, .. } = activity.shown().without;
        let before = before.and_then(|time| Some(timestamp::time_of_day(time).get(..8)?.to_owned()));
        let without = match (events, before) {
            (0, _) => String::new(),
            (events, None) => format!(" (without {events} older events)"),
            (events, Some(before)) => format!(" (without {events} events before {before})"),
        };
        let text = format!("filter: {}{without}", printable(&model.filter_text));
        notes.push(Piece { style: HEADING, text });
    }
    notes.extend(model.missing.iter().cloned().map(note));
    for (what, left_out) in activity.shown().left_out().into_iter().filter(|(_, left_out)| left_out.rows > 0)
    {
        let plural = if left_out.rows == 1 { "" } else { "s" };
        notes.push(note(format!("left out: {} {what}{plural} ({} events)", left_out.rows, left_out.events)));
    }
    match activity.shown().without_row {
        0 => {}
        more => notes.push(note(format!("left out: {more} attachments without events"))),
    }
    match activity.earlier().attachments_left_out {
        0 => {}
        more => notes.push(note(format!("left out: the earlier events of {more} attachments"))),
    }
    match activity.earlier().unknown {
        0 => {}
        unknown => notes.push(note(format!("{unknown} earlier events were counted and not remembered"))),
    }
    match activity.earlier().undecodable {
        0 => {}
        undecodable => {
            notes.push(note(format!("left out: {undecodable} earlier events that cannot be read")));
        }
    }
    notes
}
