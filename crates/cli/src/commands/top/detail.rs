//! What is in front of the panes: the details of a row, and help.

use anstyle::Style;
use clap::ValueEnum;
use knobgate_events::{EventText, EventVerdict};
use knobgate_policy::AccessKind;

use super::activity::Entry;
use super::cells;
use super::model::{Model, Over, Subject};
use super::pane::Pane;
use super::rate::{MINUTE, WINDOW, rate, sparkline};
use super::rows;
use super::shown::HISTORY_MAX;
use super::table::Row as _;
use super::tallies::{AttachmentRow, Column as Outcome, Owner, RuleKey, RuleRow};
use crate::printable::{printable, printable_lines};
use crate::stream::column::{self, Column};
use crate::stream::line::{About, Piece, pieces, task, verdict};
use crate::stream::words::{self, Length};
use crate::style::{DIM, HEADING};
use crate::timestamp;

/// How far lines that are wrapped are indented.
const INDENT: usize = 4;

/// The lines of what is in front, wrapped to this width. The first one is a heading, and stays when others are scrolled.
pub(super) fn lines(model: &Model, width: usize) -> Vec<Vec<Piece>> {
    let lines = match &model.over {
        Some(Over::Detail { of, .. }) => detail(model, of),
        Some(Over::Help { .. }) => help(model),
        Some(Over::Filter { .. }) | None => Vec::new(),
    };
    lines.iter().flat_map(|line| cells::wrap(line, width, INDENT)).collect()
}

fn detail(model: &Model, subject: &Subject) -> Vec<Vec<Piece>> {
    let shown = model.activity().shown();
    let found = match subject {
        Subject::Attachment(id) => {
            let row = shown.attachments.iter().find(|(_, row)| row.id == *id);
            row.map(|(owner, row)| attachment(model, owner, row))
        }
        Subject::Rule(id) => {
            let row = shown.rules.iter().find(|(_, row)| row.id == *id);
            row.map(|(key, row)| rule(model, key, row))
        }
        Subject::Event(entry) => Some(event(model, entry)),
        Subject::Knob(id) => {
            let row = shown.knobs.iter().find(|(_, row)| row.id == *id);
            row.map(|(knob, _)| history(model, knob))
        }
    };
    found.unwrap_or_else(|| vec![heading("It is no longer in the list".to_owned())])
}

fn heading(text: String) -> Vec<Piece> {
    vec![Piece { style: HEADING, text }]
}

fn plain(text: String) -> Vec<Piece> {
    vec![Piece { style: Style::new(), text }]
}

/// `name       text`
fn field(name: &str, text: String) -> Vec<Piece> {
    vec![Piece { style: DIM, text: format!("  {name:<12}") }, Piece { style: Style::new(), text }]
}

fn attachment(model: &Model, owner: &Owner, row: &AttachmentRow) -> Vec<Vec<Piece>> {
    let now = model.second();
    let mut lines = vec![heading(rows::owner_name(owner, row.policy.as_deref()))];
    if row.gone_since.is_some() {
        lines.push(field("state", "gone".to_owned()));
    }
    lines.extend(row.policy.as_deref().map(|policy| field("policy", printable(policy).into_owned())));
    lines.extend(row.mode.map(|mode| field("mode", rows::mode(mode).to_owned())));
    lines.extend(row.cgroups.map(|cgroups| field("cgroups", cgroups.to_string())));
    for (outcome, name) in Outcome::ALL.into_iter().zip(OUTCOMES) {
        let per_second = rate(row.rates[outcome as usize].per_second(now));
        lines.push(field(name, format!("{}, {per_second} a second", row.counts[outcome as usize])));
    }
    let per_second = rate(row.suppressed_rate.per_second(now));
    lines.push(field("suppressed", format!("{}, {per_second} a second", row.suppressed)));
    lines.push(field("earlier", row.earlier.to_string()));
    lines.push(plain(String::new()));
    lines.push(heading("Its rules".to_owned()));
    for row in rows::rows(model, Pane::Rules) {
        if let rows::PaneRow::Rule(key, row) = row
            && key.owner == *owner
        {
            let gone = if row.gone_since.is_some() { "(gone) " } else { "" };
            let (place, events) = (rows::place(key, row), row.events());
            lines.push(plain(format!(
                "  {events:>8}  {place}  {gone}{}  {}",
                row.workload,
                rows::rule_text(row)
            )));
        }
    }
    lines
}

