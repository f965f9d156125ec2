//! Putting policies on many cgroups, quickly.

use std::collections::HashMap;

use knobgate_compiler::EVENT_CGROUPS_MAP;
use knobgate_kernel::{
    Attachment, AttachmentName, BpfObjectError, BpffsError, Cgroup, Lateness, LinkOrigin, LinkSource, Map,
    ProgramFd, Transaction,
};

use crate::attachment_error::{AttachmentError, failed};
use crate::attachments::Attachments;
use crate::detach::unlink;
use crate::events;
use crate::kernel_limit::KernelLimit;
use crate::off::{Off, OffBy};
use crate::policy_version::{PolicyVersion, versions_of};

/// How many cgroups are added to the memory of a program before there is room made in it.
const ADDED_MAX: u32 = 1024;

/// Puts versions of policies on many cgroups, one after the other. What does not change stays open in between: the attachments with their
/// programs and maps. [`Attachments::link`] looks for them each time.
#[derive(Debug)]
pub struct PolicyLinks {
    attachments: Attachments,
    opened: HashMap<AttachmentName, Opened>,
}

/// What putting a policy on a cgroup did.
#[derive(Debug)]
#[non_exhaustive]
pub enum PolicyLink {
    /// It is on it now.
    New {
        /// What the link says about itself.
        origin: LinkOrigin,
        /// Where its program is stricter than the policy, if it was compiled now.
        limits: Vec<KernelLimit>,
    },
    /// A version of it was on it already.
    Present {
        /// Which one.
        name: AttachmentName,
        /// What the link says about itself.
        origin: LinkOrigin,
    },
    /// It is off, and so it is not put on it.
    Off(OffBy),
}

/// On which cgroups a version is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VersionLinks {
    /// The name of its attachment.
    pub name: AttachmentName,
    /// The id of each cgroup, and what the link there says about itself.
    pub links: Vec<(u64, LinkOrigin)>,
}

/// A version of which it cannot be found out on which cgroups it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("cannot list the attachment \"{name}\"")]
pub struct NotListed {
    /// The name of its attachment.
    pub name: AttachmentName,
    /// Why.
    pub source: BpffsError,
}

/// A version that is open.
#[derive(Debug)]
struct Opened {
    attachment: Attachment,
    program: ProgramFd,
    /// Where it keeps the paths of cgroups.
    cgroups: Option<Map>,
    /// How many cgroups were added there.
    added: u32,
}

impl PolicyLinks {
    /// For these attachments.
    pub fn new(attachments: Attachments) -> Self {
        Self { attachments, opened: HashMap::new() }
    }

    /// The attachments.
    pub fn attachments(&self) -> &Attachments {
        &self.attachments
    }

    /// Makes the attachment of a version, if there is none: compiles the policy, and loads its program.
    ///
    /// # Errors
    ///
    /// [`AttachmentError`].
    pub fn prepare(&mut self, policy: &PolicyVersion) -> Result<Vec<KernelLimit>, AttachmentError> {
        let _lock = self.attachments.lock()?;
        self.open(policy)
    }

