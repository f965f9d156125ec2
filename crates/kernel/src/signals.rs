//! Signals that are blocked and read from a descriptor, instead of interrupting or ending this process.
//!
//! A process that supervises a command must outlive it and pass on the signals that it receives. A handler would also
//! run in the forked child, until that executes, and a signal in that moment would be lost. A blocked signal stays
//! pending, in the parent and in the child, until it is read or unblocked.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;

use rustix::process::Signal;

use crate::sys::{exec, signals, startup};

/// Blocked signals of this thread, to be [read](Self::read). With a single thread, that covers the process.
///
/// Dropping this restores the signal mask. Signals that were not read then take effect.
#[derive(Debug)]
pub struct BlockedSignals {
    fd: OwnedFd,
    before: signals::Mask,
    ignored_children: bool,
}

/// A signal that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalInfo {
    /// The signal.
    pub signal: Signal,
    /// Whether the kernel sent it, not a process. This includes those of a terminal, which go to its whole foreground
    /// process group.
    pub from_kernel: bool,
}

impl BlockedSignals {
    /// Blocks `signals`.
    ///
    /// If `SIGCHLD` is one of them, it is no longer ignored: children of a process that ignores it leave no exit status
    /// (wait(2)).
    ///
    /// # Errors
    ///
    /// There are no descriptors or no memory left.
    pub fn block(signals: &[Signal]) -> io::Result<Self> {
        let ignored_children = signals.contains(&Signal::CHILD) && signals::stop_ignoring_children()?;
        let fd = signals::signal_fd(signals)?;
        Ok(Self { fd, before: signals::block(signals)?, ignored_children })
    }

    /// Reads the next one; `None` if none is pending.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn read(&self) -> io::Result<Option<SignalInfo>> {
        // SI_KERNEL of include/uapi/asm-generic/siginfo.h
        const FROM_KERNEL: i32 = 0x80;
        let Some((number, code)) = signals::read_signal(self.as_fd())? else { return Ok(None) };
        let signal = Signal::from_named_raw(number)
            .ok_or_else(|| io::Error::other(format!("signal {number} was not blocked")))?;
        Ok(Some(SignalInfo { signal, from_kernel: code == FROM_KERNEL }))
    }

    /// Keeps them blocked for the lifetime of this process.
    pub fn keep_blocked(self) {
        std::mem::forget(self);
    }

    /// Makes `command` start with the signal mask and the ignored signals that this process was started with. It
    /// receives all signals that are sent to it after the fork. (By default, a [`Command`] gets the default action of
    /// `SIGPIPE`.)
    pub fn restore_in(&self, command: &mut Command) {
        let mut ignored = Vec::new();
        ignored.extend(startup::ignores_sigpipe().then_some(Signal::PIPE));
        ignored.extend(self.ignored_children.then_some(Signal::CHILD));
        exec::restore_signals(command, self.before, ignored);
    }
}

impl AsFd for BlockedSignals {
    /// Readable while signals are pending.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        signals::set_mask(&self.before);
    }
}
