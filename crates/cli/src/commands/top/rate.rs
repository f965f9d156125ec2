//! How many there were in each of the last sixty seconds.

/// How long counts are kept, in seconds.
pub(super) const MINUTE: u64 = 60;
/// Over how many seconds a rate is the mean.
pub(super) const WINDOW: u64 = 10;

/// Counts of the last sixty seconds. Times are in seconds.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    /// By second, modulo 60.
    counts: [u32; MINUTE as usize],
    /// The last second that is in there.
    newest: u64,
    /// The second from which on all are counted.
    from: u64,
}

impl Default for Rate {
    fn default() -> Self {
        Self::from(0)
    }
}

impl Rate {
    /// One that knows nothing of what was before this second.
    pub(super) fn from(second: u64) -> Self {
        Self { counts: [0; MINUTE as usize], newest: 0, from: second }
    }

    pub(super) fn add(&mut self, second: u64, count: u64) {
        for passed in (self.newest + 1..=second).rev().take(MINUTE as usize) {
            self.counts[(passed % MINUTE) as usize] = 0;
        }
        self.newest = self.newest.max(second);
        if self.newest - second < MINUTE {
            let place = &mut self.counts[(second % MINUTE) as usize];
            *place = place.saturating_add(count.try_into().unwrap_or(u32::MAX));
        }
    }

    fn at(&self, second: u64) -> u64 {
        let is_kept = second <= self.newest && self.newest - second < MINUTE;
        if is_kept { self.counts[(second % MINUTE) as usize].into() } else { 0 }
    }

    /// How many there were in the last so many seconds, with this one.
    pub(super) fn last(&self, now: u64, seconds: u64) -> u64 {
        (now.saturating_sub(seconds - 1)..=now).map(|second| self.at(second)).sum()
    }

    /// How many a second there are.
    pub(super) fn per_second(&self, now: u64) -> f64 {
        let window = (now + 1).saturating_sub(self.from).clamp(1, WINDOW);
        self.last(now, window) as f64 / window as f64
    }

    /// The last minute in so many bars, which is a divisor of 60, the oldest first. The last one is not over yet: bars move, and keep
    /// their height.
    pub(super) fn bars(&self, now: u64, bars: usize) -> Vec<u64> {
        let seconds = MINUTE / bars as u64;
        let end = now - now % seconds + (seconds - 1);
        (0..bars as u64).rev().map(|bar| self.last(end.saturating_sub(bar * seconds), seconds)).collect()
    }
}

/// Bars as text: `..▂█▁`. Every bar that is not zero can be seen.
pub(super) fn sparkline(bars: &[u64]) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = bars.iter().copied().max().unwrap_or_default();
    let level = |bar: u64| (u128::from(bar) * 8).div_ceil(u128::from(most)) as usize;
    bars.iter().map(|&bar| if bar == 0 { '.' } else { LEVELS[level(bar) - 1] }).collect()
}

/// A rate: `0`, `0.3`, `12`.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".to_owned(),
        few if few < 9.95 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_last_a_minute() {
        let mut rate = Rate::default();
        for second in [1000, 1000, 1003, 1030] {
            rate.add(second, 2);
        }
        assert_eq!(rate.last(1003, WINDOW), 6);
        assert_eq!(rate.per_second(1003), 0.6);
        assert_eq!(rate.bars(1059, 12), [6, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0]);
        assert_eq!(rate.bars(1055, 12), rate.bars(1059, 12));
        assert_eq!(rate.last(1062, MINUTE), 4);
        // One that comes late counts where it belongs, unless that is gone.
        rate.add(1100, 1);
        rate.add(1050, 1);
        rate.add(1030, 1);
        assert_eq!(rate.last(1100, MINUTE), 2);
        assert_eq!((rate.last(u64::MAX, MINUTE), rate.last(0, MINUTE)), (0, 0));
        rate.add(1 << 40, u64::MAX);
        assert_eq!(rate.last(1 << 40, MINUTE), u64::from(u32::MAX));
    }

    #[test]
    fn what_was_not_counted_is_in_no_rate() {
        let mut rate = Rate::from(1002);
        // Only some of those of this second are known.
        rate.add(1001, 1);
        rate.add(1002, 6);
        rate.add(1003, 8);
        assert_eq!([1002, 1003, 1007].map(|now| rate.per_second(now)), [6.0, 7.0, 14.0 / 6.0]);
        assert_eq!(rate.per_second(1012), 0.8);
    }

    #[test]
    fn bars_are_drawn_by_the_highest_of_them() {
        for (bars, expected) in
            [(&[0, 0][..], ".."), (&[1, 0, 4, 8], "▁.▄█"), (&[1, 1_000_000], "▁█"), (&[u64::MAX], "█")]
        {
            assert_eq!(sparkline(bars), expected);
        }
        assert_eq!([0.0, 0.3, 9.9, 9.96, 12.4].map(rate), ["0", "0.3", "9.9", "10", "12"]);
    }
}
