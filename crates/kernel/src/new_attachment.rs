//! An attachment on its way: it appears under its name with all of its links, or not at all.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{
    AtFlags, FlockOperation, Mode, RenameFlags, flock, fstat, mkdirat, renameat_with, unlinkat,
};
use rustix::io::Errno;

use crate::attachment::Attachment;
use crate::attachment_name::AttachmentName;
use crate::bpffs::{BpffsError, failed};
use crate::pin_dir::PinDir;

/// Begins the names of these directories, as no attachment's name can; the process id and a number follow.
const STAGING: &str = "+";

/// An attachment that has no name yet. If it is dropped without one, all that it holds is detached.
#[derive(Debug)]
pub struct NewAttachment<'a> {
    pins: &'a PinDir,
    staging: String,
    /// Locked, which tells others that its maker lives, wherever that has which process id.
    attachment: Attachment,
    published: bool,
}

impl<'a> NewAttachment<'a> {
    pub(crate) fn create(pins: &'a PinDir) -> Result<Self, BpffsError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let staging = format!("{STAGING}{}-{number}", std::process::id());
            match mkdirat(&pins.dir, &*staging, Mode::RWXU) {
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

    /// What is in a directory, if that is of an attachment that a process began which ended before it could publish it.
    pub(crate) fn abandoned(pins: &'a PinDir, directory: &str) -> Result<Option<Self>, BpffsError> {
        if directory.starts_with(STAGING) {
            Self::locked(pins, directory.to_owned(), FlockOperation::NonBlockingLockExclusive)
        } else {
            Ok(None)
        }
    }

    /// `None` if it is gone, or belongs to another.
    fn locked(pins: &'a PinDir, staging: String, lock: FlockOperation) -> Result<Option<Self>, BpffsError> {
        let attempt = || -> rustix::io::Result<_> {
            let attachment = Attachment::open(pins, &staging)?;
            flock(attachment.directory(), lock)?;
            let is_there = fstat(attachment.directory())?.st_nlink > 0;
            Ok(is_there.then_some(attachment))
        };
        match attempt() {
            Ok(Some(attachment)) => Ok(Some(Self { pins, staging, attachment, published: false })),
            Ok(None) | Err(Errno::NOENT | Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed("open", &pins.path().join(&staging))(error)),
        }
    }

    /// Gives it its name: of several that try at the same time one wins.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Exists`], [`Io`](BpffsError::Io).
    pub fn publish(mut self, name: &AttachmentName) -> Result<(), BpffsError> {
        let (from, to) = (&*self.staging, name.as_str());
        match renameat_with(&self.pins.dir, from, &self.pins.dir, to, RenameFlags::NOREPLACE) {
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
            // A link that is pinned goes a while after its pin, but at once when it is detached.
            let _ = self.attachment.link(link.cgroup_id).map(|link| link.detach());
        }
        let _ = self.attachment.unpin_all();
        let _ = unlinkat(&self.pins.dir, &*self.staging, AtFlags::REMOVEDIR);
    }
}
