//! Changes in the format of `diff -u`.

use similar::TextDiff;

use crate::printable::printable;
use crate::style;

/// The lines of the diff between two texts of the file called `name`. The new one is called `NAME (WHAT)`.
pub(crate) fn lines(name: &str, what: &str, old: &str, new: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(old, new);
    let diff = diff.unified_diff().context_radius(3).header(name, &format!("{name} ({what})")).to_string();
    diff.split_terminator('\n').map(paint).collect()
}

fn paint(line: &str) -> String {
    let style = match line.as_bytes().first() {
        Some(b'+') => style::ALLOW,
        Some(b'-') => style::DENY,
        Some(b'@') => style::DIM,
        _ => return printable(line).into_owned(),
    };
    format!("{style}{}{style:#}", printable(line))
}
