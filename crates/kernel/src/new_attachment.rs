//! An attachment on its way: it appears under its name with all of its links, or not at all.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, Mode, RenameFlags, mkdirat, renameat_with, unlinkat};
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
                Ok(()) => return Self::abandoned(pins, staging),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(failed("create", &pins.path().join(staging))(error)),
            }
        }
    }

    /// What another process has begun.
    pub(crate) fn abandoned(pins: &'a PinDir, staging: String) -> Result<Self, BpffsError> {
        let attachment = Attachment::open(pins, &staging);
        let attachment = attachment.map_err(failed("open", &pins.path().join(&staging)))?;
        Ok(Self { pins, staging, attachment, published: false })
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

/// The process that has begun the attachment in the directory of this name, if it is one that was begun.
pub(crate) fn maker(directory: &str) -> Option<u32> {
    directory.strip_prefix(STAGING)?.split_once('-')?.0.parse().ok()
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
