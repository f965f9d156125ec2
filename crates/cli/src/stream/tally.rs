//! How many events there were, when, and where, in words.

use std::time::SystemTime;

use knobgate_replay::{Label, Tally};

use super::words::{self, Length};
use crate::timestamp;

/// What runs in the cgroup of an item, escaped.
pub(crate) const LABEL: Label = |item| words::workload(item, Length::Full);

/// `2 events, 2026-11-29 12:04:31.732 to 12:09:00.000`
pub(crate) fn when(tally: &Tally) -> String {
    let events = count(tally.events, "event");
    let day_and_time =
        |time: SystemTime| format!("{} {}", timestamp::date(time), timestamp::time_of_day(time));
    match (tally.first, tally.last) {
        (Some(first), Some(last)) if first == last => format!("{events}, {}", day_and_time(first)),
        (Some(first), Some(last)) => {
            let last = match timestamp::date(first) == timestamp::date(last) {
                true => timestamp::time_of_day(last),
                false => day_and_time(last),
            };
            format!("{events}, {} to {last}", day_and_time(first))
        }
        _ => events,
    }
}

/// `docker/web-1, unit nginx.service and others`; `None` if no workload is known.
pub(crate) fn workloads(tally: &Tally) -> Option<String> {
    let more = if tally.has_more_workloads { " and others" } else { "" };
    (!tally.workloads.is_empty()).then(|| tally.workloads.join(", ") + more)
}

/// `1 event`, `2 events`.
pub(crate) fn count(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
