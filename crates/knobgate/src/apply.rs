//! Attaching a program to cgroups persistently: either to all of them, or to none.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use knobgate_bpf::MapKind;
use knobgate_compiler::EVENT_CGROUPS_MAP;
use knobgate_kernel::{
    Attachment, AttachmentName, BpfObjectError, BpffsError, Hierarchy, Lateness, LinkError, LinkSource,
    LoadedProgram, Map, PinnedLink, ProgramFd, Transaction,
};

use crate::attachment_error::{AttachmentError, failed};
use crate::attachments::Attachments;
use crate::cgroup_ref::CgroupRef;
use crate::events::{self, EventReaders, OtherCounters};
use crate::off::Off;
use crate::policy_version::versions_of;

/// What [`Attachments::apply`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// There was no attachment of this name.
    Attached,
    /// There was one whose cgroups had all been removed.
    Renewed,
    /// It replaced the programs of the attachment.
    Replaced {
        /// The ids of these programs.
        old: BTreeSet<u32>,
        /// The cgroups that they were on.
        on: Vec<CgroupRef>,
        /// The other cgroups, to which it was attached.
        added: Vec<CgroupRef>,
    },
    /// The attachment has the same program, which stays and is now on more cgroups.
    Shared {
        /// The id of the program that was there.
        program: u32,
        /// The cgroups to which it was attached.
        added: Vec<CgroupRef>,
        /// The number of cgroups that it is now on.
        cgroups: usize,
    },
}

/// What the names of new links say about them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewLinks {
    pub(crate) source: LinkSource,
    pub(crate) lateness: Lateness,
}

impl Attachments {
    /// Attaches a program to the cgroups under a name. It stays until it is [detached](Self::detach).
    ///
    /// If the name is in use and all of its cgroups are given, the program replaces that of the attachment; every
    /// access is judged by one of the two. Otherwise it must be the same program, and new cgroups share the attached
    /// one. Duplicate cgroups are ignored.
    ///
    /// `source` is who does this. Links that are there keep theirs.
    ///
    /// # Errors
    ///
    /// [`AttachmentError`]. If it cannot be attached to one of the cgroups, nothing changes on any. If it is [off](Off), neither.
    pub fn apply(
        &self,
        name: &AttachmentName,
        loaded: &LoadedProgram,
        cgroups: &[CgroupRef],
        source: LinkSource,
    ) -> Result<Applied, AttachmentError> {
        let mut seen = BTreeSet::new();
        let cgroups: Vec<_> = cgroups.iter().filter(|cgroup| seen.insert(cgroup.id())).cloned().collect();
        if cgroups.is_empty() {
            return Err(AttachmentError::NoCgroups { name: name.clone() });
        }
        let _lock = self.lock()?;
        if let Some(by) = Off::read()?.of(name) {
            return Err(AttachmentError::Off { name: name.clone(), by });
        }
        self.apply_locked(name, loaded, &cgroups, source)
    }

    fn apply_locked(
        &self,
        name: &AttachmentName,
        loaded: &LoadedProgram,
        cgroups: &[CgroupRef],
        source: LinkSource,
    ) -> Result<Applied, AttachmentError> {
        let new = NewLinks { source, lateness: Lateness::IfOccupied { except: None } };
        let existing = match self.pins.attachment(name) {
            Ok(attachment) => attachment,
            Err(BpffsError::NotFound { .. }) => {
                self.attach(name, loaded, cgroups, new)?;
                return Ok(Applied::Attached);
            }
            Err(error) => return Err(failed("open", name)(error)),
        };
        let wanted: BTreeSet<u64> = cgroups.iter().map(CgroupRef::id).collect();
        let links = existing.unpin_dead().map_err(failed("open", name))?;
        if let Some(program) = existing.program().map_err(failed("open", name))? {
            let same = loaded.program.is_same_as(&program).map_err(LinkError::from);
            if !same.map_err(failed("compare", name))? {
                let name = name.clone();
                return Err(match versions_of(&name) {
                    Some(_) => AttachmentError::OfContainers { name },
                    None => AttachmentError::OfSystemd { name },
                });
            }
            let attached = links.iter().map(|link| link.cgroup_id).collect();
            let id = program.info().map_err(LinkError::from).map_err(failed("compare", name))?.id;
            return share(&existing, name, &(id, program), &attached, cgroups, new);
        }
        if links.is_empty() {
            self.pins.remove(name).map_err(failed("renew", name))?;
            self.attach(name, loaded, cgroups, new)?;
            return Ok(Applied::Renewed);
        }
        let attached: BTreeSet<u64> = links.iter().map(|link| link.cgroup_id).collect();
        if wanted != attached
            && let Some(program) = same_program(&links, loaded).map_err(failed("compare", name))?
        {
            return share(&existing, name, &program, &attached, cgroups, new);
        }
        if wanted.is_superset(&attached) {
            let replaced = replaced_by(&links, &loaded.program).map_err(failed("replace", name))?;
            return replace(&existing, name, (loaded, &replaced), &attached, cgroups, new);
        }
        if was_released(&existing, &attached).map_err(failed("open", name))? {
            return self.apply_locked(name, loaded, cgroups, source);
        }
        let attached_to = attached.into_iter().collect();
        Err(AttachmentError::OnOtherCgroups { name: name.clone(), attached_to })
    }

