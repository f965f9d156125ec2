//! The map with the counters of a policy: how often each rule decided, and how often it could not be evaluated.

use knobgate_policy::AccessKind;

use crate::ir::Step;

/// The name of the map with the counters: an array of one value, [`RuleHits`] for each rule, for the default for reads and for
/// the one for writes. Each is two little-endian `u64`: `decided`, then `eval_errors`.
pub const RULE_HITS_MAP: &str = "rule_hits";

/// The counters of a rule or a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleHits {
    /// How many accesses it decided.
    pub decided: u64,
    /// How many accesses were denied because it could not be evaluated for them.
    pub eval_errors: u64,
}

/// One of the two counters of a rule or a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// The index of its [`RuleHits`].
    pub index: usize,
    /// Which of the two.
    pub counted: Counted,
}

/// What a counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Decisions.
    Decided,
    /// Accesses for which the rule could not be evaluated.
    EvalError,
}

impl Counted {
    const BOTH: [Self; 2] = [Self::Decided, Self::EvalError];

    /// The offset of its 8 bytes, little-endian, in the [`RuleHits`].
    pub(crate) fn offset(self) -> i16 {
        match self {
            Self::Decided => 0,
            Self::EvalError => 8,
        }
    }
}

impl RuleHits {
    /// How many bytes it takes in the value of the map.
    pub(crate) const BYTES: usize = 16;

    /// Those in the value of the map: of all rules, of the default for reads, and of the one for writes.
    pub fn in_value(value: &[u8]) -> Vec<Self> {
        let number = |bytes: &[u8; Self::BYTES], counted: Counted| {
            u64::from_le_bytes(bytes.as_chunks().0[counted.offset() as usize / 8])
        };
        let hits = value.as_chunks().0.iter().map(|bytes| Self {
            decided: number(bytes, Counted::Decided),
            eval_errors: number(bytes, Counted::EvalError),
        });
        hits.collect()
    }

    /// The counters that were incremented between `before` and `after`, each as often as it was.
    pub fn incremented(before: &[Self], after: &[Self]) -> Vec<Counter> {
        let counters = before.iter().zip(after).enumerate().flat_map(|(index, (before, after))| {
            Counted::BOTH.into_iter().flat_map(move |counted| {
                let times = after.get(counted).saturating_sub(before.get(counted));
                std::iter::repeat_n(Counter { index, counted }, times as usize)
            })
        });
        counters.collect()
    }

    fn get(&self, counted: Counted) -> u64 {
        match counted {
            Counted::Decided => self.decided,
            Counted::EvalError => self.eval_errors,
        }
    }
}

/// The index of the [`RuleHits`] of a default, in a policy with so many rules.
pub(crate) fn index_of_default(kind: AccessKind, rules: usize) -> usize {
    rules
        + match kind {
            AccessKind::Read => 0,
            AccessKind::Write => 1,
        }
}

/// The offset in the map of the [`RuleHits`] of a step, in a policy with so many rules.
pub(crate) fn offset(step: Step, rules: usize) -> u32 {
    let index = match step {
        Step::Rule { rule, .. } | Step::NameTooLong { rule } => rule,
        Step::Default(kind) => index_of_default(kind, rules),
    };
    (index * RuleHits::BYTES) as u32
}

/// How many bytes the value of the map has, for a policy with so many rules.
pub(crate) fn value_size(rules: usize) -> usize {
    (rules + AccessKind::ALL.len()) * RuleHits::BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_increment_is_reported() {
        let value = |numbers: [u64; 4]| RuleHits::in_value(&numbers.map(u64::to_le_bytes).concat());
        let before = value([1, 2, 3, 4]);
        assert_eq!(before[1], RuleHits { decided: 3, eval_errors: 4 });
        let counter = |index, counted| Counter { index, counted };
        let (decided, not_evaluated) = (counter(0, Counted::Decided), counter(1, Counted::EvalError));
        assert_eq!(
            RuleHits::incremented(&before, &value([2, 2, 3, 6])),
            [decided, not_evaluated, not_evaluated]
        );
        assert_eq!(RuleHits::incremented(&before, &before), []);
    }
}
