//! Tracks the processes that are in a cgroup already when it becomes guarded.
//!
//! A listing alone misses some: while it is read, processes that are not tracked yet start others. So a flag tells the program
//! on `sched_process_fork` which cgroup is being listed. While it is set, the program looks for the guarded cgroup of every new
//! process, instead of taking that of its parent. Then every process is listed or found by the program, however fast they start:
//!
//! - The kernel adds a new process to its cgroup before the tracepoint fires (`cgroup_post_fork()` in `copy_process()`). It does
//!   so under `css_set_lock`, which each step of the listing takes. So if the program has read the flag before it was set, the
//!   process is in the listing, which is read afterwards.
//! - A new process runs after the tracepoint has fired for it. So when the flag is reset, all that can start others are tracked.
//!
//! That program only inserts: it may be late, and what was stored before is newer.
//!
//! Some processes are moved, or end, after they were listed and before they are stored. A second listing finds them. From when
//! a process is stored, the programs see it move and end. One that had moved out counts as inside until
//! the second listing; what it starts outside meanwhile does not.
//!
//! Rare cases remain:
//!
//! - A program is interrupted for longer than all this takes. It has looked up where a process was moved before the cgroup became
//!   guarded, and stores that afterwards.
//! - A program is interrupted, and a process is moved before the program has inserted it.
//! - A process moves out, then into another guarded cgroup and out of that, and starts another, all before it is stored where it
//!   is. That one counts as inside the other guarded cgroup.

use std::collections::HashSet;

use super::{GuardedCgroups, GuardingError, is_full};
use crate::cgroup_error::CgroupError;
use crate::started_process::StartedProcess;

/// How many times to look up a process that keeps moving.
const TRIES: u32 = 10;

impl GuardedCgroups {
    /// Tracks the processes for which this guarded cgroup is the innermost. It has to be in the map.
    pub(super) fn track_members(&mut self, id: u64) -> Result<(), GuardingError> {
        self.set_listing(id)?;
        let tracked = match self.track_listed(id) {
            Err(GuardingError::Object(error)) if is_full(&error) => {
                self.untracked += 1;
                Ok(())
            }
            tracked => tracked,
        };
        let reset = self.set_listing(0);
        tracked.and(reset)
    }

    /// Tells the programs which guarded cgroup is being listed; 0 for none.
    fn set_listing(&self, id: u64) -> Result<(), GuardingError> {
        Ok(self.listing.update(&[0; 4], &id.to_ne_bytes())?)
    }

    fn track_listed(&mut self, id: u64) -> Result<(), GuardingError> {
        let mut stored = HashSet::new();
        for process in self.guards.members(id)? {
            if self.innermost_of(process)? != Some(id) {
                self.set(process, Some(id))?;
                stored.insert(process);
            }
        }
        if stored.is_empty() {
            return Ok(());
        }
        let members: HashSet<StartedProcess> = self.guards.members(id)?.into_iter().collect();
        for &process in stored.union(&members) {
            let is_tracked = self.innermost_of(process)? == Some(id);
            if is_tracked != members.contains(&process) {
                self.track_where_it_is(process)?;
            }
        }
        Ok(())
    }

    /// Looks again after it has stored where a process is: it may have moved before that. The programs see later moves.
    fn track_where_it_is(&mut self, process: StartedProcess) -> Result<(), GuardingError> {
        for _ in 0..TRIES {
            let cgroup = match self.cgroup_of(process) {
                Err(CgroupError::Moved { .. }) if process.is_running() => continue,
                // It has ended and was not waited for.
                Err(CgroupError::Moved { .. }) => None,
                found => found?.filter(|_| process.is_running()),
            };
            let innermost = cgroup.map(|cgroup| self.guards.innermost(&cgroup)).transpose()?.flatten();
            if self.innermost_of(process)? == innermost {
                return Ok(());
            }
            self.set(process, innermost)?;
        }
        // It is moved all the time.
        self.untracked += 1;
        Ok(())
    }
}
