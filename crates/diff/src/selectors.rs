//! Which containers and units two policies apply to.

use foldhash::HashSet;
use knobgate_policy::Policy;
use knobgate_policy::selector::Selector;

/// The `apply if` statements that only one of two policies has. Their order means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SelectorChanges {
    /// Those of the old policy.
    pub removed: Vec<Selector>,
    /// Those of the new policy.
    pub added: Vec<Selector>,
}

impl SelectorChanges {
    pub(crate) fn between(old: &Policy, new: &Policy) -> Self {
        let texts =
            |policy: &Policy| policy.apply_if().iter().map(Selector::to_string).collect::<HashSet<_>>();
        let only = |of: &Policy, other: &Policy| {
            let others = texts(other);
            of.apply_if().iter().filter(|selector| !others.contains(&selector.to_string())).cloned().collect()
        };
        Self { removed: only(old, new), added: only(new, old) }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }
}
