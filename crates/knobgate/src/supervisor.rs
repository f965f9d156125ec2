//! Running a command under a policy, and staying with it until its end, as if it had been started in place of this process.
//!
//! The command stays in our process group, so that a terminal's signals reach both and only other processes' are
//! passed on. When it stops (`^Z`), so do we, for the shell above to notice; when we are continued, it is too.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use knobgate_kernel::{
    BlockedSignals, Cgroup, CgroupError, Departure, DescendantsError, LoadedProgram, ObjectError, ProcessId,
    Signal, SignalInfo,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus};

use crate::confinement::Confinement;
use crate::departures::{DepartureSummary, Departures, OnDeparture};
use crate::run_error::RunError;

/// The signals that are passed on, and the one that says that the command's state changed.
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
    /// Processes that leave the policy will not be noticed.
    NotTracked(&'a DescendantsError),
    /// The policy is on the cgroup. The command starts next.
    Ready,
    /// A process has left the cgroup, and the policy with it.
    Departed {
        /// The process, and where it went.
        departure: &'a Departure,
        /// Whether it was killed.
        killed: bool,
    },
    /// Processes that left cannot be tracked or killed any longer. Reported once.
    TrackingFailed(&'a ObjectError),
    /// The guard of the cgroup was killed. There is another one now.
    GuardReplaced,
}

/// How the run of a command ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct RunOutcome {
    /// How the command ended.
    pub status: ExitStatus,
    /// Why it could not be supervised any longer, and was killed.
    pub unsupervised: Option<RunError>,
    /// Why its cgroup could not be removed. The guard goes on trying.
    pub not_removed: Option<CgroupError>,
    /// The processes that left; `None` if they were not tracked.
    pub departures: Option<DepartureSummary>,
}

/// Runs commands under policies.
///
/// It blocks signals of this thread, which it passes on to the command, until it is dropped. In a process with several
/// threads, the others should have them blocked as well: create it before they are started.
#[derive(Debug)]
pub struct Supervisor {
    blocked: BlockedSignals,
}

impl Supervisor {
    /// From now on no signal that is passed on ends this process.
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
    /// Whatever still runs in the cgroup then is killed. If this process is killed, so is all that runs there. The command
    /// gets the signal mask and standard streams with which this process was started. This process can no longer be traced
    /// without `CAP_SYS_PTRACE`, so that the command cannot use it against the policy.
    ///
    /// # Errors
    ///
    /// [`RunError`]; then the command was not started.
    pub fn run(
        &self,
        command: &mut Command,
        loaded: LoadedProgram,
        parent: &Cgroup,
        on_departure: OnDeparture,
        on_event: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<RunOutcome, RunError> {
        let mut confinement = Confinement::create(parent, loaded)?;
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

    /// Keeps the signals blocked for the lifetime of this process: those that are pending were for the command, which has
    /// ended.
    pub fn keep_signals_blocked(self) {
        self.blocked.keep_blocked();
    }

    /// The signal that asked to end before there was a command.
    fn asked_to_end(&self) -> Option<Signal> {
        while let Ok(Some(SignalInfo { signal, .. })) = self.blocked.read() {
            if [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].contains(&signal) {
                return Some(signal);
            }
        }
        None
    }

    /// Waits for the end of the command, passes signals on to it, keeps it guarded, and reports departures.
    fn wait(
        &self,
        child: ProcessId,
        confinement: &mut Confinement,
        departures: &mut Option<Departures>,
        on_event: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<ExitStatus, RunError> {
        loop {
            while let Some(blocked) = self.blocked.read().map_err(RunError::Wait)? {
                if is_for_us_to_pass_on(blocked) {
                    // It may have ended, which comes out below.
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

/// A terminal sends to its whole foreground process group, and so to the command as well, which has got what was sent
/// since its fork. (What a terminal sent in the microseconds between [`Supervisor::asked_to_end`] and the fork reaches
/// nobody: it cannot be told from what came after, and twice is worse than to press a key again.) Two signals come to us
/// alone: to the leader of a session, that its terminal is gone, and that it may go on to deal with that.
fn is_for_us_to_pass_on(SignalInfo { signal, from_kernel, .. }: SignalInfo) -> bool {
    signal != Signal::CHILD && (!from_kernel || [Signal::HUP, Signal::CONT].contains(&signal))
}

/// Stops this process if the command was stopped from the keyboard. (For the terminal's other stops the kernel
/// stops the whole group; and who stops the command alone means it alone.)
fn stop_with(child: ProcessId, status: WaitStatus) {
    let from_keyboard = status.stopping_signal() == Some(Signal::TSTP.as_raw());
    if from_keyboard && child.is_in_our_group() {
        let _ = ProcessId::this().send(Signal::STOP);
    }
}
