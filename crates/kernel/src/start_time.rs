//! When a process was started, which distinguishes it from a later one with the same id.

use std::fs;

use rustix::param::clock_ticks_per_second;

use crate::process_id::ProcessId;

/// In nanoseconds since boot, in the initial time namespace: `start_boottime` in `struct task_struct`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StartTime(pub(crate) u64);

impl StartTime {
    /// Whether the process with this id is alive and was started then.
    pub(crate) fn matches(self, process: ProcessId) -> bool {
        ticks_of(process).is_some_and(|ticks| Some(ticks) == self.ticks())
    }

    /// The same in ticks, as `/proc` says it in our time namespace.
    pub(crate) fn ticks(self) -> Option<u64> {
        let nanoseconds = i128::from(self.0) + i128::from(offset_of_time_namespace());
        u64::try_from(nanoseconds / i128::from(nanoseconds_per_tick())).ok()
    }
}

/// When a live process was started, in ticks.
pub(crate) fn ticks_of(process: ProcessId) -> Option<u64> {
    ticks_in(&fs::read(format!("/proc/{process}/stat")).ok()?)
}

/// The start of a live process in ticks, from its `/proc/PID/stat` (proc_pid_stat(5)). The state there is that of the
/// first thread, which can end before the others.
fn ticks_in(stat: &[u8]) -> Option<u64> {
    // The second field is the name, which can contain anything.
    let after_name = stat.iter().rposition(|&byte| byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[after_name + 1..]).ok()?.split_ascii_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X");
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    let start = fields.nth(1)?.parse().ok()?;
    (!has_ended || threads > 1).then_some(start)
}

/// The length of a tick.
pub(crate) fn nanoseconds_per_tick() -> u64 {
    1_000_000_000 / clock_ticks_per_second()
}

/// The offset of our time namespace in nanoseconds, which `/proc` adds.
pub(crate) fn offset_of_time_namespace() -> i64 {
    let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    let offset = offsets.lines().find_map(|line| {
        let mut fields = line.strip_prefix("boottime")?.split_ascii_whitespace();
        let (seconds, nanoseconds): (i64, i64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
    });
    offset.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_does_not_hide_its_start() {
        for (name, state, threads, expected) in [
            ("sh", "S", 1, Some(123_456)),
            ("a) R 1 2 3 (", "R", 1, Some(123_456)),
            ("gone", "Z", 1, None),
            ("dead", "X", 0, None),
            ("without its first thread", "Z", 2, Some(123_456)),
        ] {
            let rest = format!("1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 {threads} 0 123456 4096 25");
            assert_eq!(ticks_in(format!("4711 ({name}) {state} {rest}\n").as_bytes()), expected, "{name}");
        }
        assert_eq!(ticks_in(b""), None);
        assert_eq!(ticks_in(b"4711 (sh) S 1 2\n"), None);
    }

    #[test]
    fn a_process_that_was_started_at_another_time_does_not_match() {
        let stat = fs::read("/proc/self/stat").expect("this process");
        let tick = 1_000_000_000 / clock_ticks_per_second();
        let start = ticks_in(&stat).expect("a start") * tick;
        let start = start.wrapping_add_signed(-offset_of_time_namespace());
        assert!(StartTime(start).matches(ProcessId::this()));
        assert!(!StartTime(start + tick).matches(ProcessId::this()));
    }
}
