//! What is not as expected, in words.

use knobgate_events::terminal::escape_json;
use knobgate_scenario::Mismatch;

/// The most mismatches of a step that are shown.
const MISMATCHES_MAX: usize = 20;
/// The most characters of a value that are shown, and how many of them are before the first difference.
const VALUE_MAX: usize = 200;
const BEFORE: usize = 40;

/// A member, and what is expected and found, as JSON in which everything is escaped that a terminal interprets.
pub(super) struct MismatchText<'a> {
    pub(super) member: &'a str,
    pub(super) expected: String,
    pub(super) found: String,
}

/// The first of these mismatches, and how many are left out.
pub(super) fn shown(mismatches: &[Mismatch]) -> (Vec<MismatchText<'_>>, Option<usize>) {
    let shown = mismatches.iter().take(MISMATCHES_MAX).map(MismatchText::new).collect();
    (shown, mismatches.len().checked_sub(MISMATCHES_MAX).filter(|left| *left > 0))
}

/// One line for each.
pub(super) fn lines(mismatches: &[Mismatch]) -> Vec<String> {
    let (shown, left) = shown(mismatches);
    let line =
        |MismatchText { member, expected, found }| format!("{member}: expected {expected}, found {found}");
    let left = left.map(|left| format!("and {left} more"));
    shown.into_iter().map(line).chain(left).collect()
}

impl<'a> MismatchText<'a> {
    fn new(Mismatch { member, expected, found, .. }: &'a Mismatch) -> Self {
        let [expected, found] =
            [expected, found].map(|json| json.clone().map_or_else(|| "nothing".to_owned(), escape_json));
        let same = expected.chars().zip(found.chars()).take_while(|(one, other)| one == other).count();
        Self { member, expected: cut(expected, same), found: cut(found, same) }
    }
}

/// A value, of which a long one is cut around the first character that differs.
fn cut(text: String, differs: usize) -> String {
    let len = text.chars().count();
    if len <= VALUE_MAX {
        return text;
    }
    let start = differs.saturating_sub(BEFORE).min(len - VALUE_MAX);
    let part: String = text.chars().skip(start).take(VALUE_MAX).collect();
    let before = if start > 0 { "…" } else { "" };
    let after = if start + VALUE_MAX < len { "…" } else { "" };
    format!("{before}{part}{after} ({len} characters, from {})", start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_around_the_difference() {
        let text = |prefix: usize, end: &str| format!("{}{end}", "é".repeat(prefix));
        for (text, differs, expected) in [
            (text(200, ""), 100, text(200, "")),
            (text(201, ""), 0, text(200, "… (201 characters, from 1)")),
            (text(300, "end"), 300, format!("…{}", text(197, "end (303 characters, from 104)"))),
            (text(1000, "end"), 500, format!("…{}", text(200, "… (1003 characters, from 461)"))),
        ] {
            assert_eq!(cut(text, differs), expected);
        }
    }
}
