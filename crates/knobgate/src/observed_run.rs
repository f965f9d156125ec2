//! Running a command under observation.

use std::io;
use std::os::fd::AsFd;
use std::process::Command;
use std::thread;

use knobgate_kernel::Cgroup;

use crate::departures::OnDeparture;
use crate::observation::{Observation, ObservationError, ObservationLoss, Observed};
use crate::run_error::RunError;
use crate::supervisor::{RunEvent, RunOutcome, Supervisor};

/// Why a command was not observed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObservedRunError {
    /// It was not started: there is no observer, or it has nothing to read from.
    #[error(transparent)]
    Observation(#[from] ObservationError),
    /// It was not started: it cannot be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The observer's events could not be waited for. The command has run.
    #[error("cannot wait for the observer's events")]
    Wait(#[from] io::Error),
}

impl Supervisor {
    /// Runs `command` as [`run`](Self::run) does, with an observer instead of a policy. Calls `consume` with every write
    /// below `/proc/sys`, and with `reads` also with every read, in a thread of its own. Processes that leave the cgroup are
    /// reported, and are not observed any more.
    ///
    /// # Errors
    ///
    /// Every [`ObservedRunError`].
    pub fn observe(
        &self,
        command: &mut Command,
        parent: &Cgroup,
        reads: bool,
        on_event: &mut dyn FnMut(RunEvent<'_>),
        consume: &mut (dyn FnMut(Observed) + Send),
    ) -> Result<(RunOutcome, ObservationLoss), ObservedRunError> {
        let (observation, loaded) = Observation::load(reads)?;
        let (has_ended, end) = io::pipe()?;
        thread::scope(|scope| {
            let mut waiting = Some((observation, consume, has_ended));
            let mut reader = None;
            let ran = self.run(command, loaded, parent, OnDeparture::Report, &mut |event| {
                if let RunEvent::Created(cgroup) = event
                    && let Some((mut observation, consume, has_ended)) = waiting.take()
                {
                    observation.trace(cgroup);
                    if let Some(error) = observation.not_traced() {
                        on_event(RunEvent::NotTraced(error));
                    }
                    reader = Some(scope.spawn(move || read(observation, &has_ended, consume)));
                }
                on_event(event);
            });
            // The guard of the cgroup may hold another copy of this end open, so closing it would not do.
            io::Write::write_all(&mut &end, b"!")?;
            let loss = match reader.map(thread::ScopedJoinHandle::join) {
                Some(Ok(loss)) => loss,
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                None => Ok(ObservationLoss::default()),
            };
            Ok((ran?, loss?))
        })
    }
}

/// Reads until the end of the command.
fn read(
    mut observation: Observation,
    has_ended: &io::PipeReader,
    consume: &mut (dyn FnMut(Observed) + Send),
) -> Result<ObservationLoss, ObservedRunError> {
    while !observation.wait(&[has_ended.as_fd()], None)? {
        observation.take(&mut *consume);
    }
    Ok(observation.end(&mut *consume)?)
}
