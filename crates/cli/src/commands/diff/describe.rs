//! The parts of a class in words. Everything that a policy chose is escaped.

use knobgate_diff::{Change, Class, NameSet, VerdictKind};
use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{AccessKind, DecidedBy, Decision, Verdict};

use crate::printable::printable;

/// How many sets of names are listed before the rest is counted.
const NAMES_MAX: usize = 3;

/// The heading of what the policies apply to.
pub(super) const SELECTORS: &str = "applied to other containers and units";

/// What to say if nothing else differs.
pub(super) const SELECTORS_ALONE: &str =
    "no access is decided differently, but the policies apply to other containers and units";

/// What changes, as a heading.
pub(super) fn change(change: Change) -> &'static str {
    match change {
        Change::NewlyAllowed => "newly allowed",
        Change::Undecided => "undecided",
        Change::RewrittenDifferently => "rewritten differently",
        Change::NewlyDenied => "newly denied",
        Change::Errno => "denied with another errno",
        Change::Logging => "logged differently",
    }
}

/// The names of a class: the first few, and how many more there are.
pub(super) fn names(class: &Class) -> Vec<String> {
    let mut described: Vec<String> = Vec::new();
    let (mut names, mut sets) = (0, 0);
    // Names that are too long are no knobs that Linux has: they are summed up.
    let mut too_long: Vec<Option<&[u8]>> = Vec::new();
    for of_class in &class.names {
        match &of_class.set {
            NameSet::Literals(literals) => {
                let shown = NAMES_MAX.saturating_sub(described.len()).min(literals.len());
                described
                    .extend(literals[..shown].iter().map(|name| printable(&name.to_string()).into_owned()));
                names += literals.len() - shown;
            }
            NameSet::Matched { patterns } if described.len() < NAMES_MAX => {
                let example = of_class.example.knob.to_string();
                described.push(matched(patterns, &printable(&example)));
            }
            NameSet::Matched { .. } => sets += 1,
            NameSet::TooLong { last } => too_long.push(last.as_deref()),
        }
    }
    for (count, one, several) in [(names, "name", "names"), (sets, "set of names", "sets of names")] {
        if count > 0 {
            described.push(format!("{count} more {}", if count == 1 { one } else { several }));
        }
    }
    if !too_long.is_empty() {
        described.push(too_long_names(&too_long));
    }
    described
}

/// Names that patterns match.
fn matched(patterns: &[String], example: &str) -> String {
    let shown: Vec<_> = patterns.iter().take(NAMES_MAX).map(|pattern| printable(pattern)).collect();
    let more = match patterns.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    if patterns.is_empty() {
        format!("every other name, such as {example}")
    } else {
        format!("{}{more}, such as {example}", shown.join(" and "))
    }
}

fn too_long_names(lasts: &[Option<&[u8]>]) -> String {
    let ends: Vec<_> = lasts.iter().copied().flatten().take(NAMES_MAX).map(printable).collect();
    let is_all = ends.len() == lasts.len();
    if ends.is_empty() || lasts.contains(&None) {
        format!("names of more than {NAME_MAX} bytes")
    } else {
        let more = if is_all { "" } else { " and others" };
        format!("names of more than {NAME_MAX} bytes that end in {}{more}", ends.join(", "))
    }
}

/// `read` or `write`, and what is read or written.
pub(super) fn kind(class: &Class) -> &'static str {
    match class.kind {
        AccessKind::Read => "read",
        AccessKind::Write => "write",
    }
}

/// A verdict: that of all accesses of a class, or that of its example where they have different values.
pub(super) fn verdict(kind: VerdictKind, example: &Decision) -> String {
    match (kind, &example.verdict) {
        (VerdictKind::Allow, _) => "allow".to_owned(),
        (VerdictKind::Deny(errno), _) => format!("deny {errno}"),
        (VerdictKind::Rewrite, Verdict::Rewrite(value)) => {
            format!("set {}", printable(&knobgate_policy::Text::from(value.as_slice()).to_string()))
        }
        (VerdictKind::Rewrite, _) => "set".to_owned(),
    }
}

/// How many rules other than that of the first names decide about the others.
pub(super) fn other_deciders(class: &Class, decision: fn(&knobgate_diff::Names) -> &Decision) -> usize {
    let rule = |names: &knobgate_diff::Names| match decision(names).by {
        DecidedBy::Rule(rule) | DecidedBy::EvalError { rule, .. } => Some(rule),
        DecidedBy::Default(_) => None,
    };
    let rules: std::collections::BTreeSet<Option<usize>> = class.names.iter().map(rule).collect();
    rules.len() - 1
}

/// What the accesses of a class hold.
pub(super) fn values(class: &Class) -> String {
    printable(&class.region.to_string()).into_owned()
}

/// An example of a class, as a test states it; none if its name is too long to be read.
pub(super) fn example(class: &Class) -> Option<String> {
    let example = &class.names[0].example;
    (example.knob.as_bytes().len() <= NAME_MAX).then(|| printable(&example.to_string()).into_owned())
}
