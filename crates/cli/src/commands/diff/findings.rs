//! Differences as findings for code scanning.

use knobgate_diff::{Change, Class};
use knobgate_policy::PolicyFile;
use knobgate_policy::selector::Selector;

use super::{Compared, describe};
use crate::sarif::{Finding, Level, Location, Rule};

/// One rule for each change, and two for what the policies apply to.
pub(super) const RULES: [Rule<'static>; 8] = [
    rule(Change::NewlyAllowed, "The new policy lets an access succeed that the old one denied or rewrote."),
    rule(
        Change::Undecided,
        "It was not decided whether the policies differ here. Count it as newly allowed, or simplify the rules.",
    ),
    rule(Change::RewrittenDifferently, "The new policy writes another value than the old one."),
    rule(Change::NewlyDenied, "The new policy denies an access that succeeded under the old one."),
    rule(Change::Errno, "The new policy denies an access with another errno."),
    rule(Change::Logging, "Only one of the policies logs this access."),
    Rule {
        id: NOT_APPLIED,
        help: Some("Containers and units to which the old policy applied may be left without one."),
    },
    Rule {
        id: NEWLY_APPLIED,
        help: Some("The new policy may apply to more containers and units than the old one."),
    },
];

const NOT_APPLIED: &str = "no-longer-applied";
const NEWLY_APPLIED: &str = "newly-applied";

const fn rule(change: Change, help: &'static str) -> Rule<'static> {
    Rule { id: id(change), help: Some(help) }
}

const fn id(change: Change) -> &'static str {
    match change {
        Change::NewlyAllowed => "newly-allowed",
        Change::Undecided => "undecided",
        Change::RewrittenDifferently => "rewritten-differently",
        Change::NewlyDenied => "newly-denied",
        Change::Errno => "other-errno",
        Change::Logging => "other-logging",
    }
}

const fn level(change: Change) -> Level {
    match change {
        Change::NewlyAllowed => Level::Error,
        Change::Undecided | Change::RewrittenDifferently | Change::NewlyDenied => Level::Warning,
        Change::Errno | Change::Logging => Level::Note,
    }
}

/// A finding for each class, at the rule of the new policy, and for each `apply if` that only one of the policies has.
pub(super) fn of(compared: &Compared) -> Vec<Finding> {
    let classes = compared.diff.classes().iter().map(|class| finding(compared, class));
    classes.chain(of_selectors(compared)).collect()
}

fn of_selectors(compared: &Compared) -> impl Iterator<Item = Finding> {
    let Compared { old, new, diff, .. } = compared;
    let removed = diff.selectors().removed.iter().map(|selector| Finding {
        rule: NOT_APPLIED,
        level: Level::Error,
        message: format!("{}: no longer if {selector}", describe::SELECTORS),
        location: Location::of(new.source(), None),
        related: vec![(place(old, selector), "the old policy".to_owned())],
        fix: None,
    });
    let added = diff.selectors().added.iter().map(|selector| Finding {
        rule: NEWLY_APPLIED,
        level: Level::Warning,
        message: format!("{}: newly if {selector}", describe::SELECTORS),
        location: place(new, selector),
        related: Vec::new(),
        fix: None,
    });
    removed.chain(added)
}

/// Where a policy has this `apply if`.
fn place(file: &PolicyFile, selector: &Selector) -> Location {
    let index = file.policy().apply_if().iter().position(|other| other == selector);
    Location::of(file.source(), index.and_then(|index| file.apply_if_span(index)))
}

fn finding(compared: &Compared, class: &Class) -> Finding {
    let [old, new] = compared.sides(class);
    let values = describe::values(class);
    let with = if values.is_empty() { String::new() } else { format!(" with {values}") };
    let verdicts = match class.reason {
        Some(reason) => reason.to_string(),
        None => format!("was {}, now {}", old.verdict, new.verdict),
    };
    let old_rule = match old.decider.eval_error {
        Some(error) => format!("{} (cannot be evaluated: {error})", old.decider.text),
        None => old.decider.text,
    };
    let example = describe::example(class).map(|example| format!("; such as {example}"));
    let message = format!(
        "{}: {} {}{with}; {verdicts}{}{}",
        describe::change(class.change),
        describe::kind(class),
        describe::names(class).join(", "),
        example.unwrap_or_default(),
        compared.events_of(class).map(|events| format!("; {events}")).unwrap_or_default(),
    );
    Finding {
        rule: id(class.change),
        level: level(class.change),
        message,
        location: Location::of(new.file.source(), new.decider.span),
        related: vec![(
            Location::of(old.file.source(), old.decider.span),
            format!("the old policy: {old_rule}"),
        )],
        fix: None,
    }
}
