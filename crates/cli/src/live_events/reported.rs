//! Which accesses a policy has reported already, so that an observer does not report them again.

use std::collections::HashMap;

use knobgate_events::Event;
use knobgate_policy::AccessKind;

/// The last access of each thread that a policy has reported. The programs of one access run one after the other, and the observer's
/// is the last one.
#[derive(Debug, Default)]
pub(super) struct Reported(HashMap<u32, Access>);

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
    /// Whether this is the first event about its access. Events come in the order in which they were sent.
    pub(super) fn is_new(&mut self, event: &Event) -> bool {
        // Without the id of the thread, nothing tells accesses apart.
        let Some(tid) = event.tid else { return true };
        let access = Access {
            knob: event.knob.bytes.clone(),
            kind: event.kind,
            position: event.position,
            boot_time: event.boot_time,
        };
        if event.observer {
            return self.0.remove(&tid).is_none_or(|last| !last.is_same(&access));
        }
        if self.0.len() >= THREADS_MAX {
            self.0.clear();
        }
        // Several policies may report one access, each of them about itself.
        self.0.insert(tid, access);
        true
    }
}

impl Access {
    fn is_same(&self, later: &Self) -> bool {
        (&self.knob, self.kind, self.position) == (&later.knob, later.kind, later.position)
            && later.boot_time.saturating_sub(self.boot_time) < ONE_ACCESS
    }
}
