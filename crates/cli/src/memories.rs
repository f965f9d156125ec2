//! The events that attached policies remember.

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
    for name in attachments.names()? {
        let read = attachments.read(&name).map_err(Failure::from).and_then(|state| {
            let cannot = || Failure::machine(format!("cannot read the events of the attachment \"{name}\""));
            let memory = EventMemory::read(&state.maps).map_err(|error| cannot().because(error))?;
            Ok((state, memory))
        });
        match read {
            Ok((state, Some(memory))) => each(&name, &state, &memory),
            Ok((_, None)) => {}
            Err(failure) => output.note(chain(&failure)),
        }
    }
    Ok(())
}
