//! Which names have to be told apart because their knobs store other numbers as they are written.

use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{
    AccessKind, Action, Condition, KnobPattern, Operand, Piece, Policy, Rule, Value, Width,
};

/// Whether what `rule` makes of a write depends on the width of the knob: it looks at numbers of the new value.
pub(super) fn matters_to(rule: &Rule) -> bool {
    rule.kinds().contains(AccessKind::Write)
        && (matches!(rule.action(), Action::Clamp(_)) || rule.condition().is_some_and(looks_at_new_numbers))
}

fn looks_at_new_numbers(condition: &Condition) -> bool {
    let looks = |operand: Operand| {
        matches!(
            operand,
            Operand::Only(Value::New) | Operand::Element(Value::New, _) | Operand::Count(Value::New)
        )
    };
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().any(looks_at_new_numbers),
        Condition::Not(part) => looks_at_new_numbers(part),
        Condition::Chain(chain) => chain.operands().any(looks),
        Condition::InRange(test) => looks(test.operand()),
        Condition::InSet(test) => looks(test.operand()),
        Condition::Text(..) => false,
    }
}

/// The patterns of knobs whose width is another one than that of most, as far as a rule to which it matters may match
/// them without spelling them out. None of them matches a name that another one matches and that has another width.
pub(super) fn told_apart(policy: &Policy) -> Vec<(&KnobPattern, Width)> {
    let globs: Vec<&KnobPattern> = policy
        .rules()
        .iter()
        .filter(|rule| matters_to(rule))
        .flat_map(Rule::patterns)
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

/// The width of a name that these patterns match, which are all of [`told_apart`] that do.
pub(super) fn of(matching: impl Iterator<Item = Width>, elsewhere: Width) -> Width {
    // What is known counts before what is declared; of the known ones there is one at most.
    let is_declared = |width: &Width| *width == Width::Bits64;
    matching.min_by_key(is_declared).unwrap_or(elsewhere)
}

/// Whether a name may match both; `false` is certain.
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
