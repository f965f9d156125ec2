//! Signal masks and signalfd(2).

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::process::Signal;

/// A signal mask.
#[derive(Clone, Copy)]
pub(crate) struct Mask(libc::sigset_t);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

/// Blocks `signals` for this thread. Returns the previous mask.
pub(crate) fn block(signals: &[Signal]) -> Result<Mask> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: reads one set, fills the other; `before` is read only if that succeeded.
    unsafe {
        match libc::pthread_sigmask(libc::SIG_BLOCK, &set(signals), before.as_mut_ptr()) {
            0 => Ok(Mask(before.assume_init())),
            error => Err(Errno::from_raw_os_error(error)),
        }
    }
}

/// Sets the signal mask of this thread. Makes a system call and nothing else.
pub(crate) fn set_mask(mask: &Mask) {
    // SAFETY: reads a set that pthread_sigmask gave. It cannot fail with these arguments.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask.0, std::ptr::null_mut()) };
}

/// A nonblocking descriptor to read `signals` from, once they are blocked.
pub(crate) fn signal_fd(signals: &[Signal]) -> Result<OwnedFd> {
    // SAFETY: reads a set; the descriptor is new, and nothing else owns it.
    unsafe {
        let fd = libc::signalfd(-1, &set(signals), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(last_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// The number and the code (`si_code` in sigaction(2)) of the next signal; `None` if none is pending.
pub(crate) fn read_signal(fd: BorrowedFd<'_>) -> Result<Option<(i32, i32)>> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: `info` consists of integers, and is read only after the kernel has filled all of it.
    unsafe {
        match libc::read(fd.as_raw_fd(), info.as_mut_ptr().cast(), size) {
            read if read == size as isize => {
                let info = info.assume_init();
                Ok(Some((info.ssi_signo.cast_signed(), info.ssi_code)))
            }
            read if read < 0 => match last_error() {
                Errno::AGAIN | Errno::INTR => Ok(None),
                error => Err(error),
            },
            _ => Err(Errno::IO),
        }
    }
}

/// Ignores a signal. Makes a system call and nothing else.
pub(crate) fn ignore(signal: Signal) {
    // SAFETY: installs no handler. For signals that cannot be ignored it fails without effect.
    unsafe { libc::signal(signal.as_raw(), libc::SIG_IGN) };
}

/// Resets `SIGCHLD` to its default action if it is ignored. Returns whether it was.
pub(crate) fn stop_ignoring_children() -> Result<bool> {
    // SAFETY: a zeroed action is the default one without flags; the first call fills `before`.
    unsafe {
        let mut before = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        if libc::sigaction(libc::SIGCHLD, std::ptr::null(), &mut before) != 0 {
            return Err(last_error());
        }
        if before.sa_sigaction != libc::SIG_IGN {
            return Ok(false);
        }
        let default = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        if libc::sigaction(libc::SIGCHLD, &default, std::ptr::null_mut()) != 0 {
            return Err(last_error());
        }
    }
    Ok(true)
}

fn set(signals: &[Signal]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset fills `set`; sigaddset changes it, and rejects invalid signals.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal.as_raw());
        }
        set.assume_init()
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
