//! A program that is loaded and pinned under a name, for another program, such as systemd, to attach.

use std::io;
use std::path::PathBuf;

use knobgate_kernel::{
    AttachmentName, BpffsError, Cgroup, LinkError, LoadedProgram, MachineAttachments, ProgramFd, prog_detach,
};

use crate::apply::{begin, prepare};
use crate::attachment_error::{AttachmentError, failed};
use crate::attachments::Attachments;
use crate::events::EventReaders;
use crate::off::Off;
use crate::policy_version::versions_of;

/// What [`Attachments::pin`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pinned {
    /// There was no program of this name.
    Pinned,
    /// The same program was there, and stays.
    Unchanged,
    /// It is there instead of another one. That one still runs where somebody has attached it.
    Replaced {
        /// The id of that one.
        old: u32,
    },
}

impl Attachments {
    /// Where the program of an attachment is pinned, if it is.
    pub fn program_path(&self, name: &AttachmentName) -> PathBuf {
        self.path().join(name.as_str()).join("program")
    }

    /// Pins a program, which [`load`](Self::load) has loaded for this name, at its [path](Self::program_path), where root alone can
    /// open it. It runs on no cgroup until somebody attaches it. It stays until it is [detached](Self::detach), which removes the pin.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::OnCgroups`] if the name is that of an attachment that is on cgroups itself;
    /// [`OfContainers`](AttachmentError::OfContainers) if it is one that policies for containers have;
    /// [`Off`](AttachmentError::Off) if it is off; others.
    pub fn pin(&self, name: &AttachmentName, loaded: &LoadedProgram) -> Result<Pinned, AttachmentError> {
        if versions_of(name).is_some() {
            return Err(AttachmentError::OfContainers { name: name.clone() });
        }
        let _lock = self.lock()?;
        if let Some(by) = Off::read()?.of(name) {
            return Err(AttachmentError::Off { name: name.clone(), by });
        }
        let mut old = None;
        match self.pins.attachment(name) {
            Err(BpffsError::NotFound { .. }) => {}
            Err(error) => return Err(failed("open", name)(error)),
            Ok(existing) => {
                if !existing.unpin_dead().map_err(failed("open", name))?.is_empty() {
                    return Err(AttachmentError::OnCgroups { name: name.clone() });
                }
                old = existing.program().map_err(failed("open", name))?;
            }
        }
        let compared = |error| failed("compare", name)(LinkError::from(error));
        let id = match &old {
            Some(program) if loaded.program.is_same_as(program).map_err(compared)? => {
                return Ok(Pinned::Unchanged);
            }
            Some(program) => Some(program.info().map_err(compared)?.id),
            None => None,
        };
        prepare(loaded, &old, &[])?;
        if let Some(readers) = EventReaders::of(loaded)? {
            readers.pin(&self.pins)?;
        }
        let attachment = self.pins.begin().map_err(failed("make", name))?;
        let transaction = begin(&attachment, loaded).map_err(failed("make", name))?;
        transaction.commit();
        attachment.pin_program(&loaded.program).map_err(failed("make", name))?;
        match self.pins.remove(name) {
            Ok(()) | Err(BpffsError::NotFound { .. }) => {}
            Err(error) => return Err(failed("replace", name)(error)),
        }
        attachment.publish(name).map_err(failed("make", name))?;
        Ok(id.map_or(Pinned::Pinned, |old| Pinned::Replaced { old }))
    }
}

/// Detaches a program from all cgroups where it is attached without a link. Returns from how many.
///
/// # Errors
///
/// [`BpffsError::Io`], with the cgroup.
pub(crate) fn detach_without_links(program: &ProgramFd) -> Result<usize, BpffsError> {
    let all = |error: io::Error| BpffsError::Io {
        doing: "list what is attached below",
        path: "/sys/fs/cgroup".into(),
        error,
    };
    let id = program.info().map_err(|error| all(io::Error::other(error)))?.id;
    let machine = MachineAttachments::find().map_err(|error| all(io::Error::other(error)))?;
    let mut detached = 0;
    for (path, attached) in machine.cgroups {
        if !attached.program_ids.contains(&id) {
            continue;
        }
        // One that was removed in the meantime has it no more.
        let Ok(cgroup) = Cgroup::open(&path) else { continue };
        prog_detach(program, &cgroup).map_err(|error| BpffsError::Io {
            doing: "detach the program from",
            path,
            error,
        })?;
        detached += 1;
    }
    Ok(detached)
}
