//! Processes that leave the cgroup of a command, and its policy with it.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use knobgate_kernel::{
    BpfObjectError, Cgroup, Departed, Departure, Descendants, Hierarchy, LostEvents, TrackingError,
};

use crate::supervisor::RunEvent;

/// What to do about processes that leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDeparture {
    /// Report them.
    Report,
    /// Kill them and what they have started since, and report them.
    Kill,
}

/// What is known of the processes that left, after the command has ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct DepartureSummary {
    /// Those that still run outside. With [`OnDeparture::Kill`], they could not be killed.
    pub remaining: Vec<Departed>,
    /// How many were killed.
    pub killed: usize,
    /// What was missed.
    pub lost: LostEvents,
}

/// Notices the departures from one cgroup.
#[derive(Debug)]
pub(crate) struct Departures {
    descendants: Descendants,
    on_departure: OnDeparture,
    killed: HashSet<Departed>,
    lost: LostEvents,
    /// Whether an error was reported. Only the first one is.
    has_failed: bool,
}

impl Departures {
    pub(crate) fn of(cgroup: &Cgroup, on_departure: OnDeparture) -> Result<Self, TrackingError> {
        Ok(Self {
            descendants: Descendants::of(cgroup, on_departure == OnDeparture::Kill)?,
            on_departure,
            killed: HashSet::new(),
            lost: LostEvents::default(),
            has_failed: false,
        })
    }

    /// Reports the processes that have left since the last call, and kills them if requested.
    pub(crate) fn poll(&mut self, on_event: &mut dyn FnMut(RunEvent<'_>)) {
        let departures = self.descendants.take();
        // Kill all of them before reporting any: reporting can take long.
        if self.on_departure == OnDeparture::Kill {
            for departure in &departures {
                self.kill(departure.process, on_event);
            }
        }
        for departure in departures.iter().filter(|departure| departure.left) {
            let killed = self.killed.contains(&departure.process);
            on_event(RunEvent::Departed { departure, killed });
        }
        match self.descendants.lost() {
            Ok(lost) => {
                // Processes whose departure was lost may be outside.
                if lost != self.lost && self.on_departure == OnDeparture::Kill {
                    self.kill_all(on_event);
                }
                self.lost = lost;
            }
            Err(error) => self.fail(&error, on_event),
        }
    }

    fn fail(&mut self, error: &BpfObjectError, on_event: &mut dyn FnMut(RunEvent<'_>)) {
        if !std::mem::replace(&mut self.has_failed, true) {
            on_event(RunEvent::TrackingFailed(error));
        }
    }

    fn kill(&mut self, process: Departed, on_event: &mut dyn FnMut(RunEvent<'_>)) {
        match self.descendants.kill(process) {
            Ok(true) => drop(self.killed.insert(process)),
            Ok(false) => {}
            Err(error) => self.fail(&error, on_event),
        }
    }

    /// Kills all processes outside, and returns whether there were any.
    fn kill_all(&mut self, on_event: &mut dyn FnMut(RunEvent<'_>)) -> bool {
        let outside = self.outside(on_event);
        for process in &outside {
            self.kill(*process, on_event);
        }
        !outside.is_empty()
    }

    fn outside(&mut self, on_event: &mut dyn FnMut(RunEvent<'_>)) -> Vec<Departed> {
        self.descendants.outside().unwrap_or_else(|error| {
            self.fail(&error, on_event);
            Vec::new()
        })
    }

    /// Sums up, after the command has ended and its cgroup is empty.
    pub(crate) fn end(mut self, on_event: &mut dyn FnMut(RunEvent<'_>)) -> DepartureSummary {
        self.poll(on_event);
        if self.on_departure == OnDeparture::Kill {
            // A process may start another one before the signal arrives, and takes a moment to end.
            const TIMEOUT: Duration = Duration::from_secs(10);
            let start = Instant::now();
            while self.kill_all(on_event) && start.elapsed() < TIMEOUT {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        DepartureSummary { remaining: self.outside(on_event), killed: self.killed.len(), lost: self.lost }
    }
}

impl AsFd for Departures {
    /// Becomes readable when a process has left.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descendants.as_fd()
    }
}

/// The directory of the cgroup that a process went to; `None` if it is not visible here. The process may have moved on.
pub fn departure_target(departure: &Departure) -> Option<PathBuf> {
    let current =
        Cgroup::of_pid(departure.process.id().get()).ok().filter(|found| found.id() == departure.cgroup);
    current.map(|cgroup| cgroup.path().to_owned()).or_else(|| {
        let hierarchy = Hierarchy::find().ok()?;
        hierarchy.path_of_id(departure.cgroup).ok()?
    })
}
