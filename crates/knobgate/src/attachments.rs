//! The attachments of this machine.

use std::os::fd::OwnedFd;
use std::path::Path;

use knobgate_kernel::{Attachment, AttachmentName, Bpffs, BpffsError, MovedAway, PinDir};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;

use crate::attachment_error::{AttachmentError, failed};

/// The attachments of this machine, in a directory on the bpffs.
///
/// Changes are serialised by a lock.
#[derive(Debug)]
pub struct Attachments {
    pub(crate) pins: PinDir,
}

impl Attachments {
    /// Opens the directory; `None` if nothing was attached since the bpffs was mounted.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Directory`]: there is no bpffs, or the directory cannot be trusted.
    pub fn open() -> Result<Option<Self>, AttachmentError> {
        let pins = PinDir::open(&Bpffs::find()?)?;
        Ok(pins.map(|pins| Self { pins }))
    }

    /// Opens the directory, and creates it if necessary.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Directory`]: there is no bpffs, this user is not root, or the directory cannot be trusted.
    pub fn create() -> Result<Self, AttachmentError> {
        Ok(Self { pins: PinDir::create(&Bpffs::find()?)? })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.pins.path()
    }

    /// What was moved away when the directory was [created](Self::create).
    pub fn moved_away(&self) -> &[MovedAway] {
        self.pins.moved_away()
    }

    /// The names of all attachments, sorted.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Directory`].
    pub fn names(&self) -> Result<Vec<AttachmentName>, AttachmentError> {
        Ok(self.pins.names()?)
    }

    /// Opens an attachment for an operation.
    pub(crate) fn attachment(
        &self,
        name: &AttachmentName,
        operation: &'static str,
    ) -> Result<Attachment, AttachmentError> {
        self.pins.attachment(name).map_err(|error| match error {
            BpffsError::NotFound { name } => {
                AttachmentError::NotFound { name, existing: self.names().unwrap_or_default() }
            }
            error => failed(operation, name)(error),
        })
    }

    /// Locks the attachments until the result is dropped. Cleans up after interrupted changes.
    pub(crate) fn lock(&self) -> Result<OwnedFd, AttachmentError> {
        let failed =
            |error: Errno| AttachmentError::Lock { path: self.path().to_owned(), source: error.into() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(&self.pins, c".", flags, Mode::empty()).map_err(failed)?;
        loop {
            match flock(&directory, FlockOperation::LockExclusive) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        self.pins.remove_abandoned()?;
        Ok(directory)
    }
}