    fn attach(
        &self,
        name: &AttachmentName,
        loaded: &LoadedProgram,
        cgroups: &[CgroupRef],
        new: NewLinks,
    ) -> Result<(), AttachmentError> {
        prepare(loaded, &[], cgroups)?;
        if let Some(readers) = EventReaders::of(loaded)? {
            readers.pin(&self.pins)?;
        }
        let attachment = self.pins.begin().map_err(failed("make", name))?;
        let transaction = begin(&attachment, loaded).map_err(failed("make", name))?;
        change_all(transaction, ("make", name), &BTreeSet::new(), cgroups, new)?;
        attachment.publish(name).map_err(failed("make", name))
    }
}

/// Prepares the memory of a program for these cgroups. `replaced` are the programs that use it so far.
pub(crate) fn prepare<'a>(
    loaded: &'a LoadedProgram,
    replaced: impl IntoIterator<Item = &'a ProgramFd>,
    cgroups: &[CgroupRef],
) -> Result<(), AttachmentError> {
    // A full memory counts what finds no room in it, which is no reason not to attach.
    let _ = events::make_room(&maps_of(loaded), replaced.into_iter().chain([&loaded.program]));
    let paths = cgroups.iter().map(|cgroup| (cgroup.id(), cgroup.path()));
    Ok(events::prepare(loaded, paths)?)
}

fn maps_of(loaded: &LoadedProgram) -> Vec<&Map> {
    loaded.maps.iter().map(|(_, map)| map).collect()
}

/// Waits up to half a second for a link to release one of these cgroups, if one of them is not visible: the link
/// releases it shortly after the cgroup is removed.
fn was_released(attachment: &Attachment, cgroups: &BTreeSet<u64>) -> Result<bool, BpffsError> {
    const TRIES: u32 = 50;
    let seen = Hierarchy::find().and_then(|hierarchy| hierarchy.paths_by_id()).unwrap_or_default();
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

/// The program of all the links, if it is the same as the loaded one.
fn same_program(links: &[PinnedLink], loaded: &LoadedProgram) -> Result<Option<(u32, ProgramFd)>, LinkError> {
    let programs: BTreeSet<u32> = links.iter().map(|link| link.info.program_id).collect();
    // An interrupted replace leaves several.
    let (Some(&id), 1) = (programs.first(), programs.len()) else { return Ok(None) };
    let program = ProgramFd::by_id(id)?;
    Ok(loaded.program.is_same_as(&program)?.then_some((id, program)))
}

fn share(
    attachment: &Attachment,
    name: &AttachmentName,
    (id, program): &(u32, ProgramFd),
    attached: &BTreeSet<u64>,
    cgroups: &[CgroupRef],
    new: NewLinks,
) -> Result<Applied, AttachmentError> {
    let added: Vec<_> = cgroups.iter().filter(|cgroup| !attached.contains(&cgroup.id())).cloned().collect();
    share_program(attachment, name, program, [], &added, new)?;
    Ok(Applied::Shared { program: *id, cgroups: attached.len() + added.len(), added })
}

/// Attaches the program of an attachment to more cgroups. `others` are other programs that use its memory.
pub(crate) fn share_program<'a>(
    attachment: &Attachment,
    name: &AttachmentName,
    program: &'a ProgramFd,
    others: impl IntoIterator<Item = &'a ProgramFd>,
    added: &[CgroupRef],
    new: NewLinks,
) -> Result<(), AttachmentError> {
    let maps = program.maps()?;
    let _ = events::make_room(&maps.iter().collect::<Vec<_>>(), others.into_iter().chain([program]));
    let paths = added.iter().map(|cgroup| (cgroup.id(), cgroup.path()));
    events::remember_cgroups(maps.iter().find(|map| map.info().name == EVENT_CGROUPS_MAP), paths);
    let transaction = Transaction::begin(attachment, program).map_err(failed("extend", name))?;
    change_all(transaction, ("extend", name), &BTreeSet::new(), added, new).map(drop)
}

