//! Putting versions of policies on a cgroup: all of them, or none.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::slice;

use knobgate_kernel::{Attachment, AttachmentName, BpffsError, Cgroup, LinkError, Map, ProgramFd};

use crate::apply::{begin, change_all, prepare, share_program};
use crate::attached_policy::is_program_of;
use crate::attachment_error::{AttachmentError, failed};
use crate::attachments::Attachments;
use crate::cgroup_ref::CgroupRef;
use crate::compiled_policy::CompiledPolicy;
use crate::events::{EventReaders, MEMORY_MAPS, is_memory};
use crate::kernel_limit::KernelLimit;
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

impl Attachments {
    /// Puts all of these policies on a cgroup. A policy whose program exists already is not compiled: its pin, which no
    /// process holds, is opened by its name. Otherwise, older versions of the policy that are on no cgroup are removed, and
    /// what they remember of their events is handed on.
    ///
    /// # Errors
    ///
    /// [`AttachmentError`]. Then none of them is on the cgroup that was not there before.
    pub fn link(
        &self,
        policies: &[&PolicyVersion],
        cgroup: &CgroupRef,
    ) -> Result<Vec<LinkedVersion>, AttachmentError> {
        let _lock = self.lock()?;
        let mut linked: Vec<LinkedVersion> = Vec::new();
        for policy in policies {
            match self.link_one(policy, cgroup) {
                Ok(one) => linked.push(one),
                Err(error) => {
                    linked.iter().filter(|one| one.is_new).for_each(|one| self.unlink_one(&one.name, cgroup));
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
            let Ok(link) = version.attachment.link(cgroup.id()) else { continue };
            let info = link.info().map_err(failed("check", &version.name))?;
            if info.cgroup_id == Some(cgroup.id()) && effective.contains(&info.program_id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn link_one(&self, policy: &PolicyVersion, cgroup: &CgroupRef) -> Result<LinkedVersion, AttachmentError> {
        let name = policy.name();
        let (attachment, program, limits) = match self.pinned_program(policy)? {
            Some((attachment, program)) => (attachment, program, Vec::new()),
            None => self.make(policy)?,
        };
        let is_new = !is_on(&attachment, cgroup.id()).map_err(failed("extend", name))?;
        if is_new {
            let versions = self.versions(versions_of(name).unwrap_or_default())?;
            let others = versions.iter().map(|version| &version.program);
            share_program(&attachment, name, &program, others, slice::from_ref(cgroup))?;
        }
        Ok(LinkedVersion { name: name.clone(), is_new, limits })
    }

    /// The attachment of a version, with its program; `None` if there is none, or another one of this name that is on no cgroup. The
    /// name has only a part of a hash. So the program has to be that of this text.
    fn pinned_program(
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
    fn make(
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
        change_all(transaction, ("make", name), &BTreeSet::new(), &[])?;
        attachment.pin_program(&loaded.program).map_err(failed("make", name))?;
        attachment.publish(name).map_err(failed("make", name))?;

        let maps: Vec<Map> = loaded.program.maps()?;
        // What fails here is left to the next time: the new version is there.
        let _ = self.remove_without_cgroups(older, &maps);
        let attachment = self.pins.attachment(name).map_err(failed("open", name))?;
        Ok((attachment, loaded.program, compiled.limits().to_vec()))
    }

    fn unlink_one(&self, name: &AttachmentName, cgroup: &CgroupRef) {
        let Ok(attachment) = self.pins.attachment(name) else { return };
        // Linux before 5.9 cannot detach; there, the link goes with its pin.
        let _ = attachment.link(cgroup.id()).map(|link| link.detach());
        let _ = attachment.unpin(cgroup.id());
    }
}

/// Whether an attachment is on this cgroup. A link that somebody has detached is unpinned. Links of other cgroups are not looked
/// at: there may be thousands.
fn is_on(attachment: &Attachment, cgroup_id: u64) -> Result<bool, BpffsError> {
    match attachment.link(cgroup_id) {
        Ok(link) if link.info()?.cgroup_id.is_some() => Ok(true),
        Ok(_) => attachment.unpin(cgroup_id).map(|()| false),
        Err(BpffsError::Link(LinkError::Pin { error, .. })) if error.kind() == ErrorKind::NotFound => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn memory_of(program: &ProgramFd) -> Result<Vec<Map>, AttachmentError> {
    let maps = program.maps()?.into_iter();
    Ok(maps.filter(|map| MEMORY_MAPS.contains(&&*map.info().name)).collect())
}
