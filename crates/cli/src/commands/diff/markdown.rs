//! Differences as Markdown, for a comment on a pull request.

use knobgate_diff::{Change, Class};

use super::{Compared, describe};
use crate::plural;
use crate::printable::printable;

/// How many classes of one change are listed: comments have a limit on their length.
const CLASSES_MAX: usize = 25;

/// Without a newline at the end.
pub(super) fn document(compared: &Compared) -> String {
    let name = |file: &knobgate_policy::PolicyFile| code(&printable(file.source().name()));
    let mut document = format!("### Policy: {} → {}\n", name(&compared.old), name(&compared.new));
    if let Some(note) = compared.note_on_modes() {
        document += &format!("\n**Note:** {note}.\n");
    }
    let selectors: Vec<_> = compared.selectors().collect();
    if !selectors.is_empty() {
        let heading = capitalised(describe::SELECTORS);
        document += &format!("\n#### {heading}\n\n| policy | selector |\n| --- | --- |\n");
    }
    for (sign, selector) in &selectors {
        let which = if *sign == '-' { "was" } else { "now" };
        document += &format!("| {which} | {} |\n", code(&printable(selector)));
    }
    let classes = compared.diff.classes();
    if classes.is_empty() && !selectors.is_empty() {
        document += &format!("\n{}.", capitalised(describe::SELECTORS_ALONE));
        return document;
    }
    if classes.is_empty() {
        document += "\nNo differences: both policies decide every access in the same way.";
        return document;
    }
    for change in Change::ALL {
        let of_change: Vec<&Class> = classes.iter().filter(|class| class.change == change).collect();
        if of_change.is_empty() {
            continue;
        }
        let count = plural::count(of_change.len(), "difference");
        document += &format!("\n#### {}: {count}\n\n", capitalised(describe::change(change)));
        let (events, rule) = if compared.events.is_some() { (" events |", " --- |") } else { ("", "") };
        document += &format!("| access | was | now | example |{events}\n| --- | --- | --- | --- |{rule}\n");
        for class in of_change.iter().take(CLASSES_MAX) {
            document += &row(compared, class);
        }
        if of_change.len() > CLASSES_MAX {
            document += &format!("\n… and {} more.\n", of_change.len() - CLASSES_MAX);
        }
    }
    if let Some(events) = &compared.events {
        document += &format!("\n{}\n", events.summary());
    }
    document.trim_end().to_owned()
}

fn row(compared: &Compared, class: &Class) -> String {
    let names: Vec<String> = describe::names(class).iter().map(|names| code(names)).collect();
    let mut access = format!("{} {}", describe::kind(class), names.join(", "));
    let values = describe::values(class);
    if !values.is_empty() {
        access += &format!(" with {}", code(&values));
    }
    if let Some(reason) = class.reason {
        access += &format!(" (may differ: {reason}; the example does not show it)");
    }
    let [was, now] = compared.sides(class).map(|side| {
        let decider = side.decider;
        let error = decider.eval_error.map(|error| format!(" (cannot be evaluated: {error})"));
        let (verdict, place, text) = (code(&side.verdict), code(&decider.place), code(&decider.text));
        format!("{verdict} by {place}: {text}{}", error.unwrap_or_default())
    });
    let example = describe::example(class).map(|example| code(&example)).unwrap_or_default();
    let events = compared.events_of(class).map(|events| format!(" {} |", code(&events)));
    format!("| {access} | {was} | {now} | {example} |{}\n", events.unwrap_or_default())
}

/// `text` as code in a table, in which nothing is interpreted. A `|` would end the cell even there.
fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let text = text.replace('|', "\\|");
    let blank = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{blank}{text}{blank}{fence}")
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn code_cannot_be_left() {
        for (text, expected) in [
            ("a", "`a`"),
            ("a`b", "``a`b``"),
            ("``", "``` `` ```"),
            ("a|b", "`a\\|b`"),
            ("<b>@user", "`<b>@user`"),
        ] {
            assert_eq!(code(text), expected);
        }
    }
}
