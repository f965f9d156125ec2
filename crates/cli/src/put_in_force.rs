//! Putting a program in force on cgroups, to stay: on all that were named, or nothing changes.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use knobgate_bpf::MapKind;
use knobgate_kernel::{
    Attachment, AttachmentName, BpffsError, LinkError, LoadedProgram, ObjectError, PinDir, PinnedLink,
    ProgramFd, Transaction,
};

use crate::attachments::{cannot, describe_cgroups, paths_by_id};
use crate::chosen_cgroup::ChosenCgroup;
use crate::failure::Failure;

/// What became of it.
#[derive(Debug)]
pub(crate) enum Done {
    /// There was nothing of this name.
    Attached,
    /// What was there held nothing any longer.
    Renewed,
    /// It took the place of the programs that were there.
    Replaced { old: BTreeSet<u32>, on: Vec<ChosenCgroup>, added: Vec<ChosenCgroup> },
    /// It is the program that was there, which is now on these cgroups too.
    Shared { program: u32, added: Vec<ChosenCgroup>, cgroups: usize },
}

/// Puts `loaded` in force on the cgroups, as the attachment `name`. Only who holds the lock may do this.
///
/// # Errors
/// [`Failure::Usage`] if the attachment is on other cgroups; [`Failure::Machine`]. Nothing has changed then.
pub(crate) fn put_in_force(
    pins: &PinDir,
    name: &AttachmentName,
    loaded: &LoadedProgram,
    cgroups: &[ChosenCgroup],
) -> Result<Done, Failure> {
    let existing = match pins.attachment(name) {
        Ok(attachment) => attachment,
        Err(BpffsError::NotFound { .. }) => {
            attach(pins, name, loaded, cgroups)?;
            return Ok(Done::Attached);
        }
        Err(error) => return Err(cannot("open", name).because(error)),
    };
    let named: BTreeSet<u64> = cgroups.iter().map(ChosenCgroup::id).collect();
    let links = existing.unpin_dead().map_err(|error| cannot("open", name).because(error))?;
    if links.is_empty() {
        pins.remove(name).map_err(|error| cannot("renew", name).because(error))?;
        attach(pins, name, loaded, cgroups)?;
        return Ok(Done::Renewed);
    }
    let there: BTreeSet<u64> = links.iter().map(|link| link.cgroup_id).collect();
    if named != there
        && let Some(program) =
            same_program(&links, loaded).map_err(|error| cannot("compare", name).because(error))?
    {
        return share(&existing, name, &program, &there, cgroups);
    }
    if named.is_superset(&there) {
        check_replaced(&links, &loaded.program).map_err(|error| {
            let failure = cannot("replace", name);
            match error {
                LinkError::CgroupStorage { .. } => failure.because(format!(
                    "{error} (choose another name for the new one with --name, then run knobgate detach {name})"
                )),
                error => failure.because(error),
            }
        })?;
        return replace(&existing, name, loaded, &there, cgroups);
    }
    if lets_go(&existing, &there).map_err(|error| cannot("open", name).because(error))? {
        return put_in_force(pins, name, loaded, cgroups);
    }
    Err(Failure::usage(format!(
        "the attachment \"{name}\" is on {} already, and is not the same as this; name all of its cgroups (knobgate show \
         {name}) to replace it there, choose another name with --name, or detach it first: knobgate detach {name}",
        describe_cgroups(there)
    )))
}

/// Waits (up to half a second) for a link to let go of one of these cgroups, if there is one that cannot be seen: a link
/// does that a moment after its cgroup was removed. Says whether one has.
fn lets_go(attachment: &Attachment, cgroups: &BTreeSet<u64>) -> Result<bool, BpffsError> {
    const TRIES: u32 = 50;
    let seen = paths_by_id().unwrap_or_default();
    if cgroups.iter().all(|id| seen.contains_key(id)) {
        return Ok(false);
    }
    for _ in 0..TRIES {
        if attachment.unpin_dead()?.len() < cgroups.len() {
            return Ok(true);
        }
        sleep(Duration::from_millis(10));
    }
    Ok(false)
}

