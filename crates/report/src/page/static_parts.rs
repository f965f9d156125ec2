//! The parts of the page that need no script: the summary, the denials by rule, and what is left out.

use std::fmt::Write;
use std::time::SystemTime;

use knobgate_policy::filter::OutcomeKind;

use super::Head;
use super::html::escape;
use super::ranked;
use crate::counts::{OUTCOMES, index, name};
use crate::history::CHANGES_KEPT;
use crate::moment::{Span, milliseconds, rfc_3339, utc};
use crate::number::{count, number};
use crate::report::{Attachment, Report, Rule};

/// How many boots and attachments are listed.
const LISTED: usize = 50;

/// The part with this name, as HTML.
pub(super) fn part(part: &str, report: &Report, head: &Head) -> String {
    match part {
        "title" => escape(&format!("{} · knobgate report", title(report))),
        "headline" => escape(&title(report)),
        "lede" => lede(report, head),
        "figures" => figures(report),
        "facts" => facts(report, head),
        "notes" => notes(report),
        "attachments" => attachments(report),
        "matrix-note" => escape(&matrix_note(report)),
        "rules" => rules(report),
        "values-note" => escape(&values_note(report)),
        "classes-note" => escape(&classes_note(report)),
        "version" => escape(env!("CARGO_PKG_VERSION")),
        part => unreachable!("the page has no part {part}"),
    }
}

/// What most people want to know first: `20 events, 9 denied`.
fn title(report: &Report) -> String {
    let denied = match report.events.of(OutcomeKind::Denied) {
        0 => "none denied".to_owned(),
        denied => format!("{} denied", number(denied)),
    };
    match report.events.total() {
        0 => "No events".to_owned(),
        events => format!("{}, {denied}", count(events, "event")),
    }
}

/// From when to when.
fn lede(report: &Report, head: &Head) -> String {
    let mut text = span(&report.span);
    if !head.sources.is_empty() {
        let sources: Vec<String> =
            head.sources.iter().map(|source| format!("<code>{}</code>", escape(source))).collect();
        let _ = write!(text, "{}from {}", if text.is_empty() { "" } else { ", " }, sources.join(", "));
    }
    text
}

/// `2026-11-29 12:04:31 to 2026-11-29 12:09:00 UTC`
fn span(span: &Span) -> String {
    match (span.first, span.last) {
        (Some(first), Some(last)) if milliseconds(first) / 1000 == milliseconds(last) / 1000 => {
            format!("{} UTC", moment(first))
        }
        (Some(first), Some(last)) => format!("{} to {} UTC", moment(first), moment(last)),
        _ => String::new(),
    }
}

fn moment(time: SystemTime) -> String {
    format!("<time datetime=\"{}\">{}</time>", rfc_3339(time), utc(time))
}

/// The counts by outcome, and what is not among them.
fn figures(report: &Report) -> String {
    let mut html = String::new();
    let mut figure = |class: &str, what: &str, count: u64| {
        let empty = if count == 0 { " none" } else { "" };
        let _ = writeln!(
            html,
            "<div class=\"figure {class}{empty}\"><dt>{what}</dt><dd>{}</dd></div>",
            number(count)
        );
    };
    let is_counted = |outcome: &Option<OutcomeKind>| outcome.is_some() || report.events.of(*outcome) > 0;
    for outcome in OUTCOMES.into_iter().filter(is_counted) {
        figure(name(outcome), in_words(outcome), report.events.of(outcome));
    }
    figure("suppressed", "suppressed", report.suppressed);
    figure("lost", "lost", report.lost);
    html
}

/// What else there is to know about the streams.
fn facts(report: &Report, head: &Head) -> String {
    let known = |known: usize, further: u64| {
        format!("{}{}", number(known as u64), if further > 0 { " or more" } else { "" })
    };
    let further = &report.further;
    let mut rows = vec![
        ("Knobs", known(report.knobs.len(), further.knobs)),
        ("Workloads", known(report.workloads.len(), further.workloads)),
        ("Rules with events", known(report.rules.len(), further.rules)),
    ];
    let with_events = report.boots.iter().filter(|boot| boot.events > 0);
    let boots = with_events.take(LISTED).map(|boot| {
        let id = boot.id.as_deref().unwrap_or("unknown");
        format!("<code>{}</code>, {}", escape(id), count(boot.events, "event"))
    });
    let mut boots: Vec<String> = boots.collect();
    if report.boots.len() > LISTED || further.boots > 0 {
        boots.push("and others".to_owned());
    }
    rows.extend((!boots.is_empty()).then(|| ("Boots", boots.join("<br>"))));
    rows.extend(head.filter.as_ref().map(|filter| ("Filter", format!("<code>{}</code>", escape(filter)))));
    rows.extend(head.made.map(|made| ("Report made", format!("{} UTC", moment(made)))));
    rows.into_iter().map(|(what, html)| format!("<div><dt>{what}</dt><dd>{html}</dd></div>\n")).collect()
}

