//! The attachments of this machine.

use std::os::fd::OwnedFd;
use std::path::Path;

use knobgate_bpf::MapDef;
use knobgate_kernel::{
    Attachment, AttachmentName, Bpffs, BpffsError, LoadOptions, LoadedProgram, Map, MovedAway, PinDir,
    create_map, load_with_maps,
};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;

use crate::attachment_error::{AttachmentError, failed};
use crate::compiled_policy::CompiledPolicy;
use crate::events::{EventReaders, MEMORY_MAPS};

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

    /// Loads the program of a policy for the attachment of this name, existing or not. It takes over the memory of the program that
    /// is attached there, and shares the places of readers with all others.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Load`], [`Memory`](AttachmentError::Memory), [`Directory`](AttachmentError::Directory).
    pub fn load(
        &self,
        name: &AttachmentName,
        compiled: &CompiledPolicy,
    ) -> Result<LoadedProgram, AttachmentError> {
        let program = compiled.program();
        let readers = EventReaders::create(&self.pins)?;
        let memory = self.memory_maps(name);
        let map = |def: &MapDef| -> Result<Map, AttachmentError> {
            if let Some(map) = readers.as_ref().map(|readers| readers.map(def)).transpose()?.flatten() {
                return Ok(map);
            }
            let remembered = memory.iter().find(|map| map.info().name == def.name);
            Ok(match remembered {
                Some(map) => map.try_clone()?,
                None => create_map(&program.name, def)?,
            })
        };
        let maps = program.maps.iter().map(map).collect::<Result<Vec<Map>, AttachmentError>>()?;
        Ok(load_with_maps(program, maps, &LoadOptions::default())?)
    }

    /// The maps of the memory of an attachment. None if there is no such attachment, or if its program has no memory, or one that
    /// another version of knobgate has made.
    fn memory_maps(&self, name: &AttachmentName) -> Vec<Map> {
        let Ok(state) = self.read(name) else { return Vec::new() };
        state.maps.into_iter().filter(|map| MEMORY_MAPS.contains(&&*map.info().name)).collect()
    }

    /// The places for readers of events that all programs share. They are made if there are none.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Directory`].
    pub fn event_readers(&self) -> Result<Option<EventReaders>, AttachmentError> {
        EventReaders::create(&self.pins)
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
