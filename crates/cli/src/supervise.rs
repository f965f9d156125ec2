//! Staying with a command until its end, as if it had been started in place of this process.
//!
//! The command stays in our process group, so that a terminal's signals reach both and only other processes' are
//! passed on. When it stops (`^Z`), so do we, for the shell above to notice; when we are continued, it is too.

use std::process::Command;

use knobgate_kernel::{BlockedSignals, ProcessId, Signal, SignalInfo};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus};

use crate::confinement::Confinement;
use crate::departures::Departures;
use crate::failure::Failure;
use crate::output::Output;

/// The signals that are passed on, and the one that says that the command's state changed.
const HELD: [Signal; 10] = [
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

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With this exit status.
    Exited(u8),
    /// By a signal of this number.
    Signalled(u8),
}

impl Ending {
    /// By us.
    pub(crate) const KILLED: Self = Self::Signalled(Signal::KILL.as_raw() as u8);

    /// The exit status that a shell gives it.
    pub(crate) fn status(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Signalled(signal) => signal.saturating_add(128),
        }
    }

    fn of(status: WaitStatus) -> Option<Self> {
        let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
        match (status.exit_status(), status.terminating_signal()) {
            (Some(status), _) => Some(Self::Exited(byte(status))),
            (None, Some(signal)) => Some(Self::Signalled(byte(signal))),
            (None, None) => None,
        }
    }
}

/// The signals of this process, blocked from before the command starts, so that none is lost or ends us before it.
#[derive(Debug)]
pub(crate) struct Supervisor {
    blocked: BlockedSignals,
}

impl Supervisor {
    /// From now on no signal that is passed on ends this process.
    ///
    /// # Errors
    /// [`Failure::Machine`].
    pub(crate) fn new() -> Result<Self, Failure> {
        let blocked = BlockedSignals::block(&HELD)
            .map_err(|error| Failure::machine("cannot hold back signals").because(error))?;
        Ok(Self { blocked })
    }

    /// The ending that a signal asked for which came before there was a command.
    pub(crate) fn asked_to_end(&self) -> Option<Ending> {
        while let Ok(Some(SignalInfo { signal, .. })) = self.blocked.read() {
            if [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].contains(&signal) {
                return Some(Ending::Signalled(signal.as_raw() as u8));
            }
        }
        None
    }

    /// Has `command` start with the signals and the standard streams as we were given them.
    pub(crate) fn prepare(&self, command: &mut Command) {
        self.blocked.restore_in(command);
        knobgate_kernel::keep_closed_streams(command);
    }

    /// From now on no signal changes how this process ends: it was for the command, which has ended.
    pub(crate) fn end(self) {
        self.blocked.keep_blocked();
    }

    /// Waits for the end of the command `child`, passes signals on to it, keeps it guarded, and reports departures.
    ///
    /// # Errors
    /// [`Failure::Machine`] if it cannot be waited for.
    pub(crate) fn wait(
        &self,
        child: ProcessId,
        confinement: &mut Confinement,
        departures: &mut Option<Departures>,
        output: &Output,
    ) -> Result<Ending, Failure> {
        let cannot = || Failure::machine("cannot wait for the command");
        loop {
            while let Some(blocked) = self.blocked.read().map_err(|error| cannot().because(error))? {
                if is_for_us_to_pass_on(blocked) {
                    // It may have ended, which comes out below.
                    let _ = child.send(blocked.signal);
                }
            }
            match child.wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some(status)) => match Ending::of(status) {
                    Some(ending) => return Ok(ending),
                    None => stop_with(child, status),
                },
                Ok(None) => {
                    let mut waited = vec![
                        PollFd::new(confinement.guard(), PollFlags::IN),
                        PollFd::new(&self.blocked, PollFlags::IN),
                    ];
                    waited.extend(departures.iter().map(|departures| PollFd::new(departures, PollFlags::IN)));
                    match poll(&mut waited, None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(cannot().because(error)),
                    }
                    let guard_has_ended = !waited[0].revents().is_empty();
                    if let Some(departures) = departures {
                        departures.poll(output);
                    }
                    if guard_has_ended {
                        confinement.renew_guard()?;
                        output.warning(
                            "the guard of the command's cgroup was killed; there is another one now",
                        );
                    }
                }
                Err(error) => return Err(cannot().because(error)),
            }
        }
    }
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
