//! Detaching, even if a link is also pinned or open elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use knobgate_kernel::{Attachment, AttachmentName, BpffsError, LinkError, LinkSource, PinnedLink};

use crate::attachment_error::{AttachmentError, failed};
use crate::attachments::Attachments;
use crate::cgroup_ref::CgroupRef;
use crate::off::Off;
use crate::pinned_program::detach_without_links;
use crate::policy_version::versions_of;

/// Whose links are taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinksOf {
    /// Those of one source.
    Source(LinkSource),
    /// Those of all sources, known or not.
    Any,
}

impl LinksOf {
    fn includes(self, source: LinkSource) -> bool {
        self == Self::Any || self == Self::Source(source)
    }
}

/// What [`Attachments::detach`] did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Detached {
    /// The ids of the cgroups from which it was detached. Empty if all of them had been removed.
    /// [`not_detached`](Self::not_detached) says if the program may still run on one of them.
    pub from: Vec<u64>,
    /// On how many cgroups it still is.
    pub remaining: usize,
    /// Who put it there.
    pub remaining_sources: BTreeSet<LinkSource>,
    /// Whether the attachment is gone. That of a policy for containers stays when cgroups are named, even if it is on no others.
    pub is_gone: bool,
    /// Why a link could only be unpinned (Linux before 5.9). If another process holds it, its program still runs.
    pub not_detached: Option<LinkError>,
}

/// What [`Attachments::take_off`] did to an attachment.
#[derive(Debug)]
#[non_exhaustive]
pub struct TakenOff {
    /// The attachment.
    pub name: AttachmentName,
    /// From how many cgroups it was detached, by who had put it there.
    pub from: BTreeMap<LinkSource, usize>,
    /// From how many it was detached where somebody had attached its pinned program without a link, as systemd does.
    pub from_without_link: usize,
    /// Whether the attachment is gone, so that somebody has to attach it again. That of a policy for containers stays.
    pub is_gone: bool,
    /// Why a link could only be unpinned (Linux before 5.9). If another process holds it, its program still runs.
    pub not_detached: Option<LinkError>,
    /// Why it could not be taken off some cgroups.
    pub failed: Vec<BpffsError>,
}

impl Attachments {
    /// Detaches an attachment from these cgroups, or from all if none is given, where its link is one of `of`. From then on it judges
    /// no access there, unless [`Detached::not_detached`] says otherwise.
    ///
    /// # Errors
    ///
    /// [`AttachmentError`]: [`OfOthers`](AttachmentError::OfOthers) if others have put it on all of its cgroups, or on one of these;
    /// [`PartlyDetached`](AttachmentError::PartlyDetached) if something has changed.
    pub fn detach(
        &self,
        name: &AttachmentName,
        cgroups: &[CgroupRef],
        of: LinksOf,
    ) -> Result<Detached, AttachmentError> {
        let _lock = self.lock()?;
        let attachment = self.attachment(name, "detach")?;
        let links = attachment.unpin_dead().map_err(failed("detach", name))?;
        let wanted: HashSet<u64> = cgroups.iter().map(CgroupRef::id).collect();
        let attached_to: Vec<u64> = links.iter().map(|link| link.cgroup_id).collect();
        if let Some(cgroup) = cgroups.iter().find(|cgroup| !attached_to.contains(&cgroup.id())) {
            return Err(AttachmentError::NotOnCgroup {
                name: name.clone(),
                cgroup: cgroup.clone(),
                attached_to,
            });
        }
        check_sources(name, &links, &wanted, of)?;
        let is_wanted = |link: &PinnedLink| wanted.is_empty() || wanted.contains(&link.cgroup_id);
        let (detached, left): (Vec<PinnedLink>, Vec<PinnedLink>) =
            links.into_iter().partition(|link| is_wanted(link) && of.includes(link.origin.source));

        let (mut not_detached, mut done) = (None, 0);
        let partly = |error: BpffsError, detached: usize| match detached {
            0 => failed("detach", name)(error),
            _ => AttachmentError::PartlyDetached { name: name.clone(), detached, source: Box::new(error) },
        };
        for link in &detached {
            match detach(&attachment, link).map_err(|error| partly(error, done))? {
                None => done += 1,
                Some(error) => not_detached = not_detached.or(Some(error)),
            }
            attachment.unpin(link).map_err(|error| partly(error, done))?;
        }
        let stays_alone =
            !cgroups.is_empty() && attachment.program().map_err(|error| partly(error, done))?.is_some();
        let is_gone = left.is_empty() && !stays_alone;
        if is_gone {
            self.pins.remove(name).map_err(|error| partly(error, done))?;
        }
        Ok(Detached {
            from: detached.iter().map(|link| link.cgroup_id).collect(),
            remaining: left.len(),
            remaining_sources: left.iter().map(|link| link.origin.source).collect(),
            is_gone,
            not_detached,
        })
    }

