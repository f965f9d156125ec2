//! Detaching, even if a link is also pinned or open elsewhere.

use std::collections::HashSet;

use knobgate_kernel::{AttachmentName, BpffsError, LinkError, PinnedLink};

use crate::attachment_error::{AttachmentError, failed};
use crate::attachments::Attachments;
use crate::cgroup_ref::CgroupRef;

/// What [`Attachments::detach`] did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Detached {
    /// The ids of the cgroups from which it was detached. Empty if all of them had been removed.
    /// [`not_detached`](Self::not_detached) says if the program may still run on one of them.
    pub from: Vec<u64>,
    /// On how many cgroups it still is.
    pub remaining: usize,
    /// Whether the attachment is gone. That of a policy for containers stays when cgroups are named, even if it is on no others.
    pub is_gone: bool,
    /// Why a link could only be unpinned (Linux before 5.9). If another process holds it, its program still runs.
    pub not_detached: Option<LinkError>,
}

impl Attachments {
    /// Detaches an attachment from these cgroups, or from all if none is given. From then on it judges no access there,
    /// unless [`Detached::not_detached`] says otherwise.
    ///
    /// # Errors
    ///
    /// [`AttachmentError`]; [`PartlyDetached`](AttachmentError::PartlyDetached) if something has changed.
    pub fn detach(&self, name: &AttachmentName, cgroups: &[CgroupRef]) -> Result<Detached, AttachmentError> {
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
        let (detached, left): (Vec<PinnedLink>, Vec<PinnedLink>) =
            links.into_iter().partition(|link| wanted.is_empty() || wanted.contains(&link.cgroup_id));

        let (mut not_detached, mut done) = (None, 0);
        let partly = |error: BpffsError, detached: usize| match detached {
            0 => failed("detach", name)(error),
            _ => AttachmentError::PartlyDetached { name: name.clone(), detached, source: Box::new(error) },
        };
        for link in &detached {
            // Linux before 5.9 cannot detach a link; unpinning it has to do.
            match attachment.link(link.cgroup_id).map_err(|error| partly(error, done))?.detach() {
                Ok(()) => done += 1,
                Err(error) => not_detached = not_detached.or(Some(error)),
            }
            attachment.unpin(link.cgroup_id).map_err(|error| partly(error, done))?;
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
            is_gone,
            not_detached,
        })
    }
}
