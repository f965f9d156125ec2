//! Moments, as people and programs write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The moment at this time since boot, in UTC: `2026-11-21T19:40:07Z`.
///
/// The kernel says in time since boot when a program was loaded; if the clock was set since then, the result is of the
/// clock as it is now.
pub(crate) fn since_boot(time: Duration) -> String {
    let nanoseconds = time.as_nanos().try_into().unwrap_or(u64::MAX);
    let time = WallClock::now().at(nanoseconds).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    utc(time.unwrap_or_default().as_secs())
}

/// The clocks at one moment. Somebody may set the wall clock at any time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    since_boot: Duration,
    now: SystemTime,
}

impl WallClock {
    pub(crate) fn now() -> Self {
        let uptime = clock_gettime(ClockId::Boottime);
        let since_boot = Duration::new(
            uptime.tv_sec.try_into().unwrap_or_default(),
            uptime.tv_nsec.try_into().unwrap_or_default(),
        );
        Self { since_boot, now: SystemTime::now() }
    }

    /// Now, in nanoseconds of `CLOCK_BOOTTIME`.
    pub(crate) fn boot_time(self) -> u64 {
        self.since_boot.as_nanos().try_into().unwrap_or(u64::MAX)
    }

    /// The moment at so many nanoseconds of `CLOCK_BOOTTIME`, by the wall clock as it is now.
    pub(crate) fn at(self, boot_time: u64) -> Option<SystemTime> {
        (self.now + Duration::from_nanos(boot_time)).checked_sub(self.since_boot)
    }
}

/// Which boot of the machine this is.
pub(crate) fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim_end().to_owned())
}

/// Seconds since 1970, as RFC 3339.
fn utc(seconds: u64) -> String {
    Timestamp::from_second(seconds.try_into().unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX).to_string()
}

/// The moment in UTC, with microseconds: `2026-11-29T12:04:31.482001Z`.
pub(crate) fn rfc_3339(time: SystemTime) -> String {
    format!("{:.6}", timestamp(time))
}

/// The moment in UTC, to the second: `2026-11-29T12:04:31Z`.
pub(crate) fn seconds(time: SystemTime) -> String {
    utc(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// The time of day in UTC: `12:04:31.482`.
pub(crate) fn time_of_day(time: SystemTime) -> String {
    timestamp(time).strftime("%H:%M:%S.%3f").to_string()
}

/// The day in UTC: `2026-11-29`.
pub(crate) fn date(time: SystemTime) -> String {
    timestamp(time).strftime("%Y-%m-%d").to_string()
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn moments_are_in_utc() {
        assert_eq!(super::utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(super::utc(u64::MAX), "9999-12-30T22:00:00.999999999Z");
        let time = UNIX_EPOCH + Duration::from_nanos(1_795_290_007_048_200_999);
        assert_eq!(super::rfc_3339(time), "2026-11-21T19:40:07.048200Z");
        assert_eq!(super::time_of_day(time), "19:40:07.048");
        assert_eq!(super::date(time), "2026-11-21");
    }
}
