//! Running a command under a policy, as if it had been started instead of this process.
//!
//! The command stays in our process group. A terminal's signals reach both, so only signals from other processes are
//! forwarded. When the command stops (`^Z`), so do we, for the shell to notice; when we are continued, so is the
//! command.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use knobgate_kernel::{
    BlockedSignals, BpfObjectError, Cgroup, CgroupError, Departure, LoadedProgram, ProcessId, Signal,
    SignalInfo, SyscallResultsError, TrackingError,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus};

use crate::confinement::{self, Confinement};
use crate::departures::{DepartureSummary, Departures, OnDeparture};
use crate::run_error::RunError;

/// The signals that are forwarded, and `SIGCHLD`.
const BLOCKED: [Signal; 10] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::TSTP,
    Signal::CONT,
    Signal::CHILD,
];

/// Something that happens while a command runs.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum RunEvent<'a> {
    /// The cgroup of the command exists. Nothing runs in it, and the policy is not on it yet.
    Created(&'a Cgroup),
    /// Processes that leave the policy cannot be tracked.
    NotTracked(&'a TrackingError),
    /// System calls cannot be traced, so it is not known which accesses succeed. Only for commands under
    /// [observation](Supervisor::observe).
    NotTraced(&'a SyscallResultsError),
    /// The policy is on the cgroup. The command starts next.
    Ready,
    /// A process has left the cgroup, and the policy with it.
    Departed {
        /// The process, and the cgroup that it went to.
        departure: &'a Departure,
        /// Whether it was killed.
        killed: bool,
    },
    /// Processes that left can no longer be tracked or killed. Reported once.
    TrackingFailed(&'a BpfObjectError),
    /// The guard of the cgroup was killed, and has been replaced.
    GuardReplaced,
}

/// How the run of a command ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct RunOutcome {
    /// How the command ended.
    pub status: ExitStatus,
    /// Why it could no longer be supervised, and was killed.
    pub unsupervised: Option<RunError>,
    /// Why its cgroup could not be removed. The guard keeps trying.
    pub not_removed: Option<CgroupError>,
    /// The processes that left; `None` if they were not tracked.
    pub departures: Option<DepartureSummary>,
}

/// Runs commands under policies.
///
/// Until it is dropped, it blocks `SIGINT`, `SIGTERM`, `SIGHUP`, `SIGQUIT`, `SIGUSR1`, `SIGUSR2`, `SIGWINCH`, `SIGTSTP`,
/// `SIGCONT` and `SIGCHLD` in this thread, and forwards all but the last to the command. In a process with several threads,
/// the others should block them too: create it before starting them.
#[derive(Debug)]
pub struct Supervisor {
    blocked: BlockedSignals,
}

impl Supervisor {
    /// The cgroups in which commands run have names that begin so.
    pub const CGROUP_PREFIX: &str = confinement::PREFIX;

    /// Blocks the signals that are to be forwarded.
    ///
    /// # Errors
    ///
    /// [`RunError::Signals`].
    pub fn new() -> Result<Self, RunError> {
        let blocked = BlockedSignals::block(&BLOCKED).map_err(RunError::Signals)?;
        Ok(Self { blocked })
    }

    /// Runs `command` under the policy of a loaded program, in a new cgroup in `parent`, until it ends.
    ///
    /// Whatever still runs in the cgroup then is killed. If this process is killed, everything in the cgroup is killed
    /// too. The command gets the signal mask and standard streams with which this process was started. This process can
    /// no longer be traced without `CAP_SYS_PTRACE`, so the command cannot use it against the policy. If the command is
    /// stopped from the keyboard (^Z), this process stops too.
    ///
    /// # Errors
    ///
    /// [`RunError`]: the command was not started.
    pub fn run(
        &self,
        command: &mut Command,
        loaded: LoadedProgram,
        parent: &Cgroup,
        on_departure: OnDeparture,
        on_event: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<RunOutcome, RunError> {
        let mut confinement =
            Confinement::create(parent, loaded, |cgroup| on_event(RunEvent::Created(cgroup)))?;
        let mut departures = match (Departures::of(confinement.cgroup(), on_departure), on_departure) {
            (Ok(departures), _) => Some(departures),
            (Err(error), OnDeparture::Report) => {
                on_event(RunEvent::NotTracked(&error));
                None
            }
            (Err(error), OnDeparture::Kill) => return Err(error.into()),
        };
        self.blocked.restore_in(command);
        knobgate_kernel::keep_closed_streams(command);
        on_event(RunEvent::Ready);

        let ended = match self.asked_to_end() {
            Some(signal) => Ok(ended_by(signal)),
            None => {
                let child = confinement.start(command).map_err(RunError::Start)?;
                self.wait(child, &mut confinement, &mut departures, on_event)
            }
        };
        let (status, unsupervised) = match ended {
            Ok(status) => (status, None),
            Err(error) => (ended_by(Signal::KILL), Some(error)),
        };
        Ok(RunOutcome {
            status,
            unsupervised,
            not_removed: confinement.remove().err(),
            departures: departures.map(|departures| departures.end(on_event)),
        })
    }

    /// Keeps the signals blocked for the lifetime of this process: pending ones were for the command, which has ended.
    pub fn keep_signals_blocked(self) {
        self.blocked.keep_blocked();
    }

    /// A signal that asked to end before the command was started.
    fn asked_to_end(&self) -> Option<Signal> {
        while let Ok(Some(SignalInfo { signal, .. })) = self.blocked.read() {
            if [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].contains(&signal) {
                return Some(signal);
            }
        }
        None
    }

    /// Waits for the end of the command, forwards signals to it, keeps it guarded, and reports departures.
    fn wait(
        &self,
        child: ProcessId,
        confinement: &mut Confinement,
        departures: &mut Option<Departures>,
        on_event: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<ExitStatus, RunError> {
        loop {
            while let Some(blocked) = self.blocked.read().map_err(RunError::Wait)? {
                if is_to_be_forwarded(blocked) {
                    // It may have ended; this is handled below.
                    let _ = child.send(blocked.signal);
                }
            }
            match child.wait(WaitOptions::NOHANG | WaitOptions::UNTRACED).map_err(RunError::Wait)? {
                Some(status) if status.stopped() => stop_with(child, status),
                Some(status) => return Ok(ExitStatus::from_raw(status.as_raw())),
                None => {
                    let mut waited = vec![
                        PollFd::new(confinement.guard(), PollFlags::IN),
                        PollFd::new(&self.blocked, PollFlags::IN),
                    ];
                    waited.extend(departures.iter().map(|departures| PollFd::new(departures, PollFlags::IN)));
                    match poll(&mut waited, None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(RunError::Wait(io::Error::from(error))),
                    }
                    let guard_has_ended = !waited[0].revents().is_empty();
                    if let Some(departures) = departures {
                        departures.poll(on_event);
                    }
                    if guard_has_ended {
                        confinement.renew_guard()?;
                        on_event(RunEvent::GuardReplaced);
                    }
                }
            }
        }
    }
}

fn ended_by(signal: Signal) -> ExitStatus {
    // wait(2) has the number of the signal in the lowest bits.
    ExitStatus::from_raw(signal.as_raw())
}

/// Whether to forward a signal. A terminal signals its whole foreground process group, so the command has already got
/// every such signal since its fork. (A signal from the terminal in the microseconds between
/// [`Supervisor::asked_to_end`] and the fork is lost. It cannot be distinguished from a later one, and delivering it
/// twice would be worse.) Only two signals from the kernel are for us alone: `SIGHUP` and `SIGCONT` to the session
/// leader when its terminal is gone.
fn is_to_be_forwarded(SignalInfo { signal, from_kernel, .. }: SignalInfo) -> bool {
    signal != Signal::CHILD && (!from_kernel || [Signal::HUP, Signal::CONT].contains(&signal))
}

/// Stops this process if the command was stopped from the keyboard. (For the terminal's other stops the kernel stops
/// the whole group, and a signal to the command alone is meant for the command alone.)
fn stop_with(child: ProcessId, status: WaitStatus) {
    let from_keyboard = status.stopping_signal() == Some(Signal::TSTP.as_raw());
    if from_keyboard && child.is_in_our_group() {
        let _ = ProcessId::this().send(Signal::STOP);
    }
}
