//! A process that is not confused with a later one of the same id.

use std::fmt;

use crate::process_id::ProcessId;
use crate::start_time::ticks_of;

/// A process, by its id in the pid namespace of this process and by when it was started.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StartedProcess {
    id: ProcessId,
    /// In ticks since boot, as in `/proc/PID/stat`.
    ticks: u64,
}

impl StartedProcess {
    /// The live process with this id.
    pub fn of(id: ProcessId) -> Option<Self> {
        Some(Self { id, ticks: ticks_of(id)? })
    }

    pub(crate) fn new(id: ProcessId, ticks: u64) -> Self {
        Self { id, ticks }
    }

    /// Its id.
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// When it was started, in ticks since boot, as in `/proc/PID/stat`.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        ticks_of(self.id) == Some(self.ticks)
    }
}

impl fmt::Debug for StartedProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StartedProcess({} at {})", self.id, self.ticks)
    }
}