fn replace(
    attachment: &Attachment,
    name: &AttachmentName,
    (loaded, replaced): (&LoadedProgram, &[ProgramFd]),
    attached: &BTreeSet<u64>,
    cgroups: &[CgroupRef],
    new: NewLinks,
) -> Result<Applied, AttachmentError> {
    prepare(loaded, replaced, cgroups)?;
    let maps = maps_of(loaded);
    let others = replaced.iter().map(|program| OtherCounters::of(program, &maps));
    let others = others.collect::<Result<Vec<_>, BpfObjectError>>()?;
    let transaction = begin(attachment, loaded).map_err(failed("replace", name))?;
    let old = change_all(transaction, ("replace", name), attached, cgroups, new)?;
    for others in others.iter().flatten() {
        // It is replaced. That some counters are not remembered is no reason to say otherwise.
        let _ = others.hand_over(&maps);
    }
    let (on, added) = cgroups.iter().cloned().partition(|cgroup| attached.contains(&cgroup.id()));
    Ok(Applied::Replaced { old, on, added })
}

/// The programs of the links, all of which the new one can replace.
fn replaced_by(links: &[PinnedLink], new: &ProgramFd) -> Result<Vec<ProgramFd>, LinkError> {
    let programs: BTreeSet<u32> = links.iter().map(|link| link.info.program_id).collect();
    let open = |id: u32| {
        let program = ProgramFd::by_id(id)?;
        program.check_replaced_by(new)?;
        Ok(program)
    };
    programs.into_iter().map(open).collect()
}

/// Begins to change to a loaded program. Pins its program arrays, which the kernel empties when no process has them open.
pub(crate) fn begin<'a>(
    attachment: &'a Attachment,
    loaded: &'a LoadedProgram,
) -> Result<Transaction<'a>, BpffsError> {
    let mut transaction = Transaction::begin(attachment, &loaded.program)?;
    let maps = loaded.maps.iter().map(|(_, map)| map);
    let arrays: Vec<_> = maps.filter(|map| map.info().kind == MapKind::ProgArray.number()).collect();
    transaction.pin_maps(&arrays)?;
    Ok(transaction)
}

/// Replaces the program on the cgroups in `attached`, attaches it to the others, and returns the ids of the replaced
/// programs. Restores all of them if that fails on one.
pub(crate) fn change_all(
    mut transaction: Transaction<'_>,
    (operation, name): (&'static str, &AttachmentName),
    attached: &BTreeSet<u64>,
    cgroups: &[CgroupRef],
    new: NewLinks,
) -> Result<BTreeSet<u32>, AttachmentError> {
    for cgroup in cgroups {
        let is_replaced = attached.contains(&cgroup.id());
        let changed = cgroup.open().map_err(|error| (None, error.into())).and_then(|opened| {
            if is_replaced {
                let replaced = transaction.replace(&opened);
                replaced.map_err(|error| (Some(opened.path().to_owned()), error))
            } else {
                transaction.attach(&opened, new.source, new.lateness).map_err(|error| (None, error))
            }
        });
        if let Err((replaced_on, source)) = changed {
            return Err(AttachmentError::Cgroup {
                operation,
                name: name.clone(),
                replaced_on,
                source: Box::new(source),
                others: cgroups.len() > 1,
                rollback: transaction.rollback().err().map(Box::new),
            });
        }
    }
    let replaced = transaction.replaced_programs();
    transaction.commit();
    Ok(replaced)
}
