//! A lock that one process of the machine has at a time: a file in `/run/knobgate`.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, mkdir, openat};
use rustix::io::Errno;

use crate::boot_cache::{DIRECTORY, open_directory};
use crate::dir_lock::LockHolder;

/// A lock of the machine, which is held until it is dropped. Processes that have another `/run`, as in containers, have
/// other locks.
#[derive(Debug)]
pub struct MachineLock {
    /// The file, which is locked as long as it is open.
    _file: OwnedFd,
}

impl MachineLock {
    /// Takes the lock `name`, and waits for it as long as others have it. `waits` is called before that with who has it, if
    /// that can be found out.
    ///
    /// # Errors
    ///
    /// The file cannot be created or locked. `EACCES`: `/run/knobgate` is not this user's alone.
    pub fn acquire(name: &str, waits: impl FnOnce(Option<&LockHolder>)) -> io::Result<Self> {
        let _ = mkdir(DIRECTORY, Mode::RWXU);
        let directory = open_directory().ok_or(Errno::ACCESS)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&directory, name, flags, Mode::RUSR | Mode::WUSR)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                waits(fstat(&file).ok().and_then(|stat| LockHolder::of(&stat)).as_ref());
                while let Err(error) = flock(&file, FlockOperation::LockExclusive) {
                    if error != Errno::INTR {
                        return Err(error.into());
                    }
                }
            }
            taken => taken?,
        }
        Ok(Self { _file: file })
    }
}