/// What a reader could misunderstand.
fn notes(report: &Report) -> String {
    let mut notes = Vec::new();
    if report.suppressed > 0 {
        notes.push(format!(
            "{} suppressed: rules send so many events a second, and only count the others. They are not among the events, and \
             nothing else is known about them.",
            were(report.suppressed)
        ));
    }
    if report.lost > 0 {
        notes.push(format!("{} lost: they came faster than they were read.", were(report.lost)));
    }
    if report.without_time > 0 {
        notes.push(format!(
            "{} no time, and {} not in the timeline.",
            if report.without_time == 1 {
                "1 line has".to_owned()
            } else {
                format!("{} lines have", number(report.without_time))
            },
            if report.without_time == 1 { "is" } else { "are" }
        ));
    }
    if report.clock_changes > 0 {
        notes.push(format!(
            "The wall clock was set {} meanwhile. Times before and after that do not compare.",
            if report.clock_changes == 1 {
                "once".to_owned()
            } else {
                format!("{} times", number(report.clock_changes))
            }
        ));
    }
    if notes.is_empty() {
        return String::new();
    }
    let notes: String = notes.iter().map(|note| format!("<li>{}</li>\n", escape(note))).collect();
    format!("<ul class=\"notes\">\n{notes}</ul>\n")
}

/// `1 event was`, `2 events were`.
fn were(events: u64) -> String {
    format!("{} {}", count(events, "event"), if events == 1 { "was" } else { "were" })
}

