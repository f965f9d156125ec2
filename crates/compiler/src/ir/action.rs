//! What a rule does.

use knobgate_policy::limits::{NUMBER_CHARS_MAX, VALUE_MAX};
use knobgate_policy::{self as policy, Errno, FallbackAction, Range, Relation, Value};

use super::rule::Constants;
use super::{Bytes, Constant, FetchSet, Integer, Slot};

/// An action without its constants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Allow,
    Deny(Errno),
    /// Deny with EINVAL: the rule cannot be evaluated.
    CannotEvaluate,
    /// Replace the value with the text, which fills a whole buffer.
    Set(Bytes),
    /// Replace the value with the current one.
    Ignore,
    /// Move the one number between bounds.
    ClampOne(Vec<Bound>),
    /// Move each number between its bounds.
    ClampEach(Vec<Vec<Bound>>),
}

/// An end of a range to clamp to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bound {
    /// How a number inside of the range compares with it.
    pub(crate) inside: Relation,
    pub(crate) end: Integer,
    /// It in decimal, in [`DECIMAL_BYTES`](Self::DECIMAL_BYTES) bytes, followed by zeros.
    pub(crate) decimal: Bytes,
    /// How many bytes that takes.
    pub(crate) len: Slot,
    /// Whether the knob stores it as it is.
    pub(crate) is_stored: bool,
}

impl Bound {
    /// Bytes of constants that a number in decimal fills.
    pub(crate) const DECIMAL_BYTES: usize = (NUMBER_CHARS_MAX + 1).next_multiple_of(8);

    fn of_range(range: &Range, fetch: FetchSet, constants: &mut Constants) -> Vec<Self> {
        let low = range.low().map(|low| (Relation::GreaterOrEqual, low));
        let high = range.high().map(|high| (Relation::LessOrEqual, high));
        let bound = |(inside, end): (Relation, policy::Integer)| {
            let decimal = end.to_string();
            Self {
                inside,
                end: constants.integer(end),
                decimal: constants.padded(decimal.as_bytes(), Self::DECIMAL_BYTES),
                len: constants.slot(Constant::Word(decimal.len() as u64)),
                is_stored: fetch.width.contains(end),
            }
        };
        low.into_iter().chain(high).map(bound).collect()
    }
}

impl Action {
    /// The bytes that a text to set fills, with the NUL that ends it.
    pub(crate) const SET_BYTES: usize = VALUE_MAX + 1;

    /// Hoists the constants out of `action`. Adds what it looks at to `fetch`.
    pub(crate) fn hoist(action: &policy::Action, fetch: &mut FetchSet) -> (Self, Vec<Constant>) {
        let mut constants = Constants::default();
        let hoisted = match action {
            policy::Action::Allow => Action::Allow,
            policy::Action::Deny(errno) => Action::Deny(*errno),
            policy::Action::Set(text) => {
                fetch.add(Value::New);
                Action::Set(constants.padded(text.as_bytes(), Self::SET_BYTES))
            }
            policy::Action::Ignore => {
                fetch.add(Value::New);
                fetch.add(Value::Old);
                Action::Ignore
            }
            policy::Action::Clamp(ranges) => {
                fetch.add(Value::New);
                let mut bounds = ranges.iter().map(|range| Bound::of_range(range, *fetch, &mut constants));
                match ranges.len() {
                    1 => Action::ClampOne(bounds.next().unwrap_or_default()),
                    _ => Action::ClampEach(bounds.collect()),
                }
            }
        };
        (hoisted, constants.0)
    }

    /// That of a default.
    pub(crate) fn of_default(action: FallbackAction) -> Self {
        match action {
            FallbackAction::Allow => Action::Allow,
            FallbackAction::Deny(errno) => Action::Deny(errno),
        }
    }

    /// Whether it may replace what is written.
    pub(crate) fn rewrites(&self) -> bool {
        match self {
            Action::Allow | Action::Deny(_) | Action::CannotEvaluate => false,
            Action::Set(_) | Action::Ignore => true,
            Action::ClampOne(bounds) => !bounds.is_empty(),
            Action::ClampEach(bounds) => bounds.iter().any(|bounds| !bounds.is_empty()),
        }
    }
}
