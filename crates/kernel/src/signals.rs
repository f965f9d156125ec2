//! Signals that wait to be read, instead of interrupting this process or ending it.
//!
//! Who starts a command and stays with it until its end must not be ended before it, and has to pass on what is sent to
//! it. A handler would do, but runs in the forked child as well, until that execs, and a signal that comes just then is
//! lost. Held signals are blocked instead: parent and child keep theirs until they come to take them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;

use rustix::process::Signal;

use crate::sys::{exec, signals, startup};

/// Signals that are held back for this thread, to be [taken](Self::take).
///
/// As long as there are no other threads, the whole process is meant. Dropping this lets the signals have
/// their effect again, also those that were not taken.
#[derive(Debug)]
pub struct HeldSignals {
    fd: OwnedFd,
    before: signals::Mask,
    ignored_children: bool,
}

/// A signal that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldSignal {
    /// Which one.
    pub signal: Signal,
    /// Whether the kernel sent it, and not a process. A terminal's signals are of this kind; they go to its whole
    /// foreground process group.
    pub from_kernel: bool,
}

impl HeldSignals {
    /// Holds back `signals` from now on.
    ///
    /// `SIGCHLD`, if it is among them and was ignored, is so no longer: children of a process that ignores it leave no
    /// exit status (wait(2)).
    ///
    /// # Errors
    ///
    /// When there are no descriptors or no memory left.
    pub fn hold(signals: &[Signal]) -> io::Result<Self> {
        let ignored_children = signals.contains(&Signal::CHILD) && signals::stop_ignoring_children()?;
        let fd = signals::signal_fd(signals)?;
        Ok(Self { fd, before: signals::block(signals)?, ignored_children })
    }

    /// Takes the next one; `None` when there is none now.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn take(&self) -> io::Result<Option<HeldSignal>> {
        // SI_KERNEL of include/uapi/asm-generic/siginfo.h
        const FROM_KERNEL: i32 = 0x80;
        let Some((number, code)) = signals::read_signal(self.as_fd())? else { return Ok(None) };
        let signal = Signal::from_named_raw(number)
            .ok_or_else(|| io::Error::other(format!("signal {number} was not asked for")))?;
        Ok(Some(HeldSignal { signal, from_kernel: code == FROM_KERNEL }))
    }

    /// Holds them back for as long as this process lives: what comes from now on has no effect any longer.
    pub fn for_good(self) {
        std::mem::forget(self);
    }

    /// Makes `command` start with the signals as they were when this process was started: what is sent to it from its fork on,
    /// it gets, and what was ignored is ignored. (A [`Command`] has the default effect of `SIGPIPE` otherwise.)
    pub fn release_in(&self, command: &mut Command) {
        let mut ignored = Vec::new();
        ignored.extend(startup::ignores_sigpipe().then_some(Signal::PIPE));
        ignored.extend(self.ignored_children.then_some(Signal::CHILD));
        exec::restore_signals(command, self.before, ignored);
    }
}

impl AsFd for HeldSignals {
    /// Is readable while there are signals to be taken.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        signals::set_mask(&self.before);
    }
}
