//! Putting versions of policies on a cgroup: all of them, or none.

use std::slice;

use knobgate_kernel::{
    Attachment, AttachmentName, BpffsError, Cgroup, Lateness, LinkError, LinkSource, Map, PinnedLink,
    ProgramFd,
};

use crate::apply::{NewLinks, begin, prepare, share_program};
use crate::attached_policy::is_program_of;
use crate::attachment_error::{AttachmentError, failed};
use crate::attachments::Attachments;
use crate::cgroup_ref::CgroupRef;
use crate::compiled_policy::CompiledPolicy;
use crate::detach::unlink;
use crate::events::{EventReaders, MEMORY_MAPS, is_memory};
use crate::kernel_limit::KernelLimit;
use crate::off::{Off, OffBy};
use crate::policy_version::{PolicyVersion, versions_of};
use crate::versions::unpin_dead;

/// A version of a policy that is on a cgroup.
#[derive(Debug)]
#[non_exhaustive]
pub struct LinkedVersion {
    /// The name of its attachment.
    pub name: AttachmentName,
    /// Whether it was not on the cgroup before.
    pub is_new: bool,
    /// Where its program is stricter than the policy, if it was compiled now.
    pub limits: Vec<KernelLimit>,
}

/// What [`Attachments::link`] did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Linked {
    /// The policies that are on the cgroup.
    pub versions: Vec<LinkedVersion>,
    /// Those that are off, each with the reason. They are not put on it.
    pub off: Vec<(AttachmentName, OffBy)>,
}

impl Attachments {
    /// Puts all of these policies on a cgroup, except for those that are off. A policy whose program exists already is not compiled:
    /// its pin, which no process holds, is opened by its name. Otherwise, older versions of the policy that are on no cgroup are
    /// removed, and what they remember of their events is handed on.
    ///
    /// `source` is who does this. A link that is there keeps its own. A new one [came late](knobgate_kernel::LinkOrigin::late) if there
    /// are processes in the cgroup or below.
    ///
    /// # Errors
    ///
    /// [`AttachmentError`]. Then none of them is on the cgroup that was not there before.
    pub fn link(
        &self,
        policies: &[&PolicyVersion],
        cgroup: &CgroupRef,
        source: LinkSource,
    ) -> Result<Linked, AttachmentError> {
        let new = NewLinks { source, lateness: Lateness::IfOccupied { except: None } };
        self.link_as(policies, cgroup, new)
    }

    pub(crate) fn link_as(
        &self,
        policies: &[&PolicyVersion],
        cgroup: &CgroupRef,
        new: NewLinks,
    ) -> Result<Linked, AttachmentError> {
        let _lock = self.lock()?;
        // With the lock: who puts it off takes it off afterwards, with the lock too.
        let off = Off::read()?;
        let mut linked = Linked::default();
        for policy in policies {
            if let Some(by) = off.of(policy.name()) {
                linked.off.push((policy.name().clone(), by));
                continue;
            }
            match self.link_one(policy, cgroup, new) {
                Ok(one) => linked.versions.push(one),
                Err(error) => {
                    let added = linked.versions.iter().filter(|one| one.is_new);
                    added.for_each(|one| self.unlink_one(&one.name, cgroup, new.source));
                    return Err(error);
                }
            }
        }
        Ok(linked)
    }

