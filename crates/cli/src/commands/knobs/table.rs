//! The list of knobs.

use knobgate_catalogue::{Knob, facts};

use super::entry::{Difference, Entry};
use super::machine::ThisMachine;
use crate::failure::Failure;
use crate::output::Output;
use crate::plural::count;
use crate::printable::printable;
use crate::style;

const COLUMNS: usize = 6;
const HEADINGS: [&str; COLUMNS] = ["KNOB", "SCOPE", "MODE", "VALUE", "HERE", "WHAT IT DOES"];

/// Prints a line for each entry, one for each difference, and how many there are.
pub(super) fn print(entries: &[Entry], machine: &ThisMachine, output: &Output) -> Result<(), Failure> {
    let rows: Vec<[String; COLUMNS]> = entries.iter().map(|entry| row(entry, machine)).collect();
    let mut widths = HEADINGS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; COLUMNS]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = output.lines();
    let heading = style::HEADING;
    lines.line(format_args!("{heading}{}{heading:#}", line(HEADINGS)))?;
    for (entry, row) in entries.iter().zip(&rows) {
        lines.line(line(row.each_ref().map(String::as_str)))?;
        for text in differences(entry) {
            lines.line(format_args!("  {0}differs{0:#}: {text}", style::WARNING))?;
        }
    }
    lines.line(summary(entries, machine))?;
    lines.flush()
}

fn row(entry: &Entry, machine: &ThisMachine) -> [String; COLUMNS] {
    let name = printable(&entry.name()).into_owned();
    match entry {
        Entry::Known { knob, here, is_expected } => {
            let variant = machine.variant(knob);
            let on_machine = match here.len() {
                0 if *is_expected => "no".to_owned(),
                0 => "-".to_owned(),
                1 if knob.is_literal() => "yes".to_owned(),
                count => count.to_string(),
            };
            let marks: String = facts::marks(knob).iter().map(|mark| format!(" [{mark}]")).collect();
            let does = format!("{}{marks}", knob.summary());
            let (scope, mode) = (variant.scope().to_string(), variant.mode().to_string());
            [name, scope, mode, facts::value(variant), on_machine, does]
        }
        Entry::Unknown(here) => {
            let mode = here.mode.map_or_else(String::new, |mode| mode.to_string());
            let does = "not in the catalogue".to_owned();
            [name, "?".to_owned(), mode, "?".to_owned(), "yes".to_owned(), does]
        }
    }
}

/// The differences, each once: interfaces mostly differ in the same way.
fn differences(entry: &Entry) -> Vec<String> {
    let mut texts: Vec<(String, Vec<String>)> = Vec::new();
    for here in entry.here() {
        // Of a knob that the catalogue lacks, the line itself says that.
        for difference in here.differences.iter().filter(|difference| **difference != Difference::Unknown) {
            let text = difference.to_string();
            match texts.iter_mut().find(|(other, _)| *other == text) {
                Some((_, names)) => names.push(here.name.to_string()),
                None => texts.push((text, vec![here.name.to_string()])),
            }
        }
    }
    let is_one = entry.knob().is_none_or(Knob::is_literal);
    let text = |(text, names): (String, Vec<String>)| match names.as_slice() {
        _ if is_one => text,
        [name] => format!("{text}: {}", printable(name)),
        [name, ..] => format!("{text}: {} and {} more", printable(name), names.len() - 1),
        [] => text,
    };
    texts.into_iter().map(text).collect()
}

/// How many of the knobs the machine has, and how many are different.
fn summary(entries: &[Entry], machine: &ThisMachine) -> String {
    let known: Vec<&Entry> = entries.iter().filter(|entry| entry.knob().is_some()).collect();
    let here = known.iter().filter(|entry| !entry.here().is_empty()).count();
    let unknown = entries.len() - known.len();
    let differ = known.iter().filter(|entry| entry.here().iter().any(|here| !here.differences.is_empty()));
    let lacks =
        |entry: &&&Entry| matches!(entry, Entry::Known { here, is_expected: true, .. } if here.is_empty());
    let lacks = known.iter().filter(lacks).count();
    let Some(release) = machine.release() else {
        return format!("{} of the catalogue", count(known.len(), "knob"));
    };
    let release = printable(release).into_owned();
    let mut parts = vec![format!("this machine, with Linux {release}, has {here}")];
    if unknown > 0 {
        parts.push(format!("and {unknown} that the catalogue lacks"));
    }
    let mut text = format!("{} of the catalogue; {}", count(known.len(), "knob"), parts.join(" "));
    if lacks > 0 {
        text.push_str(&format!("; {lacks} that its kernel can have are not there"));
    }
    let differ = differ.count();
    if differ > 0 {
        text.push_str(&format!("; {differ} differ"));
    }
    if machine.series().is_none() {
        text.push_str("; the catalogue was not made from such a kernel");
    }
    text
}
