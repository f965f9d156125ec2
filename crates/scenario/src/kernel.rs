//! Playing on the running kernel.

mod knobs;

use knobgate_backend::KernelBackend;
use knobgate_kernel::{BpfObjectError, Cgroup, CgroupError, LoadError, LockHolder, MachineLock};

use crate::kernel_range::KernelVersion;
use crate::play::Play;
use crate::scenario::{Program, Scenario, Source};

pub use knobs::KnobError;
pub(crate) use knobs::MachineKnobs;

/// Why a scenario cannot be played on the running kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A knob is not what the scenario says, or cannot be set to it.
    #[error(transparent)]
    Knob(#[from] KnobError),
    /// A map cannot be created.
    #[error(transparent)]
    Map(#[from] LoadError),
    /// A cgroup cannot be created.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// There can be no lock.
    #[error("cannot lock /run/knobgate/{LOCK}")]
    Lock {
        /// Why.
        source: std::io::Error,
    },
    /// A process of the scenario has a process id.
    #[error("the process {name} has a `pid`, which cannot be chosen on the running kernel")]
    ProcessId {
        /// The process.
        name: String,
    },
    /// A program of an object is linked for the model: the kernel's types have another layout, and its configuration is another
    /// one. Read the scenario with [`Scenario::parse_for`] or [`Scenario::check_for`].
    #[error("the program {name} is linked for the hook in user space, not for the running kernel")]
    LinkedForTheModel {
        /// The program.
        name: String,
    },
    /// The kernel does not list the effective programs.
    #[error(transparent)]
    Object(#[from] BpfObjectError),
}

/// The prefix of the names of the scenarios' cgroups.
const PREFIX: &str = "knobgate-scenario-";

/// The lock of the machine that a play has.
const LOCK: &str = "scenario.lock";

impl Scenario {
    /// Waits until no other scenario is played on the running kernel, and keeps others from it until the lock is dropped.
    ///
    /// `kernel.sysctl_writes_strict` belongs to the machine, whatever namespaces a process is in, and each scenario has a value
    /// for it. So only one is played at a time. `waits` is called if another one is played now.
    ///
    /// # Errors
    ///
    /// There can be no lock in `/run/knobgate`.
    pub fn lock_machine(waits: impl FnOnce(Option<&LockHolder>)) -> Result<MachineLock, KernelError> {
        MachineLock::acquire(LOCK, waits).map_err(|source| KernelError::Lock { source })
    }

    /// Plays it on the running kernel, in a cgroup that is made in `parent`. The machine stays locked until the play has
    /// finished.
    ///
    /// The knobs are the machine's own, or those of the namespaces that this process is in. They are set to the values
    /// of the scenario now, and restored when the play [finishes](Play::finish) or is dropped.
    ///
    /// # Errors
    ///
    /// Every [`KernelError`]; then nothing has changed.
    pub fn play_on_kernel<'s>(
        &'s self,
        parent: &Cgroup,
        _lock: &'s MachineLock,
    ) -> Result<Play<'s>, KernelError> {
        if let Some(process) = self.processes.iter().find(|process| process.pid.is_some()) {
            return Err(KernelError::ProcessId { name: process.name.clone() });
        }
        let of_object =
            |program: &&Program| matches!(program.source, Source::Program { object: Some(_), .. });
        if let Some(program) = self.programs.iter().find(of_object).filter(|_| self.is_for_model) {
            return Err(KernelError::LinkedForTheModel { name: program.name.clone() });
        }
        let mut backend = KernelBackend::new(parent, PREFIX)?;
        let maps = self.maps.iter().map(|def| backend.add_map("the maps of the scenario", def).map(Ok));
        let maps = maps.collect::<Result<_, _>>()?;
        let cgroups = self.create_cgroups(|parent, name| backend.add_cgroup(parent, name))?;
        let others = backend.count_effective()?;
        let knobs = MachineKnobs::set(self)?;
        let mut play = Play::new(self, backend, KernelVersion::of_this_machine(), maps, cgroups);
        play.knobs = Some(knobs);
        match others {
            0 => {}
            1 => play.remark(
                "a program that is not the scenario's runs for all of its accesses, and is not shown"
                    .to_owned(),
            ),
            others => play.remark(format!(
                "{others} programs that are not the scenario's run for all of its accesses, and are not shown"
            )),
        }
        Ok(play)
    }
}
