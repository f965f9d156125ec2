//! Rules that differ in their integers alone: their programs share code.

use knobgate_policy::{Action, Condition, Integer, Operand, Range, Rule};

/// `rule` with other integers: each is moved away from zero.
pub(crate) fn like(rule: &Rule, by: u32) -> Rule {
    let mut rule = rule.clone();
    if let Some(condition) = &mut rule.condition {
        in_condition(condition, by);
    }
    if let Action::Clamp(ranges) = &mut rule.action {
        ranges.iter_mut().for_each(|range| in_range(range, by));
    }
    rule
}

fn in_condition(condition: &mut Condition, by: u32) {
    match condition {
        Condition::All(all) | Condition::Any(all) => {
            all.iter_mut().for_each(|condition| in_condition(condition, by));
        }
        Condition::Not(negated) => in_condition(negated, by),
        Condition::Chain { first, links } => {
            in_operand(first, by);
            links.iter_mut().for_each(|(_, operand)| in_operand(operand, by));
        }
        Condition::InRange(operand, range) => {
            in_operand(operand, by);
            in_range(range, by);
        }
        Condition::InSet(operand, set) => {
            in_operand(operand, by);
            set.iter_mut().for_each(|integer| moved(integer, by));
        }
        Condition::Text(..) => {}
    }
}

fn in_operand(operand: &mut Operand, by: u32) {
    if let Operand::Literal(integer) = operand {
        moved(integer, by);
    }
}

fn in_range(range: &mut Range, by: u32) {
    // Only the high end: a range must not become empty.
    range.high.iter_mut().filter(|high| !high.is_negative()).for_each(|high| moved(high, by));
}

/// Stays where it is if there is nothing beyond.
fn moved(integer: &mut Integer, by: u32) {
    let by = if integer.is_negative() { -i128::from(by) } else { i128::from(by) };
    *integer = Integer::new(integer.get() + by).unwrap_or(*integer);
}
