//! Moments: when the first and the last one was, and how they are written.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Span {
    /// The earliest moment, by the clocks of the streams; `None` if no time is known.
    pub first: Option<SystemTime>,
    /// The latest one.
    pub last: Option<SystemTime>,
}

impl Span {
    pub(crate) fn add(&mut self, time: Option<SystemTime>) {
        let Some(time) = time else { return };
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = Some(self.last.map_or(time, |last| last.max(time)));
    }
}

/// Milliseconds since 1970, rounded down.
pub(crate) fn milliseconds(time: SystemTime) -> i64 {
    let since = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => since(after),
        Err(before) => {
            let before = before.duration();
            -since(before) - i64::from(before.subsec_nanos() % 1_000_000 > 0)
        }
    }
}

/// The moment in UTC: `2026-11-29 12:04:31`.
pub(crate) fn utc(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or(Timestamp::MAX).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The moment as HTML's `<time datetime>` has it: `2026-11-29T12:04:31Z`.
pub(crate) fn rfc_3339(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_before_1970_are_rounded_down_too() {
        for (nanoseconds, expected) in [(0, 0), (1_999_999, -2), (1_000_000, -1)] {
            assert_eq!(milliseconds(UNIX_EPOCH - Duration::from_nanos(nanoseconds)), expected);
        }
        assert_eq!(milliseconds(UNIX_EPOCH + Duration::from_nanos(1_999_999)), 1);
    }
}
