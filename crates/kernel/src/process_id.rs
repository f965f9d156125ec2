//! The id of one process.
//!
//! For kill(2) and waitpid(2), 0 and negative numbers mean groups of processes, and -1 means all processes. A failed
//! system call returns -1, too. So only this file turns numbers into ids, after a check. The functions that take a
//! plain number are forbidden everywhere else (`disallowed-methods` in clippy.toml).

use std::fmt;
use std::io;
use std::process::Child;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpgid};

/// The id of one process: between 1 and [`i32::MAX`], so never a group or all processes.
///
/// After a process has ended and was waited for, its id can be reused. A [`ProcessFd`](crate::ProcessFd) prevents that.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessId(Pid);

impl ProcessId {
    /// The id with this number; `None` if it is not valid.
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

    /// The id of a child.
    pub fn of_child(child: &Child) -> Self {
        Self(Pid::from_child(child))
    }

    /// The id of this process.
    pub fn this() -> Self {
        Self(rustix::process::getpid())
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.as_raw_pid().cast_unsigned()
    }

    /// Sends the process a signal. If it is a child that was not waited for yet, it is certain to be that child.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is no such process, `EPERM`.
    pub fn send(self, signal: Signal) -> io::Result<()> {
        #[expect(clippy::disallowed_methods, reason = "it is the id of one process")]
        Ok(rustix::process::kill_process(self.0, signal)?)
    }

    /// Waits until this child changes its state; `None` with [`WaitOptions::NOHANG`] if it has not. Signals do not
    /// interrupt this.
    ///
    /// # Errors
    ///
    /// `ECHILD` if it is not a child of this process, or was waited for.
    pub fn wait(self, options: WaitOptions) -> io::Result<Option<WaitStatus>> {
        loop {
            #[expect(clippy::disallowed_methods, reason = "it is the id of one process")]
            match rustix::process::waitpid(Some(self.0), options) {
                Err(rustix::io::Errno::INTR) => {}
                changed => return Ok(changed?.map(|(_, status)| status)),
            }
        }
    }

    /// Whether it is in the process group of this process.
    pub fn is_in_our_group(self) -> bool {
        getpgid(Some(self.0)).is_ok_and(|group| Ok(group) == getpgid(None))
    }

    /// For calls that do no harm to other processes if the id was reused.
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
