//! Intervals of integers.

use super::PolicyError;
use crate::Integer;

/// An interval of integers, both ends included; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    low: Option<Integer>,
    high: Option<Integer>,
}

impl Range {
    /// Every integer.
    pub const ALL: Self = Self { low: None, high: None };

    /// From `low` to `high`; without one, the range has no such end.
    ///
    /// # Errors
    /// A low end above the high one.
    pub fn new(low: Option<Integer>, high: Option<Integer>) -> Result<Self, PolicyError> {
        match (low, high) {
            (Some(low), Some(high)) if low > high => Err(PolicyError::EmptyRange),
            _ => Ok(Self { low, high }),
        }
    }

    /// The integer alone.
    pub fn only(integer: Integer) -> Self {
        Self { low: Some(integer), high: Some(integer) }
    }

    /// Its member, if there is only one.
    pub fn only_member(&self) -> Option<Integer> {
        self.low.filter(|_| self.low == self.high)
    }

    /// The lowest member; absent, there is no lower bound.
    pub fn low(&self) -> Option<Integer> {
        self.low
    }

    /// The highest member; absent, there is no upper bound.
    pub fn high(&self) -> Option<Integer> {
        self.high
    }

    /// What is in one of `ranges`, in ascending order: between two of these there is at least one integer that is in none.
    pub fn merged(ranges: &[Self]) -> Vec<Self> {
        let low = |range: &Self| range.low.unwrap_or(Integer::MIN).get();
        let high = |range: &Self| range.high.unwrap_or(Integer::MAX).get();
        let mut sorted = ranges.to_vec();
        sorted.sort_by_key(low);
        let mut merged: Vec<Self> = Vec::new();
        for range in sorted {
            match merged.last_mut() {
                Some(last) if low(&range) <= high(last) + 1 => {
                    if high(&range) > high(last) {
                        last.high = range.high;
                    }
                }
                _ => merged.push(range),
            }
        }
        merged
    }

    /// Whether `integer` lies inside.
    pub fn contains(&self, integer: Integer) -> bool {
        self.clamp(integer) == integer
    }

    /// The member closest to `integer`.
    pub fn clamp(&self, integer: Integer) -> Integer {
        let integer = self.low.map_or(integer, |low| integer.max(low));
        self.high.map_or(integer, |high| integer.min(high))
    }
}

/// The integer alone.
impl From<Integer> for Range {
    fn from(integer: Integer) -> Self {
        Self::only(integer)
    }
}
