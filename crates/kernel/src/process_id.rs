//! The id of one process.
//!
//! To kill(2) and waitpid(2), 0 and negative numbers mean groups of processes, and -1 means every process there is. -1 is
//! also what a failed system call returns. So a number becomes an id in this file only, after a check; the functions that
//! take a bare number are forbidden everywhere else (`disallowed-methods` in clippy.toml).

use std::fmt;
use std::io;
use std::process::Child;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpgid};

/// The id of one process: between 1 and [`i32::MAX`], and so never a group, nor every process.
///
/// A process that has ended and was waited for may leave its id to another one; [`ProcessFd`](crate::ProcessFd) does not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessId(Pid);

impl ProcessId {
    /// The id with this number; `None` if no process can have it.
    ///
    /// ```
    /// use knobgate_kernel::ProcessId;
    ///
    /// assert_eq!(ProcessId::new(4711).map(ProcessId::get), Some(4711));
    /// for number in [-1, 0, i64::from(i32::MIN), i64::from(i32::MAX) + 1, i64::from(u32::MAX)] {
    ///     assert_eq!(ProcessId::new(number), None);
    /// }
    /// ```
    pub fn new(number: impl Into<i64>) -> Option<Self> {
        let number = i32::try_from(number.into()).ok().filter(|&number| number > 0)?;
        #[expect(clippy::disallowed_methods, reason = "the number is positive")]
        Pid::from_raw(number).map(Self)
    }

    /// That of a child.
    pub fn of_child(child: &Child) -> Self {
        Self(Pid::from_child(child))
    }

    /// That of this process.
    pub fn this() -> Self {
        Self(rustix::process::getpid())
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.as_raw_pid().cast_unsigned()
    }

    /// Sends the process a signal. Of a child that was not yet waited for it is sure to be that child.
    ///
    /// # Errors
    ///
    /// `ESRCH` when there is no such process, `EPERM`.
    pub fn send(self, signal: Signal) -> io::Result<()> {
        #[expect(clippy::disallowed_methods, reason = "it is the id of one process")]
        Ok(rustix::process::kill_process(self.0, signal)?)
    }

    /// Waits for this child to change its state; `None` with [`WaitOptions::NOHANG`] when it has not. A signal that
    /// arrives meanwhile does not end the waiting.
    ///
    /// # Errors
    ///
    /// `ECHILD` when it is no child of this process, or was waited for.
    pub fn wait(self, options: WaitOptions) -> io::Result<Option<WaitStatus>> {
        loop {
            #[expect(clippy::disallowed_methods, reason = "it is the id of one process")]
            match rustix::process::waitpid(Some(self.0), options) {
                Err(rustix::io::Errno::INTR) => {}
                changed => return Ok(changed?.map(|(_, status)| status)),
            }
        }
    }

    /// Whether it is in the process group of this process, as far as that can be told.
    pub fn is_in_our_group(self) -> bool {
        getpgid(Some(self.0)).is_ok_and(|group| Ok(group) == getpgid(None))
    }

    /// For calls that do nothing to other processes if they are given the wrong number.
    pub(crate) fn as_pid(self) -> Pid {
        self.0
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessId({self})")
    }
}

impl fmt::Display for ProcessId {
    /// The number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
