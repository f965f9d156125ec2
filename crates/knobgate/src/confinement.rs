//! A cgroup with a policy, created for one command and removed after it.

use std::io;
use std::process::Command;

use knobgate_kernel::{
    Cgroup, CgroupError, Guard, LinkError, LoadedProgram, ProcessId, ScratchCgroup, attach_until_removed,
    guard,
};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::events;
use crate::run_error::RunError;

/// The prefix of the names of these cgroups.
pub(crate) const PREFIX: &str = "knobgate-run-";

/// A cgroup with a policy on it, and the guard that removes it if this process is killed.
#[derive(Debug)]
pub(crate) struct Confinement {
    cgroup: ScratchCgroup,
    guard: Guard,
}

impl Confinement {
    /// Creates a cgroup in `parent` with the program on it. Afterwards this process has no descriptor with which the
    /// program could be detached: the command may be able to trace it. Calls `on_created` before the program is attached.
    pub(crate) fn create(
        parent: &Cgroup,
        loaded: LoadedProgram,
        on_created: impl FnOnce(&Cgroup),
    ) -> Result<Self, RunError> {
        ScratchCgroup::remove_stale(parent, PREFIX);
        let cgroup = ScratchCgroup::create(parent, PREFIX)?;
        on_created(&cgroup);
        events::prepare(&loaded, [(cgroup.id(), cgroup.path())])?;
        attach_until_removed(&loaded.program, &cgroup)?;
        let program = loaded.program.info().map_err(LinkError::from)?.id;
        cgroup.ensure_effective(program)?;
        drop(loaded);
        let guard = guard(&cgroup)?;
        Ok(Self { cgroup, guard })
    }

    /// Starts `command` in the cgroup. If this process ends, the guard kills the command and all that it started. Without
    /// `CAP_SYS_PTRACE` the command cannot trace this process, which is outside the cgroup.
    pub(crate) fn start(&self, command: &mut Command) -> io::Result<ProcessId> {
        // Affects only this process: executing the command makes the child dumpable again.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        knobgate_kernel::spawn_inside(command, &self.cgroup)
    }

    pub(crate) fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// The guard; its descriptor becomes readable when it has ended.
    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Starts a new guard after the old one was killed.
    pub(crate) fn renew_guard(&mut self) -> Result<(), RunError> {
        self.guard = guard(&self.cgroup).map_err(RunError::Unguarded)?;
        Ok(())
    }

    /// Kills what is left in the cgroup and removes it; the policy applies to the end. If something survives, the guard
    /// keeps trying.
    pub(crate) fn remove(self) -> Result<(), CgroupError> {
        let Self { cgroup, guard } = self;
        cgroup.finish()?;
        // It may have been killed.
        let _ = guard.dismiss();
        Ok(())
    }
}
