//! The results as TAP 13, the version that prove(1), automake and meson all read (<https://testanything.org>).

use std::fmt::Write;

use super::mismatch_text::{self, MismatchText};
use super::playing::Played;
use super::test_point::{TestPoint, TestResult};
use crate::printable::printable;

/// The document: a test point for each step that expects something, and for each scenario or step that has no result.
pub(super) fn document(all: &[Played]) -> String {
    let count: usize = all.iter().map(|played| played.points.len()).sum();
    let mut text = format!("TAP version 13\n1..{count}");
    if count == 0 {
        text += " # SKIP no step expects anything";
    }
    text.push('\n');
    let points = all.iter().flat_map(|played| played.points.iter().map(|point| (&*played.name, point)));
    for (number, (file, point)) in (1..).zip(points) {
        // Writing to a String cannot fail.
        let _ = write_point(&mut text, number, file, point);
    }
    text
}

fn write_point(text: &mut String, number: usize, file: &str, point: &TestPoint) -> std::fmt::Result {
    let name = format!("{file}: {}", point.name);
    let name = printable(&name).replace('#', "\\#");
    match &point.result {
        TestResult::Passed => writeln!(text, "ok {number} - {name}"),
        TestResult::OtherKernel => {
            writeln!(text, "ok {number} - {name} # SKIP it expects nothing on this kernel")
        }
        TestResult::Error(why) => {
            writeln!(text, "not ok {number} - {name}\n  ---\n  message: {}\n  ...", quoted(why))
        }
        TestResult::Failed { place, mismatches } => {
            writeln!(text, "not ok {number} - {name}\n  ---\n  place: {}\n  mismatches:", quoted(place))?;
            let (shown, left) = mismatch_text::shown(mismatches);
            for MismatchText { member, expected, found } in shown {
                let [member, expected, found] = [member, &expected, &found].map(quoted);
                writeln!(text, "    - member: {member}\n      expected: {expected}\n      found: {found}")?;
            }
            if let Some(left) = left {
                writeln!(text, "  left_out: {left}")?;
            }
            writeln!(text, "  ...")
        }
    }
}

/// A string in YAML. Those of JSON are.
fn quoted(text: &str) -> String {
    crate::json::line(&text)
}
