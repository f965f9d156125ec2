//! Warns of the name of a network interface that has a dot, where dots separate components.

use std::ops::Range;

use knobgate_glob::{Budget, Piece};

use crate::catalogue;
use crate::{Diagnostic, KnobPattern, Span};

/// The most dots that the name of an interface is looked for with: `eth0.100.200` has two.
const DOTS_MAX: usize = 3;

/// A warning about `pattern`, which matches no known knob and is written as `text` at `span`, if it matches one when some of its
/// separators are dots inside a name.
pub(super) fn interface(
    pattern: &KnobPattern,
    text: &str,
    span: Span,
    budget: &mut Budget,
) -> Option<Diagnostic> {
    let (separators, joined) = joined(pattern, budget)?;
    let warning = Diagnostic::warning("dotted-interface", span, format!("no knob is called `{pattern}`"));
    Some(match rewritten(text, &separators) {
        Some(Rewritten { text, written, read }) => {
            let (label, help) = match written == read {
                true => (
                    format!("`{read}` is one name, with a dot"),
                    format!("where slashes separate, a dot is a part of a name: `{text}`"),
                ),
                false => (
                    format!("`{read}` has a dot: write `{written}` here"),
                    format!(
                        "where dots separate, a dot in a name is written as a slash: `{text}`, or with slashes `{}`",
                        slashed(&joined)
                    ),
                ),
            };
            warning.label(label).help(help).suggest(span, text)
        }
        None => {
            let help = format!("where dots separate, a dot in a name is written as a slash: `{joined}`");
            warning.label("a name in it has a dot").help(help).suggest(span, joined.to_string())
        }
    })
}

/// Which separators of `pattern` in a row, counted from 0, are dots in a name of a known knob, and the pattern with these.
fn joined(pattern: &KnobPattern, budget: &mut Budget) -> Option<(Range<usize>, KnobPattern)> {
    let count = separators(pattern.pieces());
    for dots in 1..=DOTS_MAX {
        for first in 0..(count + 1).saturating_sub(dots) {
            let range = first..first + dots;
            let joined = pattern.with_dots(&range);
            if catalogue::has_match(&joined, budget).ok()? {
                return Some((range, joined));
            }
        }
    }
    None
}

/// How many separators the pieces have, outside of alternatives.
fn separators(pieces: &[Piece]) -> usize {
    let in_piece = |piece: &Piece| match piece {
        Piece::Literal(bytes) => bytes.iter().filter(|&&byte| byte == b'/').count(),
        _ => 0,
    };
    pieces.iter().map(in_piece).sum()
}

/// A pattern as it should be written.
struct Rewritten {
    text: String,
    /// The component with the dots, as it is written in `text`.
    written: String,
    /// The same as it is read.
    read: String,
}

/// `text` with the other separator in place of these; `None` if it has notations that make counting hard.
fn rewritten(text: &str, separators: &Range<usize>) -> Option<Rewritten> {
    if text.contains(['\\', '{', '[']) {
        return None;
    }
    let separator = text.chars().find(|char| matches!(char, '.' | '/'))?;
    let other = if separator == '.' { '/' } else { '.' };
    let parts: Vec<&str> = text.split(separator).collect();
    let (start, end) = (separators.start, separators.end + 1);
    let written = parts.get(start..end)?.join(&other.to_string());
    let read = parts[start..end].join(".");
    let text = [&parts[..start], &[written.as_str()], &parts[end..]].concat().join(&separator.to_string());
    Some(Rewritten { text, written, read })
}

/// The pattern with slashes, which is its notation with dots, each separator exchanged for the other one.
fn slashed(pattern: &KnobPattern) -> String {
    let exchanged = |char| match char {
        '.' => '/',
        '/' => '.',
        char => char,
    };
    pattern.to_string().chars().map(exchanged).collect()
}
