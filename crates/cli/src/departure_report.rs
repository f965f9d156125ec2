//! What `run` prints about processes that leave the policy.

use std::collections::BTreeSet;

use knobgate::{DepartureSummary, OnDeparture, departure_target};
use knobgate_kernel::{Departed, Departure, LostEvents};

use crate::output::Output;
use crate::plural::count;
use crate::printable::{printable, printable_path};

/// How many departures are reported one by one, and how many processes are named at the end.
const NAMED: usize = 10;

/// The departures so far.
#[derive(Debug, Default)]
pub(crate) struct DepartureReport {
    /// How many there were. A process that comes back and leaves again counts twice.
    count: usize,
    /// The cgroups that they went to, as far as they were reported.
    targets: BTreeSet<String>,
}

impl DepartureReport {
    /// Reports one.
    pub(crate) fn add(&mut self, departure: &Departure, killed: bool, output: &Output) {
        self.count += 1;
        if self.count > NAMED + 1 {
            return;
        }
        if self.count > NAMED {
            output.warning("more processes have left the policy; from now on they are only counted");
            return;
        }
        let target = departure_target(departure).map_or_else(
            || "a cgroup that is not visible here".to_owned(),
            |path| printable_path(&path).into_owned(),
        );
        let Departure { process, name, .. } = departure;
        let then = if killed { ", and was killed" } else { "" };
        output.warning(format_args!(
            "process {} ({}) has left the policy for {target}{then}",
            process.id(),
            printable(name)
        ));
        self.targets.insert(target);
    }

    /// Sums up when the command has ended.
    pub(crate) fn end(self, summary: &DepartureSummary, on_departure: OnDeparture, output: &Output) {
        let DepartureSummary { remaining, killed, lost: LostEvents { dropped, skipped, .. }, .. } = summary;
        if *dropped > 0 {
            output
                .warning(format_args!("lost {dropped} events: processes may have left the policy unnoticed"));
        }
        if *skipped > 0 {
            output.note(format_args!(
                "the kernel skipped up to {skipped} starts, moves and ends of processes on this machine; departures among \
                 them were missed"
            ));
        }
        if self.count == 0 && remaining.is_empty() && *killed == 0 {
            return;
        }
        let targets: Vec<&str> = self.targets.iter().map(String::as_str).collect();
        let to = if targets.is_empty() { String::new() } else { format!(", to {}", targets.join(", ")) };
        let others = if self.count > NAMED { ", and perhaps others" } else { "" };
        let left = format!("{} from the policy{to}{others}", count(self.count, "departure"));
        match (on_departure, remaining.as_slice()) {
            (OnDeparture::Kill, []) => {
                output.warning(format_args!("{left}; processes killed: {killed}"));
            }
            (OnDeparture::Kill, remaining) => {
                output.warning(format_args!("{left}; these could not be killed: {}", listed(remaining)));
            }
            (OnDeparture::Report, []) => output.warning(format_args!("{left}; none of them still runs there")),
            (OnDeparture::Report, remaining) => output.warning(format_args!(
                "{left}; these run on without it: {}. Attach a policy to that cgroup, or to one above (knobgate attach), or \
                 kill what leaves (knobgate run --strict)",
                listed(remaining)
            )),
        }
    }
}

fn listed(processes: &[Departed]) -> String {
    let named: Vec<String> = processes.iter().take(NAMED).map(|process| process.id().to_string()).collect();
    let more = processes.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    named.join(", ") + &more
}
