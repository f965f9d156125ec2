//! The attachments of this machine.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use knobgate_kernel::{
    Attachment, AttachmentName, Bpffs, BpffsError, LoadedProgram, Map, MovedAway, PinDir, PinnedLink,
};

use crate::attachment_error::{AttachmentError, failed};
use crate::compiled_policy::CompiledPolicy;
use crate::events::{EventReader, EventReaders, MEMORY_MAPS, is_memory};

/// The attachments of this machine, in a directory on the bpffs.
///
/// Changes are serialised by a lock. It is waited for, but not for ever: a process that is stopped may have it.
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

    /// Waits for the lock as long as this, and not ten seconds. When that was in vain, the next operations only try to take it, until one
    /// can.
    #[must_use]
    pub fn with_patience(self, limit: Duration) -> Self {
        Self { pins: self.pins.with_patience(limit) }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.pins.path()
    }

    /// Whether this is the same directory. It is not if another bpffs was mounted in between.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Directory`].
    pub fn is_same_as(&self, other: &Self) -> Result<bool, AttachmentError> {
        Ok(self.pins.is_same_as(&other.pins)?)
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

    /// Loads the program of a policy for the attachment of this name, existing or not. It takes over the memory of the program that
    /// is attached there, and shares the places of readers with all others. Apply it under this name: attachments with one memory
    /// could not be told apart.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Load`], [`Directory`](AttachmentError::Directory).
    pub fn load(
        &self,
        name: &AttachmentName,
        compiled: &CompiledPolicy,
    ) -> Result<LoadedProgram, AttachmentError> {
        let _lock = self.lock()?;
        let readers = EventReaders::create(&self.pins)?;
        Ok(compiled.load_sharing(readers.as_ref(), &self.memory_maps(name))?)
    }

    /// The maps of the memory of an attachment. None if there is no such attachment, or if its program has no memory, or one that
    /// another version of knobgate has made.
    fn memory_maps(&self, name: &AttachmentName) -> Vec<Map> {
        let Ok(state) = self.read_unlocked(name) else { return Vec::new() };
        let maps = state.maps.into_iter().filter(|map| MEMORY_MAPS.contains(&&*map.info().name));
        let maps: Vec<Map> = maps.collect();
        if is_memory(&maps) { maps } else { Vec::new() }
    }

    /// The places for readers of events that programs share, if there are some and they can be used.
    pub(crate) fn pinned_readers(&self) -> Option<EventReaders> {
        EventReaders::pinned(&self.pins).ok().flatten()
    }

    /// Whether a reader of the events of all programs gets those of the policies that are attached now. It does not if the places that
    /// programs share are others than when it was opened: the bpffs was mounted anew, or their pins were removed.
    pub fn are_read_by(&self, reader: &EventReader) -> bool {
        self.pinned_readers().is_none_or(|shared| reader.is_in(&shared))
    }

    /// The places for readers of the events of these attachments, or without names, of all programs: those that programs share, which
    /// are made if there are none, and those of programs that have their own, because they were loaded before.
    ///
    /// A reader there also gets the events of other programs that share them.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Directory`], [`Memory`](AttachmentError::Memory); those of [`read`](Self::read) for the names.
    pub fn event_readers(&self, names: &[AttachmentName]) -> Result<Vec<EventReaders>, AttachmentError> {
        let mut own = if names.is_empty() { EventReaders::of_all_programs()? } else { Vec::new() };
        for name in names {
            own.extend(EventReaders::among(&self.read(name)?.maps)?);
        }
        let _lock = self.lock()?;
        let mut readers: Vec<EventReaders> = EventReaders::create(&self.pins)?.into_iter().collect();
        for own in own {
            if readers.iter().all(|known| known.id() != own.id()) {
                readers.push(own);
            }
        }
        Ok(readers)
    }

    /// The links of an attachment, dead ones included, sorted by the ids of their cgroups.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::NotFound`], [`Failed`](AttachmentError::Failed).
    pub fn links(&self, name: &AttachmentName) -> Result<Vec<PinnedLink>, AttachmentError> {
        self.attachment(name, "show")?.links().map_err(failed("show", name))
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
        let lock = self.pins.lock_whole().map_err(AttachmentError::Lock)?;
        self.pins.remove_abandoned()?;
        Ok(lock)
    }
}
