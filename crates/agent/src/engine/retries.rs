//! When cgroups are looked at again.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// The first pause. Each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// How often: the pauses add up to ten seconds, and a bit.
const TRIES: u32 = 10;

/// The cgroups that are looked at again, after pauses that grow.
#[derive(Debug, Default)]
pub(super) struct Retries {
    by_time: BTreeSet<(Instant, u64)>,
    /// How often each was tried, and when it is next.
    by_cgroup: HashMap<u64, (u32, Instant)>,
    /// Those that were tried often enough.
    given_up: BTreeSet<u64>,
    /// Where [`again`](Self::again) goes on.
    again_from: u64,
}

impl Retries {
    /// Has a cgroup looked at again after a pause. Returns `false` if that was done often enough, until it is
    /// [forgotten](Self::forget).
    pub(super) fn schedule(&mut self, cgroup: u64, now: Instant) -> bool {
        let tries = self.by_cgroup.get(&cgroup).map_or(0, |(tries, _)| *tries);
        if tries >= TRIES {
            self.given_up.insert(cgroup);
            return false;
        }
        self.forget(cgroup);
        let at = now + FIRST_PAUSE * 2u32.pow(tries);
        self.by_time.insert((at, cgroup));
        self.by_cgroup.insert(cgroup, (tries + 1, at));
        true
    }

    /// Never looks at a cgroup again.
    pub(super) fn forget(&mut self, cgroup: u64) {
        if let Some((_, at)) = self.by_cgroup.remove(&cgroup) {
            self.by_time.remove(&(at, cgroup));
        }
        self.given_up.remove(&cgroup);
    }

    /// Some of the cgroups that were looked at often enough, other ones each time: an engine can take longer. There can be as many as
    /// somebody makes.
    pub(super) fn again(&mut self, most: usize) -> Vec<u64> {
        let next: Vec<u64> = self.given_up.range(self.again_from..).take(most).copied().collect();
        self.again_from = if next.len() < most { 0 } else { next.last().map_or(0, |last| last + 1) };
        next
    }

    /// A cgroup that is to be looked at. It stays until it is [scheduled](Self::schedule) again or [forgotten](Self::forget).
    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        let (at, cgroup) = *self.by_time.first()?;
        (at <= now).then(|| {
            self.by_time.remove(&(at, cgroup));
            cgroup
        })
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_were_tried_often_enough_have_their_turn() {
        let (mut retries, now) = (Retries::default(), Instant::now());
        for cgroup in 0..5 {
            while retries.schedule(cgroup, now) {}
        }
        assert_eq!(retries.again(2), [0, 1]);
        assert_eq!(retries.again(2), [2, 3]);
        retries.forget(1);
        assert_eq!(retries.again(2), [4]);
        assert_eq!(retries.again(3), [0, 2, 3]);
        assert_eq!(retries.again(3), [4]);
    }

    #[test]
    fn pauses_grow_until_it_is_enough() {
        let (mut retries, start) = (Retries::default(), Instant::now());
        let mut now = start;
        while retries.schedule(7, now) {
            let next = retries.next().unwrap();
            assert_eq!(retries.due(next - Duration::from_millis(1)), None);
            assert_eq!(retries.due(next), Some(7));
            assert_eq!(retries.due(next), None);
            now = next;
        }
        assert_eq!(now - start, Duration::from_millis(10 * 1023));
        assert_eq!(retries.next(), None);
        assert!(!retries.schedule(7, now), "it stays enough");
        retries.forget(7);
        assert!(retries.schedule(7, now), "a new beginning");
        retries.forget(7);
        assert_eq!(retries.next(), None);
    }
}