    /// Closes all versions but these.
    pub fn keep<'a>(&mut self, policies: impl IntoIterator<Item = &'a PolicyVersion>) {
        let kept: Vec<_> = policies.into_iter().map(PolicyVersion::name).collect();
        self.opened.retain(|name, _| kept.contains(&name));
    }

    /// Puts each of these policies on a cgroup, unless a version of it is there or it is off. As [`Attachments::link`] does, but where one
    /// fails, the others are put there all the same.
    ///
    /// # Errors
    ///
    /// [`AttachmentError`]: none is put on it. Otherwise there is a result for each, in this order.
    pub fn link(
        &mut self,
        policies: &[&PolicyVersion],
        cgroup: &Cgroup,
        source: LinkSource,
    ) -> Result<Vec<Result<PolicyLink, AttachmentError>>, AttachmentError> {
        let _lock = self.attachments.lock()?;
        // With the lock: who puts it off takes it off afterwards, with the lock too.
        let off = Off::read()?;
        let names = self.attachments.names()?;
        let link = |policy: &&PolicyVersion| match off.of(policy.name()) {
            Some(by) => Ok(PolicyLink::Off(by)),
            None => self.link_one(policy, &names, cgroup, source),
        };
        Ok(policies.iter().map(link).collect())
    }

    /// Unpins the link of a cgroup that was removed.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Failed`].
    pub fn unpin_removed(
        &self,
        name: &AttachmentName,
        cgroup_id: u64,
        origin: LinkOrigin,
    ) -> Result<(), AttachmentError> {
        if let Some(opened) = self.opened.get(name) {
            return opened.attachment.unpin_removed(cgroup_id, origin).map_err(failed("clean up", name));
        }
        match self.attachments.pins.attachment(name) {
            Err(BpffsError::NotFound { .. }) => Ok(()),
            opened => opened
                .and_then(|attachment| attachment.unpin_removed(cgroup_id, origin))
                .map_err(failed("clean up", name)),
        }
    }

    /// Unpins the links of an attachment on a cgroup that are detached.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Lock`], [`Failed`](AttachmentError::Failed).
    pub fn unpin_detached(&self, name: &AttachmentName, cgroup_id: u64) -> Result<(), AttachmentError> {
        let _lock = self.attachments.lock()?;
        let unpin = |attachment: Attachment| {
            let links = attachment.links_on(cgroup_id)?;
            let mut detached = links.iter().filter(|link| link.is_dead());
            detached.try_for_each(|link| attachment.unpin(link))
        };
        match self.attachments.pins.attachment(name) {
            Err(BpffsError::NotFound { .. }) => Ok(()),
            opened => opened.and_then(unpin).map_err(failed("clean up", name)),
        }
    }

    /// Makes the link of a version on a cgroup hold the program of the version again.
    ///
    /// # Errors
    ///
    /// [`AttachmentError`].
    pub fn restore(&self, name: &AttachmentName, cgroup: &Cgroup) -> Result<(), AttachmentError> {
        let _lock = self.attachments.lock()?;
        let attachment = self.attachments.attachment(name, "restore")?;
        let program = attachment.program().map_err(failed("restore", name))?;
        let program = program.ok_or_else(|| AttachmentError::Empty { name: name.clone() })?;
        let mut transaction = Transaction::begin(&attachment, &program).map_err(failed("restore", name))?;
        transaction.replace(cgroup).map_err(failed("restore", name))?;
        transaction.commit();
        Ok(())
    }

    /// On which cgroups the versions of policies are, and what each link says about itself. Links are not opened, so some may be dead.
    /// A version that cannot be examined is an error beside the others.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Directory`].
    pub fn origins(&self) -> Result<Vec<Result<VersionLinks, NotListed>>, AttachmentError> {
        let mut found = Vec::new();
        for name in self.attachments.names()? {
            if versions_of(&name).is_none() {
                continue;
            }
            let origins = match self.attachments.pins.attachment(&name) {
                Err(BpffsError::NotFound { .. }) => continue,
                opened => opened.and_then(|attachment| attachment.link_origins()),
            };
            found.push(match origins {
                Ok(links) => Ok(VersionLinks { name, links }),
                Err(source) => Err(NotListed { name, source }),
            });
        }
        Ok(found)
    }

    /// Puts a version of a policy on a cgroup instead of an older one that this source has put there. The new one is attached first, so
    /// that every access is judged. If that is interrupted, both are there, and a second call finishes it. The new link has come late if
    /// the older one had. Returns what the new link says about itself; `None` if the older version is not there.
    ///
    /// # Errors
    ///
    /// [`AttachmentError`]. Then the older one is still there. So it is if the policy is [off](AttachmentError::Off).
    pub fn move_to(
        &mut self,
        policy: &PolicyVersion,
        older: &AttachmentName,
        cgroup: &Cgroup,
        source: LinkSource,
    ) -> Result<Option<LinkOrigin>, AttachmentError> {
        let _lock = self.attachments.lock()?;
        let name = policy.name();
        if let Some(by) = Off::read()?.of(name) {
            return Err(AttachmentError::Off { name: name.clone(), by });
        }
        let older_attachment = match self.attachments.pins.attachment(older) {
            Err(BpffsError::NotFound { .. }) => return Ok(None),
            opened => opened.map_err(failed("open", older))?,
        };
        let links = older_attachment.links_on(cgroup.id()).map_err(failed("open", older))?;
        let mut own = links.iter().filter(|link| link.origin.source == source && !link.is_dead()).peekable();
        if own.peek().is_none() {
            return Ok(None);
        }
        let late = own.all(|link| link.origin.late);
        self.open(policy)?;
        let (new, _) = self.attach(policy, cgroup, source, Lateness::Known(late))?;
        unlink(&older_attachment, cgroup.id(), source).map_err(failed("detach", older))?;
        Ok(Some(new))
    }

    /// Unpins the links of all versions that are detached, as far as they can be opened and unpinned.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Lock`], [`Directory`](AttachmentError::Directory).
    pub fn unpin_all_detached(&self) -> Result<(), AttachmentError> {
        let _lock = self.attachments.lock()?;
        for name in self.attachments.names()?.iter().filter(|name| versions_of(name).is_some()) {
            let Ok(attachment) = self.attachments.pins.attachment(name) else { continue };
            for link in
                attachment.each_link().unwrap_or_default().iter().flatten().filter(|link| link.is_dead())
            {
                let _ = attachment.unpin(link);
            }
        }
        Ok(())
    }

    fn link_one(
        &mut self,
        policy: &PolicyVersion,
        names: &[AttachmentName],
        cgroup: &Cgroup,
        source: LinkSource,
    ) -> Result<PolicyLink, AttachmentError> {
        let name = policy.name();
        let failed = || failed("extend", name);
        let others = names.iter().filter(|other| *other != name && versions_of(other) == versions_of(name));
        for other in others {
            // It may be on no cgroup, and be removed in the meantime.
            let Ok(attachment) = self.attachments.pins.attachment(other) else { continue };
            if let Some(origin) = origin_on(&attachment, cgroup.id()).map_err(failed())? {
                return Ok(PolicyLink::Present { name: other.clone(), origin });
            }
        }
        let limits = self.open(policy)?;
        match self.attach(policy, cgroup, source, Lateness::IfOccupied { except: None })? {
            (origin, true) => Ok(PolicyLink::New { origin, limits }),
            (origin, false) => Ok(PolicyLink::Present { name: name.clone(), origin }),
        }
    }

    /// Attaches a version that is open to a cgroup, unless it is there. Returns what the link says about itself, and whether it is new.
    fn attach(
        &mut self,
        policy: &PolicyVersion,
        cgroup: &Cgroup,
        source: LinkSource,
        lateness: Lateness,
    ) -> Result<(LinkOrigin, bool), AttachmentError> {
        let name = policy.name();
        let failed = || failed("extend", name);
        let opened = self.opened.get_mut(name);
        let opened = opened.ok_or_else(|| AttachmentError::Empty { name: name.clone() })?;
        if let Some(origin) = origin_on(&opened.attachment, cgroup.id()).map_err(failed())? {
            return Ok((origin, false));
        }
        if opened.added >= ADDED_MAX {
            let versions = self.attachments.versions(versions_of(name).unwrap_or_default())?;
            opened.make_room(versions.iter().map(|version| &version.program))?;
        }
        events::remember_cgroups(opened.cgroups.as_ref(), [(cgroup.id(), cgroup.path())]);
        opened.added += 1;
        let mut transaction = Transaction::begin(&opened.attachment, &opened.program).map_err(failed())?;
        if let Err(source) = transaction.attach(cgroup, source, lateness) {
            return Err(AttachmentError::Cgroup {
                operation: "extend",
                name: name.clone(),
                replaced_on: None,
                source: Box::new(source),
                others: false,
                rollback: transaction.rollback().err().map(Box::new),
            });
        }
        let origin = transaction.attached().first().map(|(_, origin)| *origin);
        transaction.commit();
        Ok((origin.unwrap_or(LinkOrigin { source, late: true }), true))
    }

    /// Opens a version, unless it is open, and makes it if necessary.
    fn open(&mut self, policy: &PolicyVersion) -> Result<Vec<KernelLimit>, AttachmentError> {
        let name = policy.name();
        if let Some(opened) = self.opened.get(name)
            && self.attachments.pins.is_current(name, &opened.attachment).map_err(failed("open", name))?
        {
            return Ok(Vec::new());
        }
        // It must not keep a program in the kernel that was removed.
        self.opened.remove(name);
        let (attachment, program, limits) = match self.attachments.pinned_program(policy)? {
            Some((attachment, program)) => (attachment, program, Vec::new()),
            None => self.attachments.make(policy)?,
        };
        let cgroups = program.maps()?.into_iter().find(|map| map.info().name == EVENT_CGROUPS_MAP);
        let mut opened = Opened { attachment, program, cgroups, added: 0 };
        let versions = self.attachments.versions(versions_of(name).unwrap_or_default())?;
        opened.make_room(versions.iter().map(|version| &version.program))?;
        self.opened.insert(name.clone(), opened);
        Ok(limits)
    }
}

/// Where the link of an attachment on a cgroup comes from; `None` if there is none. One that somebody has detached is unpinned: it would
/// only look as if the policy were there.
fn origin_on(attachment: &Attachment, cgroup_id: u64) -> Result<Option<LinkOrigin>, BpffsError> {
    if attachment.link_origin(cgroup_id)?.is_none() {
        return Ok(None);
    }
    let links = attachment.links_on(cgroup_id)?;
    links.iter().filter(|link| link.is_dead()).try_for_each(|link| attachment.unpin(link))?;
    Ok(links.iter().find(|link| !link.is_dead()).map(|link| link.origin))
}

impl Opened {
    /// Makes room in the memory. `others` are the programs that use it, too.
    fn make_room<'a>(
        &'a mut self,
        others: impl IntoIterator<Item = &'a ProgramFd>,
    ) -> Result<(), BpfObjectError> {
        let maps = self.program.maps()?;
        self.added = 0;
        // A full memory counts what finds no room in it, which is no reason not to attach.
        let _ =
            events::make_room(&maps.iter().collect::<Vec<_>>(), others.into_iter().chain([&self.program]));
        Ok(())
    }
}