    /// Takes the attachments out of force that are off if `off` is (see [`Off::covers`]), or without a name all: detaches them from all
    /// cgroups, whoever has put them there, and goes on with the others where that fails. The programs of policies for containers stay,
    /// with what they remember. Note that they are [off](Off::set) first: then none can be back when this returns.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Lock`], [`Directory`](AttachmentError::Directory); then nothing was detached.
    pub fn take_off(&self, off: Option<&AttachmentName>) -> Result<Vec<TakenOff>, AttachmentError> {
        // Whoever is just making an attachment has the lock.
        let _lock = self.lock()?;
        let is_off = |name: &AttachmentName| off.is_none_or(|off| Off::covers(off, name));
        Ok(self.names()?.into_iter().filter(is_off).map(|name| self.take_one_off(name)).collect())
    }

    fn take_one_off(&self, name: AttachmentName) -> TakenOff {
        let mut taken = TakenOff {
            name,
            from: BTreeMap::new(),
            from_without_link: 0,
            is_gone: false,
            not_detached: None,
            failed: Vec::new(),
        };
        let taken_off = self.pins.attachment(&taken.name).and_then(|attachment| {
            for link in attachment.each_link()? {
                let link = link.map_err(|unopened| unopened.error);
                let done = link.and_then(|link| match link.is_dead() {
                    true => attachment.unpin(&link).map(|()| None),
                    false => Ok(Some((link.origin.source, take_away(&attachment, &link)?))),
                });
                match done {
                    Ok(None) => {}
                    Ok(Some((source, not_detached))) => {
                        *taken.from.entry(source).or_default() += 1;
                        taken.not_detached = taken.not_detached.take().or(not_detached);
                    }
                    Err(error) => taken.failed.push(error),
                }
            }
            if !taken.failed.is_empty() {
                return Ok(());
            }
            match attachment.program()? {
                Some(_) if versions_of(&taken.name).is_some() => return Ok(()),
                // systemd would attach it again: units that start have to do without the pin.
                Some(program) => {
                    taken.from_without_link = detach_without_links(&program)?;
                }
                None => {}
            }
            self.pins.remove(&taken.name)?;
            taken.is_gone = true;
            Ok(())
        });
        taken.failed.extend(taken_off.err());
        taken
    }

    /// Detaches an attachment from one cgroup, if its link there is of this source, or its cgroup is gone. The attachment stays, even
    /// if it is on no other. Returns whether it was there.
    ///
    /// # Errors
    ///
    /// [`AttachmentError`].
    pub fn unlink(
        &self,
        name: &AttachmentName,
        cgroup_id: u64,
        source: LinkSource,
    ) -> Result<bool, AttachmentError> {
        let _lock = self.lock()?;
        match self.pins.attachment(name) {
            Err(BpffsError::NotFound { .. }) => Ok(false),
            opened => opened
                .and_then(|attachment| unlink(&attachment, cgroup_id, source))
                .map_err(failed("detach", name)),
        }
    }
}

/// Takes the links of this source away from a cgroup, and those whose cgroup is gone. Returns whether there was one.
pub(crate) fn unlink(
    attachment: &Attachment,
    cgroup_id: u64,
    source: LinkSource,
) -> Result<bool, BpffsError> {
    let mut links = attachment.links_on(cgroup_id)?;
    links.retain(|link| link.is_dead() || link.origin.source == source);
    links.iter().try_for_each(|link| take_away(attachment, link).map(drop))?;
    Ok(!links.is_empty())
}

/// Detaches a link and unpins it. Returns why it was only unpinned.
fn take_away(attachment: &Attachment, link: &PinnedLink) -> Result<Option<LinkError>, BpffsError> {
    let not_detached = detach(attachment, link)?;
    attachment.unpin(link)?;
    Ok(not_detached)
}

/// Detaches a link, which stays pinned. Returns why that failed: Linux before 5.9 cannot, and unpinning it has to do.
fn detach(attachment: &Attachment, link: &PinnedLink) -> Result<Option<LinkError>, BpffsError> {
    Ok(attachment.open_link(link)?.detach().err())
}

/// Fails if no link that is wanted is one of `of`, or if there is a wanted cgroup without such a link.
fn check_sources(
    name: &AttachmentName,
    links: &[PinnedLink],
    wanted: &HashSet<u64>,
    of: LinksOf,
) -> Result<(), AttachmentError> {
    let (own, others): (Vec<&PinnedLink>, Vec<&PinnedLink>) =
        links.iter().partition(|link| of.includes(link.origin.source));
    let own: HashSet<u64> = own.iter().map(|link| link.cgroup_id).collect();
    let is_in_the_way = |link: &&&PinnedLink| match wanted.is_empty() {
        true => own.is_empty(),
        false => wanted.contains(&link.cgroup_id) && !own.contains(&link.cgroup_id),
    };
    let mut sources: BTreeMap<LinkSource, usize> = BTreeMap::new();
    for link in others.iter().filter(is_in_the_way) {
        *sources.entry(link.origin.source).or_default() += 1;
    }
    match (sources.is_empty(), of) {
        (false, LinksOf::Source(wanted)) => {
            Err(AttachmentError::OfOthers { name: name.clone(), wanted, sources })
        }
        _ => Ok(()),
    }
}
