//! Differences for people.

use anstyle::Style;
use knobgate_diff::{Change, Class};

use super::{Compared, describe};
use crate::failure::Failure;
use crate::output::Output;
use crate::printable::printable;
use crate::{plural, style};

/// How many classes of one change are printed.
const CLASSES_MAX: usize = 50;

pub(super) fn print(compared: &Compared, output: &Output) -> Result<(), Failure> {
    if let Some(note) = compared.note_on_modes() {
        output.note(note);
    }
    let classes = compared.diff.classes();
    let mut counts = Vec::new();
    for change in Change::ALL {
        let of_change: Vec<&Class> = classes.iter().filter(|class| class.change == change).collect();
        if of_change.is_empty() {
            continue;
        }
        let (style, heading) = (style_of(change), describe::change(change));
        output.line(format_args!("{style}{heading}{style:#}"))?;
        for class in of_change.iter().take(CLASSES_MAX) {
            for line in lines(compared, class) {
                output.line(format_args!("  {line}"))?;
            }
            output.line("")?;
        }
        if of_change.len() > CLASSES_MAX {
            let more = of_change.len() - CLASSES_MAX;
            output.line(format_args!("  … and {more} more; --format json has all of them\n"))?;
        }
        counts.push(format!("{} {heading}", of_change.len()));
    }
    let selectors: Vec<_> = compared.selectors().collect();
    if !selectors.is_empty() {
        let heading = style::HEADING;
        output.line(format_args!("{heading}{}{heading:#}", describe::SELECTORS))?;
        for (sign, selector) in &selectors {
            output.line(format_args!("  {sign} {}", printable(selector)))?;
        }
        output.line("")?;
    }
    output.line(if counts.is_empty() && !selectors.is_empty() {
        describe::SELECTORS_ALONE.to_owned()
    } else if counts.is_empty() {
        "no differences".to_owned()
    } else {
        format!("{}: {}", plural::count(classes.len(), "difference"), counts.join(", "))
    })?;
    compared.events.as_ref().map_or(Ok(()), |events| output.line(events.summary()))
}

fn lines(compared: &Compared, class: &Class) -> Vec<String> {
    let heading = style::HEADING;
    let names = describe::names(class).join("; ");
    let mut lines = vec![format!("{heading}{} {names}{heading:#}", describe::kind(class))];
    let values = describe::values(class);
    if !values.is_empty() {
        lines.push(format!("  with  {values}"));
    }
    let example = describe::example(class);
    if let Some(reason) = class.reason {
        lines.push(format!("  may differ: {reason}; the example does not show it"));
    }
    let others = [
        describe::other_deciders(class, |names| &names.old),
        describe::other_deciders(class, |names| &names.new),
    ];
    for ((label, side), others) in ["was", "now"].into_iter().zip(compared.sides(class)).zip(others) {
        let others = match others {
            0 => String::new(),
            others => format!(" (and {})", plural::count(others, "other rule")),
        };
        let decider = side.decider;
        lines.push(format!("  {label}   {} by {}: {}{others}", side.verdict, decider.place, decider.text));
        if let Some(error) = decider.eval_error {
            lines.push(format!("        cannot be evaluated: {error}"));
        }
    }
    lines.extend(example.map(|example| format!("  such as {example}")));
    lines.extend(compared.events_of(class).map(|events| format!("  {events}")));
    lines
}

fn style_of(change: Change) -> Style {
    match change {
        Change::NewlyAllowed => style::DENY,
        Change::Undecided | Change::RewrittenDifferently => style::REWRITE,
        Change::NewlyDenied => style::ALLOW,
        Change::Errno | Change::Logging => style::HEADING,
    }
}
