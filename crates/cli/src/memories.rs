//! The events that attached policies remember.

use std::collections::BTreeSet;

use knobgate::{AttachmentError, AttachmentState, Attachments, EventMemory};
use knobgate_kernel::{AttachmentName, BpffsError};

use crate::failure::Failure;
use crate::output::{Output, chain};

/// Calls `each` for every attachment whose program has a memory. Notes those that cannot be read.
///
/// # Errors
/// [`Failure::Machine`] if it cannot be found out which attachments there are.
pub(crate) fn for_each(
    output: &Output,
    mut each: impl FnMut(&AttachmentName, &AttachmentState, &EventMemory),
) -> Result<(), Failure> {
    let attachments = match Attachments::open() {
        Ok(Some(attachments)) => attachments,
        // Attachments are on a bpffs.
        Ok(None) | Err(AttachmentError::Directory(BpffsError::NotMounted)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for versions in attachments.names_by_policy()? {
        // Versions of a policy share a memory.
        let mut seen = BTreeSet::new();
        for name in versions {
            match read(&attachments, &name) {
                Ok((state, Some(memory))) if seen.insert(memory.state.origin) => each(&name, &state, &memory),
                Ok(_) => {}
                Err(failure) => output.note(chain(&failure)),
            }
        }
    }
    Ok(())
}

/// An attachment, and its memory if it has one.
///
/// # Errors
/// Those of [`Attachments::read`]; [`Failure::Machine`].
pub(crate) fn read(
    attachments: &Attachments,
    name: &AttachmentName,
) -> Result<(AttachmentState, Option<EventMemory>), Failure> {
    let cannot = || Failure::machine(format!("cannot read the events of the attachment \"{name}\""));
    let state = attachments.read(name)?;
    let memory = EventMemory::read(&state.maps).map_err(|error| cannot().because(error))?;
    Ok((state, memory))
}