    /// Whether a version of this policy, of which there can be several, is on a cgroup and runs there.
    ///
    /// # Errors
    ///
    /// [`AttachmentError`].
    pub fn is_linked(&self, policy: &PolicyVersion, cgroup: &Cgroup) -> Result<bool, AttachmentError> {
        let name = policy.name();
        let effective = cgroup.effective().map_err(LinkError::from).map_err(failed("check", name))?;
        for version in self.versions(versions_of(name).unwrap_or_default())? {
            let links = version.attachment.links_on(cgroup.id()).unwrap_or_default();
            let runs = |link: &PinnedLink| {
                link.info.cgroup_id == Some(cgroup.id()) && effective.contains(&link.info.program_id)
            };
            if links.iter().any(runs) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn link_one(
        &self,
        policy: &PolicyVersion,
        cgroup: &CgroupRef,
        new: NewLinks,
    ) -> Result<LinkedVersion, AttachmentError> {
        let name = policy.name();
        let (attachment, program, limits) = match self.pinned_program(policy)? {
            Some((attachment, program)) => (attachment, program, Vec::new()),
            None => self.make(policy)?,
        };
        let links = links_on(&attachment, cgroup.id()).map_err(failed("extend", name))?;
        let is_new = links.is_empty();
        unmark_late(&attachment, &links, cgroup, new.lateness);
        if is_new {
            let versions = self.versions(versions_of(name).unwrap_or_default())?;
            let others = versions.iter().map(|version| &version.program);
            share_program(&attachment, name, &program, others, slice::from_ref(cgroup), new)?;
        }
        Ok(LinkedVersion { name: name.clone(), is_new, limits })
    }

    /// The attachment of a version, with its program; `None` if there is none, or another one of this name that is on no cgroup. The
    /// name has only a part of a hash. So the program has to be that of this text.
    pub(crate) fn pinned_program(
        &self,
        policy: &PolicyVersion,
    ) -> Result<Option<(Attachment, ProgramFd)>, AttachmentError> {
        let name = policy.name();
        let attachment = match self.pins.attachment(name) {
            Err(BpffsError::NotFound { .. }) => return Ok(None),
            opened => opened.map_err(failed("open", name))?,
        };
        match attachment.program().map_err(failed("open", name))? {
            Some(program) if is_program_of(&program, &policy.file().program_text())? => {
                Ok(Some((attachment, program)))
            }
            Some(_) => Err(AttachmentError::NotOfContainers { name: name.clone() }),
            None if unpin_dead(&attachment).map_err(failed("open", name))?.is_empty() => {
                self.pins.remove(name).map_err(failed("renew", name))?;
                Ok(None)
            }
            None => Err(AttachmentError::NotOfContainers { name: name.clone() }),
        }
    }

    /// Makes the attachment of a version, on no cgroup yet: whole, or not at all.
    pub(crate) fn make(
        &self,
        policy: &PolicyVersion,
    ) -> Result<(Attachment, ProgramFd, Vec<KernelLimit>), AttachmentError> {
        let name = policy.name();
        let older = self.versions(versions_of(name).unwrap_or_default())?;
        let compiled = CompiledPolicy::compile(policy.file())
            .map_err(|source| AttachmentError::Compile { name: name.clone(), source })?;
        let readers = EventReaders::create(&self.pins)?;
        let memory =
            older.iter().map(|version| memory_of(&version.program)).collect::<Result<Vec<_>, _>>()?;
        let memory = memory.into_iter().find(|maps| is_memory(maps)).unwrap_or_default();
        let loaded = compiled.load_sharing(readers.as_ref(), &memory)?;
        let programs = older.iter().map(|version| &version.program);
        prepare(&loaded, programs, &[])?;

        let attachment = self.pins.begin().map_err(failed("make", name))?;
        let transaction = begin(&attachment, &loaded).map_err(failed("make", name))?;
        transaction.commit();
        attachment.pin_program(&loaded.program).map_err(failed("make", name))?;
        attachment.publish(name).map_err(failed("make", name))?;

        let maps: Vec<Map> = loaded.program.maps()?;
        // What fails here is left to the next time: the new version is there.
        let _ = self.remove_without_cgroups(older, &maps);
        let attachment = self.pins.attachment(name).map_err(failed("open", name))?;
        Ok((attachment, loaded.program, compiled.limits().to_vec()))
    }

    fn unlink_one(&self, name: &AttachmentName, cgroup: &CgroupRef, source: LinkSource) {
        let Ok(attachment) = self.pins.attachment(name) else { return };
        let _ = unlink(&attachment, cgroup.id(), source);
    }
}

/// The links of an attachment on this cgroup. One that somebody has detached is unpinned. Links of other cgroups are not opened: there
/// may be thousands.
fn links_on(attachment: &Attachment, cgroup_id: u64) -> Result<Vec<PinnedLink>, BpffsError> {
    let (dead, alive): (Vec<PinnedLink>, Vec<PinnedLink>) =
        attachment.links_on(cgroup_id)?.into_iter().partition(PinnedLink::is_dead);
    dead.iter().try_for_each(|link| attachment.unpin(link))?;
    Ok(alive)
}

/// Notes that links on the cgroup of a container that has not started have not come late: the agent, which may have been faster, cannot
/// tell the process that waits there from one that runs.
fn unmark_late(attachment: &Attachment, links: &[PinnedLink], cgroup: &CgroupRef, lateness: Lateness) {
    let Lateness::IfOccupied { except: waiting @ Some(_) } = lateness else { return };
    let is_empty = || cgroup.open().is_ok_and(|cgroup| cgroup.is_occupied(waiting).is_ok_and(|is| !is));
    let mut late = links.iter().filter(|link| link.origin.late).peekable();
    if late.peek().is_some() && is_empty() {
        // A mark that stays is only too careful.
        late.for_each(|link| drop(attachment.set_in_time(link)));
    }
}

fn memory_of(program: &ProgramFd) -> Result<Vec<Map>, AttachmentError> {
    let maps = program.maps()?.into_iter();
    Ok(maps.filter(|map| MEMORY_MAPS.contains(&&*map.info().name)).collect())
}