/// The program that all the links hold, if it is the same as the one that was loaded.
fn same_program(
    links: &[PinnedLink],
    loaded: &LoadedProgram,
) -> Result<Option<(u32, ProgramFd)>, ObjectError> {
    let programs: BTreeSet<u32> = links.iter().map(|link| link.info.program_id).collect();
    // Several are what a replacing leaves that was killed.
    let (Some(&id), 1) = (programs.first(), programs.len()) else { return Ok(None) };
    let program = ProgramFd::by_id(id)?;
    Ok(loaded.program.is_same_as(&program)?.then_some((id, program)))
}

fn attach(
    pins: &PinDir,
    name: &AttachmentName,
    loaded: &LoadedProgram,
    cgroups: &[ChosenCgroup],
) -> Result<(), Failure> {
    let failed = |error: BpffsError| cannot("make", name).because(error);
    let attachment = pins.begin().map_err(failed)?;
    let transaction = begin(&attachment, loaded).map_err(failed)?;
    put_on_all(transaction, &BTreeSet::new(), cgroups).map_err(|why| cannot("make", name).because(why))?;
    attachment.publish(name).map_err(failed)
}

fn share(
    attachment: &Attachment,
    name: &AttachmentName,
    (id, program): &(u32, ProgramFd),
    there: &BTreeSet<u64>,
    cgroups: &[ChosenCgroup],
) -> Result<Done, Failure> {
    let added: Vec<_> = cgroups.iter().filter(|cgroup| !there.contains(&cgroup.id())).cloned().collect();
    let transaction =
        Transaction::begin(attachment, program).map_err(|error| cannot("extend", name).because(error))?;
    put_on_all(transaction, there, &added).map_err(|why| cannot("extend", name).because(why))?;
    Ok(Done::Shared { program: *id, cgroups: there.len() + added.len(), added })
}

fn replace(
    attachment: &Attachment,
    name: &AttachmentName,
    loaded: &LoadedProgram,
    there: &BTreeSet<u64>,
    cgroups: &[ChosenCgroup],
) -> Result<Done, Failure> {
    let transaction = begin(attachment, loaded).map_err(|error| cannot("replace", name).because(error))?;
    let old = put_on_all(transaction, there, cgroups).map_err(|why| cannot("replace", name).because(why))?;
    let (on, added) = cgroups.iter().cloned().partition(|cgroup| there.contains(&cgroup.id()));
    Ok(Done::Replaced { old, on, added })
}

/// Whether the new program can replace those of the links while these stay.
fn check_replaced(links: &[PinnedLink], new: &ProgramFd) -> Result<(), LinkError> {
    let programs: BTreeSet<u32> = links.iter().map(|link| link.info.program_id).collect();
    programs.into_iter().try_for_each(|id| ProgramFd::by_id(id)?.check_replaced_by(new))
}

/// Begins to change to a program that was loaded for it. Its program arrays are held: the kernel empties them when no process
/// has them open.
fn begin<'a>(attachment: &'a Attachment, loaded: &'a LoadedProgram) -> Result<Transaction<'a>, BpffsError> {
    let mut transaction = Transaction::begin(attachment, &loaded.program)?;
    let maps = loaded.maps.iter().map(|(_, map)| map);
    let arrays: Vec<_> = maps.filter(|map| map.info().kind == MapKind::ProgArray.number()).collect();
    transaction.pin_maps(&arrays)?;
    Ok(transaction)
}

/// Makes the change on all of these cgroups, where `there` says on which of them the attachment is; the ids of
/// the programs that gave way. Or says why not, and all is as it was.
fn put_on_all(
    mut transaction: Transaction<'_>,
    there: &BTreeSet<u64>,
    cgroups: &[ChosenCgroup],
) -> Result<BTreeSet<u32>, String> {
    let done = cgroups.iter().try_for_each(|cgroup| {
        let opened = cgroup.open().map_err(|error| error.to_string())?;
        if there.contains(&cgroup.id()) {
            let place = opened.path().display();
            transaction.replace(&opened).map_err(|error| format!("on {place}: {error}"))
        } else {
            transaction.attach(&opened).map_err(|error| error.to_string())
        }
    });
    let Err(why) = done else {
        let replaced = transaction.replaced_programs();
        transaction.commit();
        return Ok(replaced);
    };
    Err(match transaction.rollback() {
        Ok(()) if cgroups.len() == 1 => why,
        Ok(()) => format!("{why}; the other cgroups are as they were"),
        Err(error) => format!("{why}; and not all of the other cgroups are as they were: {error}"),
    })
}
