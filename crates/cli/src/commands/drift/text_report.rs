//! What differs, as text.

use knobgate_drift::{ComparedKnob, Explains, Running, State, UnmatchedGlob, Write};
use knobgate_events::StreamItem;

use super::Compared;
use crate::failure::Failure;
use crate::output::Output;
use crate::plural::count;
use crate::printable::printable;
use crate::stream::length_of_stdout;
use crate::stream::line::{About, line};
use crate::stream::words::Length;
use crate::{style, timestamp};

/// Prints the knobs that differ, then those that cannot be compared, and how many there are.
pub(super) fn print(compared: &Compared, files: usize, output: &Output) -> Result<(), Failure> {
    let Compared { drift, unmatched } = compared;
    let length = length_of_stdout();
    let mut lines = output.lines();
    let (differing, others): (Vec<&ComparedKnob>, Vec<&ComparedKnob>) =
        drift.knobs().iter().partition(|knob| knob.state() == State::Differs);
    for knob in differing.iter().chain(others.iter().filter(|knob| is_shown(knob))) {
        lines.line(heading(knob))?;
        for text in details(knob, length) {
            lines.line(format_args!("  {text}"))?;
        }
    }
    for UnmatchedGlob { glob, file, line } in unmatched {
        lines.line(format_args!("{}:{line}: {}", printable(file), printable(glob)))?;
        lines.line("  matches no knob of this machine")?;
    }
    lines.line(summary(compared, files))?;
    lines.flush()?;
    note_on_namespaces(&differing, output);
    if drift.of_other_boots() > 0 {
        let events = drift.of_other_boots();
        output.note(format_args!(
            "writes before the last boot of this machine, or on another one, are left out: {events}"
        ));
    }
    Ok(())
}

/// Whether there is something to say about a knob that does not differ.
fn is_shown(knob: &ComparedKnob) -> bool {
    match knob.state() {
        State::Same => false,
        // The file says that it may be missing.
        State::NoSuchKnob => !knob.configured().ignores_errors,
        State::Differs | State::WriteOnly | State::Unreadable | State::Secret => true,
    }
}

/// `/etc/sysctl.d/99-web.conf:2: net.core.somaxconn = 16384`
fn heading(knob: &ComparedKnob) -> String {
    let (configured, heading) = (knob.configured(), style::HEADING);
    let name = configured.knob.to_string();
    let value = match knob.configured_value() {
        None => "(a secret)".into(),
        Some("") => "(empty)".into(),
        Some(value) => printable(value),
    };
    let place = format!("{}:{}", printable(&configured.file), configured.line);
    let glob = configured.glob.as_deref().map(|glob| format!(", by {}", printable(glob))).unwrap_or_default();
    format!("{place}: {heading}{} = {value}{heading:#}{glob}", printable(&name))
}

fn details(knob: &ComparedKnob, length: Length) -> Vec<String> {
    match (knob.state(), knob.running()) {
        (State::Differs, Some(Running::Value(value))) => {
            let mut details = vec![format!("{0}running{0:#} {1}", style::DENY, shown(value))];
            details.extend(writers(knob, length));
            if knob.configured().ignores_errors {
                details.push("with `-`: that it cannot be written is no error".to_owned());
            }
            if knob.may_store_another_number() {
                details
                    .push("this knob changes some numbers, and may never show the configured one".to_owned());
            }
            details
        }
        (_, Some(Running::NoSuchKnob)) => vec!["there is no such knob on this machine".to_owned()],
        (_, Some(Running::WriteOnly)) => vec!["not compared: the knob is write-only".to_owned()],
        (_, Some(Running::Unreadable(error))) => {
            vec![format!("{0}not compared{0:#}: it cannot be read: {1}", style::WARNING, printable(error))]
        }
        (_, None) => vec!["not compared: its values are secret".to_owned()],
        (_, Some(Running::Value(_))) => Vec::new(),
    }
}

