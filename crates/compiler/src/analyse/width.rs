//! Which names have to be told apart because their knobs store numbers of different widths.

use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{
    AccessKind, Action, Condition, KnobPattern, Operand, Piece, Policy, Rule, Value, Width,
};

/// For each rule, whether its decision of a write depends on the width of the knob: it looks at numbers of the new value.
pub(super) fn dependent_rules(policy: &Policy) -> Vec<bool> {
    let depends = |rule: &Rule| {
        rule.kinds().contains(AccessKind::Write)
            && (matches!(rule.action(), Action::Clamp(_))
                || rule.condition().is_some_and(compares_new_numbers))
    };
    policy.rules().iter().map(depends).collect()
}

/// Whether the condition looks at numbers of the new value.
fn compares_new_numbers(condition: &Condition) -> bool {
    let is_new = |operand: Operand| operand.value() == Some(Value::New);
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().any(compares_new_numbers),
        Condition::Not(negated) => compares_new_numbers(negated),
        Condition::Chain(chain) => chain.operands().any(is_new),
        Condition::InRange(test) => is_new(test.operand()),
        Condition::InSet(test) => is_new(test.operand()),
        Condition::List(value, _) => *value == Value::New,
        // Handlers of sets of numbers reject what does not fit.
        Condition::Ranges(_) | Condition::Text(..) | Condition::Netns(_) => false,
    }
}

/// The patterns of knobs that have another width than most, if a [dependent](dependent_rules) rule may match these knobs
/// without spelling them out. If two of them match the same name, they agree on its width.
pub(super) fn special<'a>(policy: &'a Policy, depends: &[bool]) -> Vec<(&'a KnobPattern, Width)> {
    let globs: Vec<&KnobPattern> = policy
        .rules()
        .iter()
        .zip(depends)
        .filter(|(_, depends)| **depends)
        .flat_map(|(rule, _)| rule.patterns())
        .filter(|pattern| pattern.literal().is_none())
        .collect();
    if globs.is_empty() {
        return Vec::new();
    }
    let elsewhere = policy.width_elsewhere();
    let known = Width::all_known().iter().map(|(pattern, width)| (pattern, *width));
    let declared = policy.width_64().iter().map(|pattern| (pattern, Width::Bits64));
    known
        .chain(declared.filter(|_| elsewhere == Width::default()))
        .filter(|(pattern, _)| pattern.literal().is_none_or(|name| name.len() <= NAME_MAX))
        .filter(|(pattern, _)| globs.iter().any(|glob| may_overlap(glob, pattern)))
        .collect()
}

/// The width of the knobs of a name: `matching` are the widths of all [special](special) patterns that match it.
pub(super) fn of(matching: impl Iterator<Item = Width>, elsewhere: Width) -> Width {
    // Known widths take precedence over declared ones. A name has one known width at most.
    let is_declared = |width: &Width| *width == Width::Bits64;
    matching.min_by_key(is_declared).unwrap_or(elsewhere)
}

/// Whether some name may match both. `false` is certain, `true` is not.
fn may_overlap(glob: &KnobPattern, other: &KnobPattern) -> bool {
    if let Some(name) = other.literal() {
        return glob.matches(name);
    }
    let ends = |pattern: &KnobPattern| {
        let pieces = pattern.pieces();
        let bytes = |piece: Option<&Piece>| match piece {
            Some(Piece::Literal(bytes)) => bytes.clone(),
            _ => Vec::new(),
        };
        (bytes(pieces.first()), bytes(pieces.last()))
    };
    let ((start, end), (other_start, other_end)) = (ends(glob), ends(other));
    (start.starts_with(&other_start) || other_start.starts_with(&start))
        && (end.ends_with(&other_end) || other_end.ends_with(&end))
}
