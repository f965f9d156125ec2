//! A cgroup with a policy on it, made for one command and gone with it.

use std::io;
use std::process::Command;

use knobgate_kernel::{Cgroup, Guard, LoadedProgram, ProcessId, ScratchCgroup, attach_until_removed, guard};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::failure::Failure;

/// How the names of these cgroups begin.
const PREFIX: &str = "knobgate-run-";

/// A cgroup, with a policy on it for as long as it exists, and the guard that sees to it if this process is killed.
#[derive(Debug)]
pub(crate) struct Confinement {
    cgroup: ScratchCgroup,
    guard: Guard,
}

impl Confinement {
    /// Makes a cgroup in `parent` with the program on it, and lets go of that: this process, which the command may be able to
    /// trace, has nothing by which it could be detached. Nothing runs there yet.
    ///
    /// # Errors
    /// [`Failure::Machine`].
    pub(crate) fn create(parent: &Cgroup, loaded: LoadedProgram) -> Result<Self, Failure> {
        ScratchCgroup::remove_stale(parent, PREFIX);
        let cgroup = ScratchCgroup::create(parent, PREFIX).map_err(cannot_confine)?;
        attach_until_removed(&loaded.program, &cgroup).map_err(cannot_confine)?;
        let program = loaded.program.info().map_err(cannot_confine)?.id;
        cgroup.ensure_effective(program).map_err(cannot_confine)?;
        drop(loaded);
        let guard = guard(&cgroup).map_err(cannot_confine)?;
        Ok(Self { cgroup, guard })
    }

    /// Starts `command` in there. If this process ends, the guard ends the command, and all that it started. Without
    /// `CAP_SYS_PTRACE` the command cannot trace this process, which is outside of the cgroup.
    ///
    /// # Errors
    /// It cannot be started, there or at all.
    pub(crate) fn start(&self, command: &mut Command) -> io::Result<ProcessId> {
        // Of this process; the command is as any other once it is executed.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        knobgate_kernel::spawn_inside(command, &self.cgroup)
    }

    /// The cgroup.
    pub(crate) fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// The guard; its descriptor becomes readable when it has ended.
    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Puts another guard in the place of one that was killed.
    ///
    /// # Errors
    /// [`Failure::Machine`].
    pub(crate) fn renew_guard(&mut self) -> Result<(), Failure> {
        self.guard = guard(&self.cgroup).map_err(|error| {
            Failure::machine("the command is ended, for nothing guards it").because(error)
        })?;
        Ok(())
    }

    /// Kills what is left in there and removes the cgroup, with the policy in force to the end.
    ///
    /// # Errors
    /// [`Failure::Machine`] if something survives; the guard then goes on trying.
    pub(crate) fn remove(self) -> Result<(), Failure> {
        let Self { cgroup, guard } = self;
        cgroup
            .finish()
            .map_err(|error| Failure::machine("cannot clear up after the command").because(error))?;
        // One that was killed is not needed any longer.
        let _ = guard.dismiss();
        Ok(())
    }
}

fn cannot_confine(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::machine("cannot make a cgroup for the command").because(error)
}