/// By [`Outcome`].
const OUTCOMES: [&str; 4] = ["denied", "would", "rewritten", "allowed"];

fn rule(model: &Model, key: &RuleKey, row: &RuleRow) -> Vec<Vec<Piece>> {
    let example = row.example.as_ref().and_then(|entry| entry.item.rule());
    let text = example.map(|rule| match rule.text.cut_from {
        None => String::from_utf8_lossy(&rule.text.bytes).into_owned(),
        Some(_) => match model.activity().whole_text(&key.owner, rule) {
            Some(whole) => whole.to_owned(),
            None => format!("{}…", String::from_utf8_lossy(&rule.text.bytes)),
        },
    });
    let text = text.unwrap_or_else(|| rows::rule_text(row));
    let mut lines: Vec<Vec<Piece>> =
        printable_lines(&text).split('\n').map(|line| heading(line.to_owned())).collect();
    lines.push(field("place", rows::place(key, row)));
    lines.push(field("workload", row.workload.clone()));
    lines.extend(row.cgroup_path.as_ref().map(|path| field("cgroup", printable(path).into_owned())));
    if row.gone_since.is_some() {
        lines.push(field("state", "the cgroup is gone".to_owned()));
    }
    lines.push(field(
        "events",
        format!(
            "{}: {} sent and {} suppressed since the start, {} earlier",
            row.events(),
            row.sent,
            row.suppressed,
            row.earlier
        ),
    ));
    lines.push(field("last minute", sparkline(&row.rate.bars(model.second(), MINUTE as usize))));
    lines.push(plain(String::new()));
    for (name, entry) in [("First known event", &row.first), ("Last event", &row.example)] {
        if let Some(entry) = entry {
            lines.push(heading(name.to_owned()));
            lines.push(event_line(entry));
        }
    }
    lines
}

/// The whole line of an event, with the day.
fn event_line(entry: &Entry) -> Vec<Piece> {
    let time =
        entry.item.time.map(|time| format!("{} {} ", timestamp::date(time), timestamp::time_of_day(time)));
    let earlier = if entry.is_earlier { "earlier: " } else { "" };
    let time = Piece { style: DIM, text: format!("  {earlier}{}", time.unwrap_or_default()) };
    // The blanks between columns are of no use where lines are wrapped.
    let rest = pieces(&entry.item, Length::Full, About::All);
    let rest = rest.into_iter().map(|piece| match piece.text.trim().is_empty() {
        true => Piece { text: " ".to_owned(), ..piece },
        false => piece,
    });
    [time].into_iter().chain(rest).collect()
}

fn event(model: &Model, entry: &Entry) -> Vec<Vec<Piece>> {
    let mut lines = vec![heading("Event".to_owned()), event_line(entry), plain(String::new())];
    for &shown in Column::value_variants() {
        let name = shown.to_possible_value();
        if let (Some(name), Some(text)) = (name, column::text(&entry.item, shown))
            && !text.is_empty()
        {
            lines.push(field(name.get_name(), text));
        }
    }
    if let Some(event) = entry.item.event() {
        lines.push(plain(String::new()));
        lines.extend(history(model, &event.event.knob.bytes));
    }
    lines
}

