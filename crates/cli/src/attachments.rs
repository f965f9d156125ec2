//! The attachments of this machine: where they are kept, and one hand at a time on them.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use knobgate_kernel::{
    Attachment, AttachmentName, Bpffs, BpffsError, CgroupError, Hierarchy, MovedAway, PinDir,
};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;

use crate::failure::Failure;
use crate::output::Output;
use crate::printable::printable_path;

/// What is being done to an attachment, for messages: `cannot VERB the attachment "NAME"`.
pub(crate) fn cannot(verb: &str, name: &AttachmentName) -> Failure {
    Failure::machine(format!("cannot {verb} the attachment \"{name}\""))
}

/// Checks a name that the user gave.
///
/// # Errors
/// [`Failure::Usage`].
pub(crate) fn parse_name(name: &str) -> Result<AttachmentName, Failure> {
    name.parse().map_err(|error| Failure::usage("wrong name").because(error))
}

/// The directory of our attachments; `None` where there never was one.
///
/// # Errors
/// [`Failure::Machine`] without a bpffs, or if it cannot be trusted.
pub(crate) fn open_pins() -> Result<Option<PinDir>, Failure> {
    Bpffs::find().and_then(|bpffs| PinDir::open(&bpffs)).map_err(no_pins)
}

/// The directory of our attachments, made if need be. Says what was in its place.
///
/// # Errors
/// [`Failure::Machine`] without a bpffs, or if it cannot be trusted.
pub(crate) fn create_pins(output: &Output) -> Result<PinDir, Failure> {
    let pins = Bpffs::find().and_then(|bpffs| PinDir::create(&bpffs)).map_err(no_pins)?;
    for MovedAway { owner, path, .. } in pins.moved_away() {
        output.warning(format!(
            "{} belonged to user {owner}, and was moved to {}; remove that, and keep others out: chmod 700 {}",
            pins.path().display(),
            path.display(),
            pins.path().parent().unwrap_or(pins.path()).display()
        ));
    }
    Ok(pins)
}

fn no_pins(error: BpffsError) -> Failure {
    Failure::machine("cannot get at the attachments").because(error)
}

/// The attachment that the user named.
///
/// # Errors
/// [`Failure::Usage`] if there is none of this name, with those that there are; [`Failure::Machine`].
pub(crate) fn open_attachment(
    pins: Option<&PinDir>,
    name: &AttachmentName,
    verb: &str,
) -> Result<Attachment, Failure> {
    let names = |pins: &PinDir| pins.names().unwrap_or_default();
    let found = match pins {
        Some(pins) => pins.attachment(name),
        None => Err(BpffsError::NotFound { name: name.clone() }),
    };
    found.map_err(|error| match error {
        BpffsError::NotFound { .. } => {
            let others: Vec<String> =
                pins.map(names).unwrap_or_default().iter().map(ToString::to_string).collect();
            let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
            Failure::usage(format!("there is no attachment \"{name}\" (there is: {others})"))
        }
        error => cannot(verb, name).because(error),
    })
}

/// Keeps other knobgates from changing attachments for as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: OwnedFd,
}

impl Lock {
    /// Waits for its turn, and clears up after those that were killed in theirs.
    ///
    /// # Errors
    /// [`Failure::Machine`].
    pub(crate) fn take(pins: &PinDir) -> Result<Self, Failure> {
        let failed =
            |error: Errno| Failure::machine(format!("cannot lock {}", pins.path().display())).because(error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(pins, c".", flags, Mode::empty()).map_err(failed)?;
        loop {
            match flock(&directory, FlockOperation::LockExclusive) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        pins.remove_abandoned().map_err(no_pins)?;
        Ok(Self { _held: directory })
    }
}

/// Where the cgroups of these ids are, for people: the path of one, or the first of many.
pub(crate) fn describe_cgroups(ids: impl IntoIterator<Item = u64>) -> String {
    const SHOWN: usize = 4;
    let paths = paths_by_id().unwrap_or_default();
    let describe = |id: u64| match paths.get(&id) {
        Some(path) => printable_path(path).into_owned(),
        None => format!("the cgroup with the id {id}, which cannot be seen from here"),
    };
    let mut ids = ids.into_iter();
    let mut text = ids.by_ref().take(SHOWN).map(describe).collect::<Vec<_>>().join(", ");
    let others = ids.count();
    if others > 0 {
        text.push_str(&format!(" and {others} more"));
    }
    text
}

/// The paths of all cgroups that can be seen, by id.
///
/// # Errors
/// Those of [`Hierarchy::find`].
pub(crate) fn paths_by_id() -> Result<HashMap<u64, PathBuf>, CgroupError> {
    Hierarchy::find()?.paths_by_id()
}
