//! Processes that leave the cgroup of a command, and its policy with it.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use knobgate_kernel::{
    Cgroup, Departed, Departure, Descendants, DescendantsError, Hierarchy, Lost, ObjectError,
};

use crate::failure::Failure;
use crate::output::Output;
use crate::plural::count;
use crate::printable::{printable, printable_path};

/// How many departures are told one by one, and how many processes are named at the end.
const NAMED: usize = 10;

/// What becomes of those who leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDeparture {
    Tell,
    Kill,
}

/// Notices the departures from one cgroup.
#[derive(Debug)]
pub(crate) struct Departures {
    descendants: Descendants,
    what_then: OnDeparture,
    /// How many there were; a process that comes back and leaves again has left twice.
    count: usize,
    /// Where to: as many as are named.
    places: BTreeSet<String>,
    killed: usize,
    lost: Lost,
}

impl Departures {
    /// Notices them from now on.
    ///
    /// # Errors
    /// This kernel does not say who leaves.
    pub(crate) fn from(cgroup: &Cgroup, what_then: OnDeparture) -> Result<Self, DescendantsError> {
        let descendants = Descendants::of(cgroup, what_then == OnDeparture::Kill)?;
        Ok(Self {
            descendants,
            what_then,
            count: 0,
            places: BTreeSet::new(),
            killed: 0,
            lost: Lost::default(),
        })
    }

    /// Tells of those there were since the last time, and does with them what is to be done.
    pub(crate) fn look(&mut self, output: &Output) {
        for departure in self.descendants.take() {
            let killed = self.what_then == OnDeparture::Kill && self.kill(departure.process, output);
            if departure.left {
                self.tell(&departure, killed, output);
            }
        }
        match self.descendants.lost() {
            // Some that were not told of are outside.
            Ok(lost) if lost != self.lost && self.what_then == OnDeparture::Kill => {
                self.lost = lost;
                self.kill_all(output);
            }
            Ok(lost) => self.lost = lost,
            Err(error) => output.error(&error),
        }
    }

    fn tell(&mut self, departure: &Departure, killed: bool, output: &Output) {
        self.count += 1;
        if self.count > NAMED + 1 {
            return;
        }
        if self.count > NAMED {
            output.warning("more processes leave the policy; they are counted, and not told of one by one");
            return;
        }
        let place = place_of(departure);
        let then = if killed { ", and was killed" } else { "" };
        let Departure { process, name, .. } = departure;
        output.warning(format_args!(
            "process {} ({}) has left the policy, for {place}{then}",
            process.id,
            printable(name)
        ));
        self.places.insert(place);
    }

    fn kill(&mut self, process: Departed, output: &Output) -> bool {
        let killed = self.descendants.kill(process).unwrap_or_else(|error| {
            output.error(&error);
            false
        });
        self.killed += usize::from(killed);
        killed
    }

    /// Kills what is outside; whether there was anything.
    fn kill_all(&mut self, output: &Output) -> bool {
        let outside = self.outside(output);
        for process in &outside {
            self.kill(*process, output);
        }
        !outside.is_empty()
    }

    fn outside(&self, output: &Output) -> Vec<Departed> {
        self.descendants.outside().unwrap_or_else(|error: ObjectError| {
            output.error(&error);
            Vec::new()
        })
    }

    /// Says what there was, when the command has ended and its cgroup is empty.
    pub(crate) fn end(mut self, output: &Output) {
        self.look(output);
        if self.what_then == OnDeparture::Kill {
            // What is killed may start something before it notices, and takes a moment to end.
            const TIMES: u32 = 500;
            let mut times = 0;
            while self.kill_all(output) && times < TIMES {
                times += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let Lost { no_room, not_run } = self.lost;
        if no_room > 0 {
            output.warning(format_args!(
                "{} of processes or departures could not be kept: some may have left the policy unnoticed",
                count(usize::try_from(no_room).unwrap_or(usize::MAX), "note")
            ));
        }
        if not_run > 0 {
            output.note(format_args!(
                "of the tasks on this machine, up to {not_run} were started, moved or ended unnoticed, for the kernel was \
                 interrupted there: departures among them are not known"
            ));
        }
        if self.count == 0 {
            return;
        }
        let remaining = self.outside(output);
        let places: Vec<&str> = self.places.iter().map(String::as_str).collect();
        let others = if self.count > NAMED { ", and perhaps others" } else { "" };
        let left =
            format!("{} from the policy, to {}{others}", count(self.count, "departure"), places.join(", "));
        match (self.what_then, remaining.as_slice()) {
            (OnDeparture::Kill, []) => {
                output.warning(format_args!("{left}; processes killed: {}", self.killed));
            }
            (OnDeparture::Kill, remaining) => {
                output.warning(format_args!("{left}; these cannot be killed: {}", listed(remaining)));
            }
            (OnDeparture::Tell, []) => output.warning(format_args!("{left}; nothing runs on there")),
            (OnDeparture::Tell, remaining) => output.warning(format_args!(
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
    what_then: OnDeparture,
    output: &Output,
) -> Result<Option<Departures>, Failure> {
    let what = "processes that leave the policy are not noticed";
    match (Departures::from(cgroup, what_then), what_then) {
        (Ok(departures), _) => Ok(Some(departures)),
        (Err(error), OnDeparture::Tell) => {
            output.note(format_args!("{what}: {error}"));
            Ok(None)
        }
        (Err(error), OnDeparture::Kill) => {
            Err(Failure::machine("cannot kill what leaves the policy (--strict)").because(error))
        }
    }
}

/// The cgroup that a process came to. It can have gone on since.
fn place_of(departure: &Departure) -> String {
    let current =
        Cgroup::of_pid(departure.process.id.get()).ok().filter(|found| found.id() == departure.cgroup);
    let path = current.map(|cgroup| cgroup.path().to_owned()).or_else(|| {
        let hierarchy = Hierarchy::find().ok()?;
        hierarchy.path_of_id(departure.cgroup).ok()?
    });
    path.map_or_else(|| "a cgroup that cannot be seen".to_owned(), |path| printable_path(&path).into_owned())
}

fn listed(processes: &[Departed]) -> String {
    let named: Vec<String> = processes.iter().take(NAMED).map(|process| process.id.to_string()).collect();
    let more = processes.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    named.join(", ") + &more
}