/// What happened to a knob, the last access first.
fn history(model: &Model, knob: &[u8]) -> Vec<Vec<Piece>> {
    let found = model.activity().shown().knobs.iter().find(|(other, _)| other == &knob);
    let Some((_, row)) = found else { return vec![heading("Its knob is no longer in the list".to_owned())] };
    let mut lines = vec![heading(format!("{}, the last access first", rows::knob_name(knob, row)))];
    lines.extend(row.history.iter().rev().map(|entry| access(entry)));
    let more = row.events().saturating_sub(row.history.len() as u64);
    if more > 0 {
        lines.push(plain(format!("  {more} older events are left out: {HISTORY_MAX} are kept of each knob")));
    }
    lines
}

/// `12:28:32.404 REWRITE  "4096\n" → "9999999\n", stored "65535\n"  docker/web-1  sh[29333] uid=0  web/tour:8`
fn access(entry: &Entry) -> Vec<Piece> {
    let Some(stream_event) = entry.item.event() else { return Vec::new() };
    let event = &stream_event.event;
    let (style, verdict) = verdict(event);
    let value = |text: &Option<EventText>| text.as_ref().map(|text| words::value(text, Length::Full));
    let old = value(&event.old).unwrap_or_else(|| "?".to_owned());
    let values = match event.kind {
        _ if event.secret => format!("{} (a secret)", words::access(event.kind)),
        AccessKind::Read => format!("read {old}"),
        AccessKind::Write => {
            let new = value(&event.new).unwrap_or_else(|| "?".to_owned());
            let stored = value(&event.stored).filter(|_| event.verdict == EventVerdict::Rewrite);
            let stored = stored.map(|stored| format!(", stored {stored}")).unwrap_or_default();
            format!("{old} → {new}{stored}")
        }
    };
    let who = [
        words::workload(&entry.item, Length::Full),
        Some(task(event)),
        words::rule(&entry.item).filter(|_| !event.observer),
    ];
    let who: String = who.into_iter().flatten().map(|part| format!("  {part}")).collect();
    vec![
        Piece { style: DIM, text: format!("  {:<13} ", rows::time(entry)) },
        Piece { style, text: format!("{verdict:<13}") },
        Piece { style: Style::new(), text: format!(" {values}{who}") },
    ]
}

fn help(model: &Model) -> Vec<Vec<Piece>> {
    let mut lines = vec![heading("Keys".to_owned())];
    for (keys, does) in [
        ("Tab, Shift-Tab", "the next pane, the previous one"),
        ("↑ ↓, j k", "choose a row; PgUp, PgDn, Home and End as well"),
        ("Enter", "details: of a rule, an event with the history of its knob, …"),
        ("s", "another order of the rows"),
        ("/", "a filter, as for watch --filter; an empty one shows everything"),
        ("p, space", "pause, and go on; what happens meanwhile is not missed"),
        ("Esc", "back; on the panes, quit"),
        ("q, Ctrl-C", "quit"),
        ("Ctrl-Z", "suspend"),
    ] {
        let keys = Piece { style: HEADING, text: format!("  {keys:<16}") };
        lines.push(vec![keys, Piece { style: Style::new(), text: does.to_owned() }]);
    }
    lines.push(plain(String::new()));
    lines.push(heading("What it says".to_owned()));
    for text in [
        format!("  Rates are means over {WINDOW} seconds. Bars are the last minute."),
        "  WOULD counts what a policy in audit mode would have denied or rewritten.".to_owned(),
        "  SUPPR counts events that a rule did not send because of its limit, such as log(10/s).".to_owned(),
        "  \"lost\" counts events that came faster than they were read. No filter hides them.".to_owned(),
        "  \"earlier\" is what the policies remember from before the start, as knobgate log shows it."
            .to_owned(),
        "  \"(gone)\" means that the cgroup, attachment or policy was removed; it stays for a minute."
            .to_owned(),
        "  TOTAL has what was sent, suppressed, and earlier.".to_owned(),
    ] {
        lines.push(plain(text));
    }
    let notes = rows::notes(model);
    if !notes.is_empty() {
        lines.push(plain(String::new()));
        lines.push(heading("Notes".to_owned()));
        lines.extend(notes.into_iter().map(|note| vec![Piece { text: format!("  {}", note.text), ..note }]));
    }
    lines
}
