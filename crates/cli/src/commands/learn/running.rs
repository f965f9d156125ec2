//! Running the command that is observed.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use knobgate::{ObservationLoss, ObservedRunError, RunError, RunEvent, RunOutcome, Supervisor};
use knobgate_kernel::{Cgroup, Signal};

use super::recorder::Recorder;
use super::{ENDING, Loss, cannot_observe, no_execve, not_traced};
use crate::commands::run::{cannot_start, parent};
use crate::failure::Failure;
use crate::output::Output;
use crate::plural::count;

/// How a command is observed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running<'a> {
    pub(super) command: &'a [OsString],
    /// How often it runs.
    pub(super) runs: u32,
    /// Whether reads are recorded.
    pub(super) reads: bool,
    /// Whether it has to be seen what processes execute.
    pub(super) needs_execve: bool,
    /// Whether its standard output goes to standard error.
    pub(super) moves_output: bool,
}

/// What became of the command.
#[derive(Debug)]
pub(super) enum Run {
    /// It has run as often as asked, or until a signal.
    Ended(Loss),
    /// It cannot be started. This is the exit status, as in a shell.
    NotStarted(u8),
}

/// One run.
#[derive(Debug)]
struct RunResult {
    outcome: RunOutcome,
    loss: ObservationLoss,
    notes: RunNotes,
}

/// What is said at the end of a run.
#[derive(Debug)]
struct RunNotes {
    departures: usize,
    is_traced: bool,
}

impl Running<'_> {
    /// Runs the command as often as asked.
    ///
    /// # Errors
    /// [`Failure::Machine`].
    pub(super) fn run(&self, recorder: &mut Recorder<'_>, output: &Output) -> Result<Run, Failure> {
        let parent = parent(None, "; run knobgate in another one")?;
        let supervisor = Supervisor::new()?;
        let mut loss = Loss::default();
        for run in 1..=self.runs {
            recorder.begin_run();
            let ran = match self.run_once(&supervisor, &parent, recorder, output) {
                Ok(ran) => ran,
                Err(ObservedRunError::Run(RunError::Start(error))) => {
                    let program = self.command.first().ok_or_else(|| Failure::usage("no command"))?;
                    return cannot_start(program, error, output).map(Run::NotStarted);
                }
                Err(ObservedRunError::Run(error)) => return Err(error.into()),
                Err(ObservedRunError::Observation(error)) => return Err(cannot_observe(error)),
                Err(error) => return Err(Failure::machine("cannot observe the command").because(error)),
            };
            let RunResult { outcome, loss: lost, notes } = ran;
            if !notes.is_traced && self.needs_execve {
                return Err(no_execve());
            }
            loss.accesses += lost.accesses;
            loss.results += lost.results;
            let ended_by = self.report_end(outcome, run, output);
            if notes.departures > 0 {
                let departures = count(notes.departures, "departure");
                output.warning(format_args!(
                    "{departures} from the command's cgroup; what these processes did elsewhere is not in the policy"
                ));
            }
            if ended_by.is_some_and(|signal| ENDING.contains(&signal)) {
                break;
            }
        }
        supervisor.keep_signals_blocked();
        Ok(Run::Ended(loss))
    }

    fn run_once(
        &self,
        supervisor: &Supervisor,
        parent: &Cgroup,
        recorder: &mut Recorder<'_>,
        output: &Output,
    ) -> Result<RunResult, ObservedRunError> {
        let mut words = self.command.iter();
        let mut command = Command::new(words.next().map_or("".as_ref(), OsString::as_os_str));
        command.args(words);
        if self.moves_output {
            command.stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?));
        }
        let mut notes = RunNotes { departures: 0, is_traced: true };
        let (outcome, loss) = supervisor.observe(
            &mut command,
            parent,
            self.reads,
            &mut |event| print_event(event, &mut notes, output),
            &mut |observed| recorder.add(observed),
        )?;
        Ok(RunResult { outcome, loss, notes })
    }

    /// Reports how a run ended, if not well. Returns the signal that ended it.
    fn report_end(&self, outcome: RunOutcome, run: u32, output: &Output) -> Option<Signal> {
        let RunOutcome { status, unsupervised, not_removed, .. } = outcome;
        if let Some(error) = unsupervised {
            output.failure(&error.into());
        }
        if let Some(error) = not_removed {
            output.failure(&Failure::machine("cannot clean up after the command").because(error));
        }
        if !status.success() {
            let which =
                if self.runs > 1 { format!("run {run} of the command") } else { "the command".to_owned() };
            output.warning(format_args!("{which} failed ({status}); the policy has what it did until then"));
        }
        status.signal().and_then(Signal::from_named_raw)
    }
}

fn print_event(event: RunEvent<'_>, notes: &mut RunNotes, output: &Output) {
    match event {
        RunEvent::NotTracked(error) => {
            output.note(format_args!("processes that leave the cgroup cannot be reported: {error}"));
        }
        RunEvent::NotTraced(error) => {
            notes.is_traced = false;
            not_traced(error, output);
        }
        RunEvent::Departed { .. } => notes.departures += 1,
        RunEvent::TrackingFailed(error) => output.error(error),
        RunEvent::GuardReplaced => {
            output.warning("the guard of the command's cgroup was killed, and has been replaced");
        }
        _ => {}
    }
}
