//! Creating an attachment: it appears under its name with all of its links, or not at all.

use std::ops::Deref;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{
    AtFlags, FlockOperation, Mode, RenameFlags, flock, fstat, mkdirat, renameat_with, unlinkat,
};
use rustix::io::Errno;

use crate::attachment::Attachment;
use crate::attachment_name::AttachmentName;
use crate::bpffs::{BpffsError, failed};
use crate::pin_dir::PinDir;

/// The prefix of these directories, which no attachment's name has. The process id and a number follow.
const STAGING: &str = "+";

/// An attachment without a name. Dropping it before it is published detaches its links.
#[derive(Debug)]
pub struct NewAttachment<'a> {
    pins: &'a PinDir,
    staging: String,
    /// Locked, which shows processes in every pid namespace that it is in use.
    attachment: Attachment,
    published: bool,
}

impl PinDir {
    /// Begins an attachment, which gets its name when it is [published](NewAttachment::publish).
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn begin(&self) -> Result<NewAttachment<'_>, BpffsError> {
        NewAttachment::create(self)
    }

    /// Removes attachments that were [begun](Self::begin) by processes that ended before publishing them, and what is left of those
    /// whose [removal](Self::remove) was interrupted.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn remove_abandoned(&self) -> Result<(), BpffsError> {
        for name in self.entries()? {
            drop(NewAttachment::abandoned(self, &name)?);
        }
        Ok(())
    }
}

/// A name for an attachment that is begun, or being removed. Another process id namespace can have the same.
pub(crate) fn staging() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{STAGING}{}-{number}", std::process::id())
}

impl<'a> NewAttachment<'a> {
    fn create(pins: &'a PinDir) -> Result<Self, BpffsError> {
        loop {
            let staging = staging();
            match mkdirat(pins, &*staging, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(failed("create", &pins.path().join(staging))(error)),
            }
            // Another process may have taken it for abandoned before it was locked.
            if let Some(new) = Self::locked(pins, staging, FlockOperation::LockExclusive)? {
                return Ok(new);
            }
        }
    }

    /// The attachment in a directory, if its process ended before publishing or removing it.
    fn abandoned(pins: &'a PinDir, directory: &str) -> Result<Option<Self>, BpffsError> {
        if directory.starts_with(STAGING) {
            Self::locked(pins, directory.to_owned(), FlockOperation::NonBlockingLockExclusive)
        } else {
            Ok(None)
        }
    }

    /// `None` if it is gone, or another process has locked it.
    fn locked(pins: &'a PinDir, staging: String, lock: FlockOperation) -> Result<Option<Self>, BpffsError> {
        let open = || -> rustix::io::Result<_> {
            let attachment = Attachment::open(pins.as_fd(), pins.path(), &staging)?;
            flock(attachment.directory(), lock)?;
            let is_there = fstat(attachment.directory())?.st_nlink > 0;
            Ok(is_there.then_some(attachment))
        };
        match open() {
            Ok(Some(attachment)) => Ok(Some(Self { pins, staging, attachment, published: false })),
            Ok(None) | Err(Errno::NOENT | Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed("open", &pins.path().join(&staging))(error)),
        }
    }

    /// Gives it its name. Of several concurrent calls, one wins.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Exists`], [`Io`](BpffsError::Io).
    pub fn publish(mut self, name: &AttachmentName) -> Result<(), BpffsError> {
        let (from, to) = (&*self.staging, name.as_str());
        match renameat_with(self.pins, from, self.pins, to, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.published = true;
                Ok(())
            }
            Err(Errno::EXIST | Errno::NOTEMPTY) => Err(BpffsError::Exists { name: name.clone() }),
            Err(error) => Err(failed("create", &self.pins.path().join(to))(error)),
        }
    }
}

impl Deref for NewAttachment<'_> {
    type Target = Attachment;

    fn deref(&self) -> &Attachment {
        &self.attachment
    }
}

impl Drop for NewAttachment<'_> {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        for link in self.attachment.links().unwrap_or_default() {
            // Detaching takes effect at once, unpinning with a delay.
            let _ = self.attachment.open_link(&link).map(|link| link.detach());
        }
        let _ = self.attachment.unpin_all();
        let _ = unlinkat(self.pins, &*self.staging, AtFlags::REMOVEDIR);
    }
}
