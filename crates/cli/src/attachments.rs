//! The attachments of this machine: where they are kept, and one hand at a time on them.

use std::os::fd::OwnedFd;

use knobgate_kernel::{AttachmentName, Bpffs, BpffsError, Cgroup, CgroupError, Hierarchy, Link, PinDir};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

use crate::failure::Failure;

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

/// The directory of our attachments, made if need be.
///
/// # Errors
/// [`Failure::Machine`] without a bpffs, or if it cannot be trusted.
pub(crate) fn create_pins() -> Result<PinDir, Failure> {
    Bpffs::find().and_then(|bpffs| PinDir::create(&bpffs)).map_err(no_pins)
}

fn no_pins(error: BpffsError) -> Failure {
    Failure::machine("cannot get at the attachments").because(error)
}

/// The link of an attachment.
///
/// # Errors
/// [`Failure::Usage`] if there is no attachment of this name, with those that there are; [`Failure::Machine`].
pub(crate) fn open_link(pins: Option<&PinDir>, name: &AttachmentName, verb: &str) -> Result<Link, Failure> {
    let names = |pins: &PinDir| pins.names().unwrap_or_default();
    let found = match pins {
        Some(pins) => pins.link(name),
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
    /// Waits for its turn.
    ///
    /// # Errors
    /// [`Failure::Machine`].
    pub(crate) fn take(pins: &PinDir) -> Result<Self, Failure> {
        let failed =
            |error: Errno| Failure::machine(format!("cannot lock {}", pins.path().display())).because(error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(pins.path(), flags, Mode::empty()).map_err(failed)?;
        loop {
            match flock(&directory, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self { _held: directory }),
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// Where the cgroup of this id is, for people: its path, or that it is nowhere to be seen.
pub(crate) fn describe_cgroup(id: u64) -> String {
    match path_of(id) {
        Ok(Some(path)) => path,
        Ok(None) | Err(_) => format!("the cgroup with the id {id}, which cannot be seen from here"),
    }
}

/// The path of the cgroup of this id; `None` where it cannot be seen.
///
/// # Errors
/// Those of [`Hierarchy::find`].
pub(crate) fn path_of(id: u64) -> Result<Option<String>, CgroupError> {
    Ok(Hierarchy::find()?.path_of_id(id)?.map(|path| path.display().to_string()))
}

/// The cgroup that the user chose, by a path or by a process in it.
///
/// # Errors
/// [`Failure::Usage`] if there is none such; [`Failure::Machine`].
pub(crate) fn chosen_cgroup(path: Option<&std::path::Path>, pid: Option<u32>) -> Result<Cgroup, Failure> {
    let found = match (path, pid) {
        (Some(path), _) => Cgroup::open(path),
        (None, Some(pid)) => Cgroup::of_pid(pid),
        (None, None) => Cgroup::of_pid(std::process::id()),
    };
    found.map_err(|error| {
        let what = "cannot use this cgroup";
        match error {
            CgroupError::NotMounted | CgroupError::Io { .. } => Failure::machine(what),
            _ => Failure::usage(what),
        }
        .because(error)
    })
}
