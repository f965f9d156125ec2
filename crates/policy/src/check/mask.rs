//! Warns of comparisons that say nothing about the bits that a mask leaves.

use super::Checker;
use crate::syntax::{ConditionSyntax, Member, RangeSyntax, Spanned, Term};
use crate::{Diagnostic, Integer, Mask, Relation, Span};

/// Numbers that a comparison is about, both ends included.
type Ends = (i128, i128);

impl Checker {
    /// Warns where a comparison of masked numbers holds for all of them, or for none.
    pub(super) fn masks(&mut self, condition: &Spanned<ConditionSyntax>) {
        match &condition.node {
            ConditionSyntax::All(parts) | ConditionSyntax::Any(parts) => {
                parts.iter().for_each(|part| self.masks(part));
            }
            ConditionSyntax::Not(part) => self.masks(part),
            ConditionSyntax::Chain(first, links) => {
                let mut left = first;
                for (relation, right) in links {
                    let sides = match (mask(left), &left.node, mask(right), &right.node) {
                        (Some(mask), _, _, Term::Integer(literal)) => Some((mask, relation.node, *literal)),
                        (_, Term::Integer(literal), Some(mask), _) => {
                            Some((mask, relation.node.mirrored(), *literal))
                        }
                        _ => None,
                    };
                    if let Some((mask, relation, literal)) = sides {
                        let (ends, negated) = ends(relation, literal);
                        self.masked(mask, &[ends], negated, left.span.to(right.span));
                    }
                    left = right;
                }
            }
            ConditionSyntax::InRange(subject, range) => {
                if let Some(mask) = mask(subject) {
                    self.masked(mask, &[of_range(&range.node)], false, condition.span);
                }
            }
            ConditionSyntax::InSet(subject, members) => {
                let ends = members.node.iter().map(|member| match &member.node {
                    Member::Integer(integer) => Some((integer.get(), integer.get())),
                    Member::Range(range) => Some(of_range(range)),
                    Member::Text(_) => None,
                });
                if let (Some(mask), Some(ends)) = (mask(subject), ends.collect::<Option<Vec<_>>>()) {
                    self.masked(mask, &ends, false, condition.span);
                }
            }
            ConditionSyntax::List(..)
            | ConditionSyntax::Text(..)
            | ConditionSyntax::Word { .. }
            | ConditionSyntax::Knob { .. } => {}
        }
    }

    /// Warns if every number that `mask` leaves is between two of these ends, or none is.
    fn masked(&mut self, mask: Mask, ends: &[Ends], negated: bool, span: Span) {
        // These are errors.
        let is_range = |&(low, high): &Ends| low <= high && (low, high) != (i128::MIN, i128::MAX);
        if ends.is_empty() || !ends.iter().all(is_range) {
            return;
        }
        let always = match mask_leaves(mask, ends) {
            Leaves::All => !negated,
            Leaves::None => negated,
            Leaves::Some => return,
        };
        let message = if always { "this always holds" } else { "this never holds" };
        let label = format!("`& {mask}` leaves only these bits");
        self.report(Diagnostic::warning("outside-of-mask", span, message).label(label));
    }
}

/// How many of the numbers that a mask leaves are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    All,
    Some,
    None,
}

/// How many of the numbers that `mask` leaves are between two of these ends. Where it takes more than one pair of ends to have them all,
/// that is `Some`.
fn mask_leaves(mask: Mask, ends: &[Ends]) -> Leaves {
    let has_all = |&(low, high): &Ends| low <= 0 && high >= i128::from(mask.get());
    let has_one = |&(low, high): &Ends| least_from(mask, low).is_some_and(|least| i128::from(least) <= high);
    if ends.iter().any(has_all) {
        Leaves::All
    } else if ends.iter().any(has_one) {
        Leaves::Some
    } else {
        Leaves::None
    }
}

/// The least of the numbers that `mask` leaves which is not less than `low`.
fn least_from(mask: Mask, low: i128) -> Option<u64> {
    let mask = mask.get();
    let Ok(low) = u64::try_from(low.max(0)) else { return None };
    let outside = low & !mask;
    if outside == 0 {
        return Some(low);
    }
    // The highest bit that `low` has and the mask has not: above it, the number has to be more.
    let at = outside.ilog2();
    let above = u64::MAX.checked_shl(at + 1).unwrap_or(0);
    let raised = mask & !low & above;
    if raised == 0 {
        return None;
    }
    let bit = raised & raised.wrapping_neg();
    Some(low & mask & !(bit - 1) | bit)
}

/// The numbers for which a comparison with `literal` holds, or does not hold if the second is true.
fn ends(relation: Relation, literal: Integer) -> (Ends, bool) {
    let literal = literal.get();
    match relation {
        Relation::Less => ((i128::MIN, literal - 1), false),
        Relation::LessOrEqual => ((i128::MIN, literal), false),
        Relation::Equal => ((literal, literal), false),
        Relation::NotEqual => ((literal, literal), true),
        Relation::GreaterOrEqual => ((literal, i128::MAX), false),
        Relation::Greater => ((literal + 1, i128::MAX), false),
    }
}

fn of_range(range: &RangeSyntax) -> Ends {
    (range.low.map_or(i128::MIN, Integer::get), range.high.map_or(i128::MAX, Integer::get))
}

/// The mask of a term that has a valid one.
fn mask(term: &Spanned<Term>) -> Option<Mask> {
    match &term.node {
        Term::Masked(_, mask) => Mask::new(mask.node).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_mask_leaves_is_found_as_by_trying_all() {
        for bits in 1..64_u32 {
            let mask = Mask::new(Integer::from(bits)).unwrap();
            let left: Vec<i128> = (0..128).filter(|number| number & !i128::from(mask.get()) == 0).collect();
            for low in -2..130 {
                let expected = left.iter().copied().find(|&number| number >= low);
                assert_eq!(least_from(mask, low).map(i128::from), expected, "{bits:#x} from {low}");
                for high in low..low + 20 {
                    let inside = left.iter().filter(|number| (low..=high).contains(number)).count();
                    let expected = match inside {
                        0 => Leaves::None,
                        count if count == left.len() => Leaves::All,
                        _ => Leaves::Some,
                    };
                    assert_eq!(mask_leaves(mask, &[(low, high)]), expected, "{bits:#x} in {low}..{high}");
                }
            }
        }
        let highest = Mask::new(Integer::from_u64(1 << 63)).unwrap();
        assert_eq!(least_from(highest, 1), Some(1 << 63));
        assert_eq!(least_from(highest, (1 << 63) + 1), None);
        assert_eq!(least_from(highest, 1 << 64), None);
    }
}
