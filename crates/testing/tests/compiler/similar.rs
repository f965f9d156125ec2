//! Rules that differ only in their integers, so that their programs share code.

use knobgate_policy::{Action, Condition, Integer, ListTest, Operand, Range, Rule};

/// `rule` with other integers: each is moved away from zero.
pub(crate) fn with_other_integers(rule: &Rule, by: u32) -> Rule {
    let action = match rule.action() {
        Action::Clamp(ranges) => {
            let ranges: Vec<Range> = ranges.iter().map(|range| in_range(*range, by)).collect();
            Action::clamp(ranges).expect("as many ranges")
        }
        action => action.clone(),
    };
    let condition = rule.condition().map(|condition| in_condition(condition, by));
    let rule =
        Rule::new(action, rule.kinds(), rule.patterns().to_vec()).expect("a rule").with_log(rule.log());
    rule.with_condition(condition).expect("a condition")
}

fn in_condition(condition: &Condition, by: u32) -> Condition {
    let all = |parts: &[Condition]| -> Vec<_> { parts.iter().map(|part| in_condition(part, by)).collect() };
    let moved = match condition {
        Condition::All(parts) => Condition::all(all(parts)),
        Condition::Any(parts) => Condition::any(all(parts)),
        Condition::Not(negated) => Ok(Condition::Not(Box::new(in_condition(negated, by)))),
        Condition::Chain(chain) => {
            let links = chain.links().iter().map(|(relation, operand)| (*relation, in_operand(*operand, by)));
            Condition::chain(in_operand(chain.first(), by), links.collect::<Vec<_>>())
        }
        Condition::InRange(test) => Condition::in_range(test.operand(), in_range(test.range(), by)),
        Condition::InSet(test) => {
            let members: Vec<Range> = test.members().iter().map(|member| in_member(*member, by)).collect();
            Condition::in_set(test.operand(), members)
        }
        Condition::List(value, test) => {
            let integers = |integers: &[Integer]| -> Vec<_> {
                integers.iter().map(|integer| moved(*integer, by)).collect()
            };
            let test = match test {
                ListTest::Equals(numbers) => ListTest::equals(integers(numbers)),
                ListTest::Differs(numbers) => ListTest::differs(integers(numbers)),
                ListTest::In(ranges) => {
                    ListTest::is_in(ranges.iter().map(|range| in_member(*range, by)).collect::<Vec<_>>())
                }
            };
            test.map(|test| Condition::List(*value, test))
        }
        Condition::Ranges(test) => {
            let members: Vec<Range> = test.members().iter().map(|member| in_member(*member, by)).collect();
            Condition::in_ranges(test.value(), members)
        }
        Condition::Text(..) | Condition::Netns(_) => Ok(condition.clone()),
    };
    moved.expect("a condition")
}

fn in_operand(operand: Operand, by: u32) -> Operand {
    match operand {
        Operand::Literal(integer) => Operand::Literal(moved(integer, by)),
        operand => operand,
    }
}

fn in_member(range: Range, by: u32) -> Range {
    range.only_member().map_or_else(|| in_range(range, by), |only| Range::only(moved(only, by)))
}

fn in_range(range: Range, by: u32) -> Range {
    // Only the high end: a range must not become empty.
    let high = range.high().map(|high| if high.is_negative() { high } else { moved(high, by) });
    Range::new(range.low(), high).expect("a range")
}

/// Stays where it is if there is nothing beyond.
fn moved(integer: Integer, by: u32) -> Integer {
    let by = if integer.is_negative() { -i128::from(by) } else { i128::from(by) };
    Integer::new(integer.get() + by).unwrap_or(integer)
}
