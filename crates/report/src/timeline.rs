//! Events over time, in buckets whose width fits what there is.

use std::collections::BTreeMap;
use std::time::SystemTime;

use knobgate_policy::filter::OutcomeKind;

use crate::counts::Counts;
use crate::moment::milliseconds;

/// The most buckets, with empty ones in between.
pub const BUCKETS_MAX: u64 = 240;

/// Widths in milliseconds that people like. Each is a multiple of the one before, so that buckets become wider ones whole. What
/// comes after the last one is twice as wide, again and again.
const WIDTHS: [i64; 19] = [
    1,
    5,
    10,
    50,
    100,
    500,
    SECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    30 * MINUTE,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    24 * HOUR,
];
const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Events over time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeline {
    /// The width of a bucket, in milliseconds.
    pub width: i64,
    /// The buckets that are not empty, by number: bucket n begins n widths after 1970. At most [`BUCKETS_MAX`] fit between the
    /// first and the last one.
    pub buckets: BTreeMap<i64, Bucket>,
}

/// What happened in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Bucket {
    /// The events.
    pub events: Counts,
    /// How many events were counted and not sent.
    pub suppressed: u64,
    /// How many events were lost.
    pub lost: u64,
}

impl Timeline {
    pub(crate) fn new() -> Self {
        Self { width: WIDTHS[0], buckets: BTreeMap::new() }
    }

    pub(crate) fn add_event(&mut self, time: SystemTime, outcome: impl Into<Option<OutcomeKind>>) {
        self.bucket(time).events.add(outcome);
    }

    pub(crate) fn add_suppressed(&mut self, time: SystemTime, count: u64) {
        let suppressed = &mut self.bucket(time).suppressed;
        *suppressed = suppressed.saturating_add(count);
    }

    pub(crate) fn add_lost(&mut self, time: SystemTime, count: u64) {
        let lost = &mut self.bucket(time).lost;
        *lost = lost.saturating_add(count);
    }

    /// The bucket of this moment. All become wider until there is room for it.
    fn bucket(&mut self, time: SystemTime) -> &mut Bucket {
        let time = milliseconds(time);
        loop {
            let number = time.div_euclid(self.width);
            let first = self.buckets.first_key_value().map_or(number, |(&first, _)| first.min(number));
            let last = self.buckets.last_key_value().map_or(number, |(&last, _)| last.max(number));
            if last.abs_diff(first) < BUCKETS_MAX {
                return self.buckets.entry(number).or_default();
            }
            self.widen();
        }
    }

    fn widen(&mut self) {
        let wider = WIDTHS.into_iter().find(|&width| width > self.width).unwrap_or(self.width * 2);
        let factor = wider / self.width;
        for (number, bucket) in std::mem::take(&mut self.buckets) {
            let into = self.buckets.entry(number.div_euclid(factor)).or_default();
            into.events.add_all(&bucket.events);
            into.suppressed = into.suppressed.saturating_add(bucket.suppressed);
            into.lost = into.lost.saturating_add(bucket.lost);
        }
        self.width = wider;
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_width_is_a_multiple_of_the_one_before() {
        for pair in WIDTHS.windows(2) {
            assert_eq!(pair[1] % pair[0], 0, "{pair:?}");
        }
    }

    proptest! {
        #[test]
        fn buckets_are_those_of_the_final_width(
            times in vec(prop_oneof![0..5_000u64, 0..100_000_000u64, 0..4_000_000_000_000u64], 1..400)
        ) {
            let mut timeline = Timeline::new();
            for &time in &times {
                timeline.add_event(UNIX_EPOCH + Duration::from_millis(time), OutcomeKind::Denied);
            }
            let mut expected: BTreeMap<i64, Bucket> = BTreeMap::new();
            for &time in &times {
                expected.entry(time as i64 / timeline.width).or_default().events.add(OutcomeKind::Denied);
            }
            prop_assert_eq!(&timeline.buckets, &expected);
            let (first, last) = (*expected.keys().next().unwrap(), *expected.keys().last().unwrap());
            prop_assert!(last.abs_diff(first) < BUCKETS_MAX);
        }
    }
}