/// Whose events these are.
fn attachments(report: &Report) -> String {
    let listed: Vec<&Attachment> = report.attachments.iter().take(LISTED).collect();
    if listed.is_empty() {
        return String::new();
    }
    let mut html = table_start(
        "attachments",
        "Attachments",
        &["Attachment", "Policy", "Events", "Denied", "Suppressed", "First", "Last"],
        2..5,
    );
    for attachment in listed {
        let name = match (&attachment.name, attachment.observer) {
            (_, true) => "an observer",
            (Some(name), false) => name,
            (None, false) => "unknown",
        };
        let policy = attachment.policy.as_deref().filter(|_| !attachment.observer).unwrap_or_default();
        let _ = write!(html, "<tr><th scope=\"row\">{}</th><td>{}</td>", escape(name), escape(policy));
        let denied = attachment.events.of(OutcomeKind::Denied);
        for count in [attachment.events.total(), denied, attachment.suppressed] {
            number_cell(&mut html, count);
        }
        span_cells(&mut html, &attachment.span);
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    let others = report.attachments.len().saturating_sub(LISTED);
    if others > 0 || report.further.attachments > 0 {
        let _ = writeln!(
            html,
            "<p class=\"note\">{}.</p>",
            left_out(others, "attachment", report.further.attachments)
        );
    }
    html
}

/// The rules that denied, rewrote, or would have done so.
fn rules(report: &Report) -> String {
    let ranked = ranked::rules(report);
    if ranked.shown.is_empty() {
        return "<p>No rule has sent an event.</p>\n".to_owned();
    }
    let rules: Vec<&Rule> = ranked.shown.iter().map(|&rule| &report.rules[rule]).collect();
    // A column that says nothing takes room from the others.
    let columns: Vec<&RuleColumn> = (RULE_COLUMNS.iter())
        .filter(|(title, of)| *title == "Denied" || rules.iter().any(|rule| of(rule) > 0))
        .collect();
    let mut titles = vec!["Rule", "Text"];
    titles.extend(columns.iter().map(|(title, _)| *title));
    titles.extend(["First", "Last"]);
    let mut html =
        table_start("rules-table", "What the rules of policies decided", &titles, 2..titles.len() - 2);
    for rule in rules {
        let (place, text) = (escape(&rule.place), escape(&rule.text));
        let _ = write!(html, "<tr><th scope=\"row\">{place}</th><td><code>{text}</code></td>");
        columns.iter().for_each(|(_, of)| number_cell(&mut html, of(rule)));
        span_cells(&mut html, &rule.span);
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    if ranked.others > 0 || report.further.rules > 0 {
        let left_out = left_out(ranked.others, "rule", report.further.rules);
        let _ = writeln!(html, "<p class=\"note\">{left_out}.</p>");
    }
    html
}

/// A number of a rule, with its title.
type RuleColumn = (&'static str, fn(&Rule) -> u64);

const RULE_COLUMNS: [RuleColumn; 7] = [
    ("Denied", |rule| rule.decided.of(OutcomeKind::Denied)),
    ("Rewritten", |rule| rule.decided.of(OutcomeKind::Rewritten)),
    ("Would deny", |rule| rule.decided.of(OutcomeKind::WouldDeny)),
    ("Would rewrite", |rule| rule.decided.of(OutcomeKind::WouldRewrite)),
    ("Allowed", |rule| rule.decided.of(OutcomeKind::Allowed)),
    ("Not evaluated", |rule| rule.eval_errors),
    ("Suppressed", |rule| rule.suppressed),
];

/// An outcome, as people say it.
fn in_words(outcome: Option<OutcomeKind>) -> &'static str {
    ["denied", "rewritten", "would deny", "would rewrite", "allowed", "of unknown outcome"][index(outcome)]
}

/// The start of a table up to its first row. It scrolls on its own where it is too wide, for the keyboard as well.
fn table_start(id: &str, caption: &str, columns: &[&str], numbers: std::ops::Range<usize>) -> String {
    let mut html = format!(
        "<div class=\"scroll\" role=\"region\" aria-labelledby=\"{id}-caption\" tabindex=\"0\"><table id=\"{id}\" class=\"sortable\">\
         <caption id=\"{id}-caption\">{caption}</caption>\n<thead><tr>"
    );
    for (index, column) in columns.iter().enumerate() {
        let class = if numbers.contains(&index) { " class=\"number\"" } else { "" };
        let _ = write!(html, "<th scope=\"col\"{class}>{column}</th>");
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    html
}

fn number_cell(html: &mut String, count: u64) {
    let class = if count == 0 { "number none" } else { "number" };
    let _ = write!(html, "<td class=\"{class}\" data-key=\"{count}\">{}</td>", number(count));
}

fn span_cells(html: &mut String, span: &Span) {
    for time in [span.first, span.last] {
        let _ = match time {
            Some(time) => write!(html, "<td data-key=\"{}\">{}</td>", milliseconds(time), moment(time)),
            None => write!(html, "<td data-key=\"\"></td>"),
        };
    }
}

/// `12 more rules, and 34 events of further ones, are left out`
fn left_out(others: usize, what: &str, further: u64) -> String {
    let more = |others: usize| {
        format!("{} more {what}{}", number(others as u64), if others == 1 { "" } else { "s" })
    };
    match (others, further) {
        (0, further) => format!("{} of further {what}s are left out", count(further, "event")),
        (1, 0) => format!("{} is left out", more(1)),
        (others, 0) => format!("{} are left out", more(others)),
        (others, further) => {
            format!("{}, and {} of further ones, are left out", more(others), count(further, "event"))
        }
    }
}

fn matrix_note(report: &Report) -> String {
    let (knobs, workloads) = (ranked::knobs(report), ranked::workloads(report));
    let mut note = String::new();
    let mut together = |ranked: &ranked::Ranked, what: &str, further: u64| {
        if ranked.others == 0 && further == 0 {
            return;
        }
        let more = match (ranked.others, further) {
            (0, further) => format!("{} of further ones", count(further, "event")),
            (others, 0) => format!("{} more", number(others as u64)),
            (others, further) => {
                format!("{} more and {} of further ones", number(others as u64), count(further, "event"))
            }
        };
        let shown = count(ranked.shown.len() as u64, what);
        let _ = write!(note, " The {shown} with the most events are shown; {more} are together as “other”.");
    };
    together(&knobs, "knob", report.further.knobs);
    together(&workloads, "workload", report.further.workloads);
    if report.further.cells > 0 {
        let events = count(report.further.cells, "event");
        let _ = write!(
            note,
            " There were too many pairs of a knob and a workload: {events} of some are with the other workloads."
        );
    }
    note.trim_start().to_owned()
}

fn values_note(report: &Report) -> String {
    let ranked = ranked::with_values(report);
    let mut note = format!(
        "Of each knob, the first {CHANGES_KEPT} and the last {CHANGES_KEPT} changes are kept. The kernel may reject a value that \
         a policy lets pass."
    );
    if ranked.others > 0 {
        let _ = write!(
            note,
            " The {} with the most changes are here, and {} more are left out.",
            count(ranked.shown.len() as u64, "knob"),
            number(ranked.others as u64)
        );
    }
    note
}

fn classes_note(report: &Report) -> String {
    let ranked = ranked::classes(report);
    match (ranked.others, report.further.classes) {
        (0, 0) => String::new(),
        (others, further) => format!("{}.", left_out(others, "row", further)),
    }
}
