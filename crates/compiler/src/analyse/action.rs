//! From the actions of the language to those of the IR.

use knobgate_policy::{self as policy, FallbackAction, Range, Relation, Value};

use super::constants::Constants;
use crate::ir::{Action, Bound, Constant, FetchSet, TableContents};

/// The action of the IR, and its constants, which are hoisted out of it. Adds the values that it looks at to `fetch`.
///
/// A text that does not fit on the stack is added to `tables`.
pub(super) fn lower(
    action: &policy::Action,
    fetch: &mut FetchSet,
    tables: &mut TableContents,
) -> (Action, Vec<Constant>) {
    let mut constants = Constants::default();
    let lowered = match action {
        policy::Action::Allow => Action::Allow,
        policy::Action::Deny(errno) => Action::Deny(*errno),
        policy::Action::Set(text) => {
            fetch.add(Value::New);
            let text = text.as_bytes();
            if text.len() < Action::SET_BYTES {
                Action::Set(constants.padded(text, Action::SET_BYTES))
            } else {
                let index = tables.long_texts.insert_full(text.to_vec()).0;
                Action::SetLong(constants.slot(Constant::TextAt(index)))
            }
        }
        policy::Action::Ignore => {
            fetch.add(Value::New);
            fetch.add(Value::Old);
            Action::Ignore
        }
        policy::Action::Clamp(ranges) => {
            fetch.add(Value::New);
            let mut bounds = ranges.iter().map(|range| bounds_of(range, *fetch, &mut constants));
            match ranges.len() {
                1 => Action::ClampOne(bounds.next().unwrap_or_default()),
                _ => Action::ClampEach(bounds.collect()),
            }
        }
    };
    (lowered, constants.0)
}

/// The action of a default.
pub(super) fn of_default(action: FallbackAction) -> Action {
    match action {
        FallbackAction::Allow => Action::Allow,
        FallbackAction::Deny(errno) => Action::Deny(errno),
    }
}

/// The ends of `range`.
fn bounds_of(range: &Range, fetch: FetchSet, constants: &mut Constants) -> Vec<Bound> {
    let low = range.low().map(|low| (Relation::GreaterOrEqual, low));
    let high = range.high().map(|high| (Relation::LessOrEqual, high));
    let bound = |(inside, end): (Relation, policy::Integer)| {
        let decimal = end.to_string();
        Bound {
            inside,
            end: constants.integer(end),
            decimal: constants.padded(decimal.as_bytes(), Bound::DECIMAL_BYTES),
            len: constants.slot(Constant::Word(decimal.len() as u64)),
            is_stored: fetch.width.contains(end),
        }
    };
    low.into_iter().chain(high).map(bound).collect()
}
