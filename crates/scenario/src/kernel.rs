//! Playing on the running kernel.

mod knobs;

use knobgate_backend::KernelBackend;
use knobgate_kernel::{BpfObjectError, Cgroup, CgroupError, LoadError};

use crate::kernel_range::KernelVersion;
use crate::play::Play;
use crate::scenario::Scenario;

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
    /// The kernel does not list the effective programs.
    #[error(transparent)]
    Object(#[from] BpfObjectError),
}

/// The prefix of the names of the scenarios' cgroups.
const PREFIX: &str = "knobgate-scenario-";

impl Scenario {
    /// Plays it on the running kernel, in a cgroup that is made in `parent`.
    ///
    /// The knobs are the machine's own, or those of the namespaces that this process is in. They are set to the values
    /// of the scenario now, and restored when the play [finishes](Play::finish) or is dropped.
    ///
    /// # Errors
    ///
    /// Every [`KernelError`]; then nothing has changed.
    pub fn play_on_kernel(&self, parent: &Cgroup) -> Result<Play<'_>, KernelError> {
        let mut backend = KernelBackend::new(parent, PREFIX)?;
        let maps = self.maps.iter().map(|def| backend.add_map("the maps of the scenario", def));
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
