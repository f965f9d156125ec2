//! Which events are about the same access, so that it is shown once: as a policy reports it, if one does.

use std::collections::HashMap;

use knobgate_events::Event;
use knobgate_policy::AccessKind;

/// The last access of each thread. The programs of one access run one after the other: those of the cgroups below the observer, the
/// observer, and those that come after it.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// That a policy before the observer has reported.
    before: HashMap<u32, Access>,
    /// That the observer has reported, with the number of its event. It has none if a policy had reported the access before.
    observed: HashMap<u32, (Access, Option<u64>)>,
}

/// An access of a thread.
#[derive(Debug, PartialEq, Eq)]
struct Access {
    knob: Vec<u8>,
    kind: AccessKind,
    position: u32,
    boot_time: u64,
}

/// A thread that has not made another access since then is not remembered.
const THREADS_MAX: usize = 10_000;

/// The most time between the programs of one access, in nanoseconds. They run one after the other, but the task may have to wait.
const ONE_ACCESS: u64 = 1_000_000_000;

impl Reported {
    /// Whether the observer's event, which has this number, is the first one about its access. Events come in the order in which they
    /// were sent.
    pub(super) fn is_new(&mut self, event: &Event, number: u64, others_follow: bool) -> bool {
        // Without the id of the thread, nothing tells accesses apart.
        let Some(tid) = event.tid else { return true };
        let access = Access::of(event);
        let is_new = self.before.remove(&tid).is_none_or(|last| !last.is_same(&access));
        if others_follow {
            make_room(&mut self.observed);
            self.observed.insert(tid, (access, is_new.then_some(number)));
        }
        is_new
    }

    /// Notes an event of a policy. Returns the number of the observer's event about the same access, if that is superfluous.
    pub(super) fn policy_reports(&mut self, event: &Event, runs_after: bool) -> Option<u64> {
        let tid = event.tid?;
        let access = Access::of(event);
        if runs_after {
            let (_, number) = self.observed.remove(&tid).filter(|(last, _)| last.is_same(&access))?;
            return number;
        }
        make_room(&mut self.before);
        // Several policies may report one access, each of them about itself.
        self.before.insert(tid, access);
        None
    }
}

fn make_room<T>(threads: &mut HashMap<u32, T>) {
    if threads.len() >= THREADS_MAX {
        threads.clear();
    }
}

impl Access {
    fn of(event: &Event) -> Self {
        Self {
            knob: event.knob.bytes.clone(),
            kind: event.kind,
            position: event.position,
            boot_time: event.boot_time,
        }
    }

    fn is_same(&self, later: &Self) -> bool {
        (&self.knob, self.kind, self.position) == (&later.knob, later.kind, later.position)
            && later.boot_time.saturating_sub(self.boot_time) < ONE_ACCESS
    }
}