/// A value without the newline at its end, and with single blanks.
fn shown(value: &[u8]) -> String {
    let words: Vec<String> = value
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .map(|word| printable(word).into_owned())
        .collect();
    if words.is_empty() { "(empty)".to_owned() } else { words.join(" ") }
}

/// Who wrote it.
fn writers(knob: &ComparedKnob, length: Length) -> Vec<String> {
    let writes = knob.writes();
    let mut lines = Vec::new();
    match &writes.last {
        None => lines.push("no event says who wrote it".to_owned()),
        Some(write) => {
            lines.push(format!("written {}", event(&write.item, length)));
            lines.push(format!("        {}", explanation(write)));
            lines.extend(namespace(knob, &write.item));
        }
    }
    if let Some(write) = &writes.explaining {
        lines.push(format!("earlier {}", event(&write.item, length)));
        lines.push(format!("        {}", explanation(write)));
        lines.extend(namespace(knob, &write.item));
    }
    if let Some(denied) = &writes.denied {
        lines.push(format!("denied  {}", event(denied, length)));
        lines.push("        this was the configured value".to_owned());
        lines.extend(namespace(knob, denied));
    }
    lines
}

fn explanation(write: &Write) -> &'static str {
    match write.explains {
        Explains::Yes => "this is the running value",
        Explains::No => {
            "this is not the running value: the knob rejected it, or a write came later that no event reports"
        }
        Explains::Unknown => "what it wrote was not recorded, or only in part",
        Explains::MayHaveBeenDenied => "whether it passed is not known",
    }
}

/// That it may have been the knob of another namespace.
fn namespace(knob: &ComparedKnob, item: &StreamItem) -> Option<String> {
    let (event, namespace) = (&item.event()?.event, knob.namespace()?);
    if knob.is_accessed_by(event).is_some() {
        return None;
    }
    Some(match event.namespaces.and_then(|namespaces| namespaces.of(namespace)) {
        None => format!("        in which {namespace} is not known"),
        Some(_) if knob.configured().knob.as_bytes() != b"kernel/pid_max" => {
            format!("        whether in this {namespace} is not known")
        }
        Some(_) => format!("        in another {namespace}: each has its own of this knob since Linux 6.14"),
    })
}

/// With the day, as `log` prints it.
fn event(item: &StreamItem, length: Length) -> String {
    let (dim, date) = (style::DIM, item.time.map(timestamp::date).unwrap_or_default());
    format!("{dim}{date}{dim:#} {}", line(item, length, About::All))
}

/// `2 files, 12 knobs: 9 as configured, 1 different, 2 not here`
fn summary(Compared { drift, unmatched }: &Compared, files: usize) -> String {
    let counts = State::ALL.map(|state| (drift.count(state), state)).into_iter();
    let parts: Vec<String> = counts
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| {
            let (style, words) = match state {
                State::Same => (style::ALLOW, "as configured"),
                State::Differs => (style::DENY, "different"),
                State::NoSuchKnob => (style::DIM, "not on this machine"),
                State::WriteOnly => (style::DIM, "write-only"),
                State::Unreadable => (style::WARNING, "unreadable"),
                State::Secret => (style::DIM, "secret"),
            };
            format!("{style}{count} {words}{style:#}")
        })
        .collect();
    let knobs = count(drift.knobs().len(), "knob");
    let colon = if parts.is_empty() { "" } else { ": " };
    let unmatched = match unmatched.len() {
        0 => String::new(),
        globs => format!("; {} without a knob", count(globs, "glob")),
    };
    format!("{}, {knobs}{colon}{}{unmatched}", count(files, "file"), parts.join(", "))
}

/// Says whose values were read, if that may be why they differ.
fn note_on_namespaces(differing: &[&ComparedKnob], output: &Output) {
    let mut namespaces: Vec<_> = differing.iter().filter_map(|knob| knob.namespace()).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    if !namespaces.is_empty() {
        let names: Vec<String> = namespaces.iter().map(ToString::to_string).collect();
        output.note(format_args!("the running values are those of this process's {}", names.join(" and ")));
    }
}
