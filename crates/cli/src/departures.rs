//! Processes that leave the cgroup of a command, and its policy with it.

use std::collections::{BTreeSet, HashSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use knobgate_kernel::{Cgroup, Departed, Departure, Descendants, DescendantsError, Hierarchy, LostEvents};

use crate::failure::Failure;
use crate::output::Output;
use crate::plural::count;
use crate::printable::{printable, printable_path};

/// How many departures are reported one by one, and how many processes are named at the end.
const NAMED: usize = 10;

/// What becomes of those who leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDeparture {
    Warn,
    Kill,
}

/// Notices the departures from one cgroup.
#[derive(Debug)]
pub(crate) struct Departures {
    descendants: Descendants,
    on_departure: OnDeparture,
    /// How many there were; a process that comes back and leaves again has left twice.
    count: usize,
    /// The cgroups that they went to, as far as they were reported.
    targets: BTreeSet<String>,
    killed: HashSet<Departed>,
    lost: LostEvents,
    /// Whether an error was reported; more of them say no more.
    has_failed: bool,
}

impl Departures {
    /// Notices them from now on.
    ///
    /// # Errors
    /// This kernel does not say who leaves.
    pub(crate) fn from(cgroup: &Cgroup, on_departure: OnDeparture) -> Result<Self, DescendantsError> {
        Ok(Self {
            descendants: Descendants::of(cgroup, on_departure == OnDeparture::Kill)?,
            on_departure,
            count: 0,
            targets: BTreeSet::new(),
            killed: HashSet::new(),
            lost: LostEvents::default(),
            has_failed: false,
        })
    }

    /// Reports those since the last time, and kills who has left if that is to be done.
    pub(crate) fn poll(&mut self, output: &Output) {
        let departures = self.descendants.take();
        // All of them before anything is written, which can take as long as others like.
        if self.on_departure == OnDeparture::Kill {
            for departure in &departures {
                self.kill(departure.process, output);
            }
        }
        for departure in departures.iter().filter(|departure| departure.left) {
            self.report(departure, output);
        }
        match self.descendants.lost() {
            Ok(lost) => {
                // Some that were not reported are outside.
                if lost != self.lost && self.on_departure == OnDeparture::Kill {
                    self.kill_all(output);
                }
                self.lost = lost;
            }
            Err(error) => self.fail(&error, output),
        }
    }

    fn report(&mut self, departure: &Departure, output: &Output) {
        self.count += 1;
        if self.count > NAMED + 1 {
            return;
        }
        if self.count > NAMED {
            output.warning("more processes leave the policy; further ones are only counted");
            return;
        }
        let target = target_of(departure);
        let Departure { process, name, .. } = departure;
        let then = if self.killed.contains(process) { ", and was killed" } else { "" };
        output.warning(format_args!(
            "process {} ({}) has left the policy, for {target}{then}",
            process.id(),
            printable(name)
        ));
        self.targets.insert(target);
    }

    fn fail(&mut self, error: &dyn std::error::Error, output: &Output) {
        if !std::mem::replace(&mut self.has_failed, true) {
            output.error(error);
        }
    }

    fn kill(&mut self, process: Departed, output: &Output) {
        match self.descendants.kill(process) {
            Ok(true) => drop(self.killed.insert(process)),
            Ok(false) => {}
            Err(error) => self.fail(&error, output),
        }
    }

    /// Kills what is outside; whether there was anything.
    fn kill_all(&mut self, output: &Output) -> bool {
        let outside = self.outside(output);
        for process in &outside {
            self.kill(*process, output);
        }
        !outside.is_empty()
    }

    fn outside(&mut self, output: &Output) -> Vec<Departed> {
        self.descendants.outside().unwrap_or_else(|error| {
            self.fail(&error, output);
            Vec::new()
        })
    }

    /// Says what there was, when the command has ended and its cgroup is empty.
    pub(crate) fn end(mut self, output: &Output) {
        self.poll(output);
        if self.on_departure == OnDeparture::Kill {
            // What is killed may start something before it notices, and takes a moment to end.
            const AT_MOST: Duration = Duration::from_secs(10);
            let start = Instant::now();
            while self.kill_all(output) && start.elapsed() < AT_MOST {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let LostEvents { dropped, skipped, .. } = self.lost;
        if dropped > 0 {
            output.warning(format_args!(
                "lost track of processes or departures, {dropped} times: some may have left the policy unnoticed"
            ));
        }
        if skipped > 0 {
            output.note(format_args!(
                "the kernel skipped up to {skipped} starts, moves and ends of processes on this machine; departures among \
                 them were missed"
            ));
        }
        let remaining = self.outside(output);
        if self.count == 0 && remaining.is_empty() && self.killed.is_empty() {
            return;
        }
        let targets: Vec<&str> = self.targets.iter().map(String::as_str).collect();
        let to = if targets.is_empty() { String::new() } else { format!(", to {}", targets.join(", ")) };
        let others = if self.count > NAMED { ", and perhaps others" } else { "" };
        let left = format!("{} from the policy{to}{others}", count(self.count, "departure"));
        match (self.on_departure, remaining.as_slice()) {
            (OnDeparture::Kill, []) => {
                output.warning(format_args!("{left}; processes killed: {}", self.killed.len()));
            }
            (OnDeparture::Kill, remaining) => {
                output.warning(format_args!("{left}; these could not be killed: {}", listed(remaining)));
            }
            (OnDeparture::Warn, []) => output.warning(format_args!("{left}; none of them still runs there")),
            (OnDeparture::Warn, remaining) => output.warning(format_args!(
                "{left}; these run on without it: {}. Attach a policy to that cgroup, or to one above (knobgate attach), or \
                 have what leaves killed (knobgate run --strict)",
                listed(remaining)
            )),
        }
    }
}

impl AsFd for Departures {
    /// Becomes readable when somebody has left.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descendants.as_fd()
    }
}

/// Notices the departures from `cgroup`, if this machine can. Where it cannot, that is said.
///
/// # Errors
/// [`Failure::Machine`] if they are to be killed and cannot be noticed.
pub(crate) fn departures(
    cgroup: &Cgroup,
    on_departure: OnDeparture,
    output: &Output,
) -> Result<Option<Departures>, Failure> {
    match (Departures::from(cgroup, on_departure), on_departure) {
        (Ok(departures), _) => Ok(Some(departures)),
        (Err(error), OnDeparture::Warn) => {
            output.note(format_args!("processes that leave the policy are not noticed: {error}"));
            Ok(None)
        }
        (Err(error), OnDeparture::Kill) => {
            Err(Failure::machine("cannot kill what leaves the policy (--strict)").because(error))
        }
    }
}

/// The cgroup that a process went to. It can have gone on since.
fn target_of(departure: &Departure) -> String {
    let current =
        Cgroup::of_pid(departure.process.id().get()).ok().filter(|found| found.id() == departure.cgroup);
    let path = current.map(|cgroup| cgroup.path().to_owned()).or_else(|| {
        let hierarchy = Hierarchy::find().ok()?;
        hierarchy.path_of_id(departure.cgroup).ok()?
    });
    path.map_or_else(|| "a cgroup that cannot be seen".to_owned(), |path| printable_path(&path).into_owned())
}

fn listed(processes: &[Departed]) -> String {
    let named: Vec<String> = processes.iter().take(NAMED).map(|process| process.id().to_string()).collect();
    let more = processes.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    named.join(", ") + &more
}
