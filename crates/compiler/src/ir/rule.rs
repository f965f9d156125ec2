//! One rule: a decision graph, an action, and the constants of both.

use knobgate_policy::{Logging, Value, Width};

use super::{Action, Constant, Graph};

/// A rule as it is tried for knobs of one width.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// What must hold; a rule without a condition has an empty graph.
    pub(crate) graph: Graph,
    /// The constants of the graph.
    pub(crate) graph_constants: Vec<Constant>,
    pub(crate) action: Action,
    /// The constants of the action.
    pub(crate) action_constants: Vec<Constant>,
    /// The values that it looks at.
    pub(crate) fetch: FetchSet,
    pub(crate) reports: Reports,
}

/// For which verdicts of a rule an event is sent, if the program sends any. One that cannot be evaluated always sends one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Reports {
    /// When it allows an access.
    pub(crate) allow: bool,
    /// When it denies or rewrites.
    pub(crate) other: bool,
}

impl Reports {
    /// For no verdict.
    pub(crate) const NONE: Self = Self { allow: false, other: false };

    /// As a rule or default says that has `log`, `nolog` or neither.
    pub(crate) fn of(log: Option<Logging>) -> Self {
        let log = log.map(Logging::is_on);
        Self { allow: log == Some(true), other: log != Some(false) }
    }
}

/// The values that are fetched before a chain of rules starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub(crate) struct FetchSet {
    pub(crate) new: bool,
    pub(crate) old: bool,
    /// The width of the knob: larger numbers in the new value make it text.
    pub(crate) width: Width,
}

impl FetchSet {
    /// The union.
    pub(crate) fn union(self, other: Self) -> Self {
        // Rules to which the width does not matter have the default.
        let width = if self.width == Width::default() { other.width } else { self.width };
        Self { new: self.new || other.new, old: self.old || other.old, width }
    }

    /// The values, in the order in which they are fetched.
    pub(crate) fn values(self) -> impl Iterator<Item = Value> {
        [Value::New, Value::Old].into_iter().filter(move |&value| self.has(value))
    }

    pub(crate) fn has(self, value: Value) -> bool {
        match value {
            Value::New => self.new,
            Value::Old => self.old,
        }
    }

    pub(crate) fn add(&mut self, value: Value) {
        match value {
            Value::New => self.new = true,
            Value::Old => self.old = true,
        }
    }
}
