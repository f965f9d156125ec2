//! The versions of policies that are attached: finding them, and removing those that nobody needs any more.

use std::collections::HashMap;

use knobgate_kernel::{
    Attachment, AttachmentName, BpfObjectError, BpffsError, Hierarchy, LinkError, Map, PinnedLink, ProgramFd,
};

use crate::attachment_error::{AttachmentError, failed};
use crate::attachments::Attachments;
use crate::events::OtherCounters;
use crate::policy_version::{name_of_versions, versions_of};

/// An attached version of a policy.
#[derive(Debug)]
pub(crate) struct AttachedVersion {
    pub(crate) name: AttachmentName,
    pub(crate) attachment: Attachment,
    pub(crate) program: ProgramFd,
    id: u32,
}

impl Attachments {
    /// The attachments that a user means by `name`: the one of this name, or else the versions of the policy of this name (see
    /// [`PolicyVersion`](crate::PolicyVersion)), the newest first.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::NotFound`] if there is none; [`Directory`](AttachmentError::Directory).
    pub fn resolve(&self, name: &AttachmentName) -> Result<Vec<AttachmentName>, AttachmentError> {
        match self.attachment(name, "open") {
            Err(not_found @ AttachmentError::NotFound { .. }) => {
                let versions = self.versions(&name_of_versions(name.as_str()))?;
                let versions: Vec<_> = versions.into_iter().map(|version| version.name).collect();
                if versions.is_empty() { Err(not_found) } else { Ok(versions) }
            }
            opened => opened.map(|_| vec![name.clone()]),
        }
    }

    /// All attachments, the versions of a policy together, the newest first.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Directory`].
    pub fn names_by_policy(&self) -> Result<Vec<Vec<AttachmentName>>, AttachmentError> {
        let mut groups: Vec<Vec<AttachmentName>> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for name in self.names()? {
            let place = versions_of(&name).map(|of| *places.entry(of.to_owned()).or_insert(groups.len()));
            match place.and_then(|place| groups.get_mut(place)) {
                Some(group) => group.push(name),
                None => groups.push(vec![name]),
            }
        }
        for group in groups.iter_mut().filter(|group| group.len() > 1) {
            // Which are the newest matters only among those that have a program.
            let newest: Vec<_> = self.versions(versions_of(&group[0]).unwrap_or_default())?;
            let place = |name: &AttachmentName| newest.iter().position(|version| version.name == *name);
            group.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
        }
        Ok(groups)
    }

    /// The attached versions of a policy, the newest first.
    pub(crate) fn versions(&self, of: &str) -> Result<Vec<AttachedVersion>, AttachmentError> {
        let mut versions = Vec::new();
        for name in self.names()? {
            if versions_of(&name) != Some(of) {
                continue;
            }
            // It may be removed in the meantime. Without a program, it is not the version of a policy.
            let attachment = match self.pins.attachment(&name) {
                Err(BpffsError::NotFound { .. }) => continue,
                opened => opened.map_err(failed("open", &name))?,
            };
            if let Some(program) = attachment.program().map_err(failed("open", &name))? {
                let id = program.info().map_err(LinkError::from).map_err(failed("open", &name))?.id;
                versions.push(AttachedVersion { name, attachment, program, id });
            }
        }
        // A program that was loaded later has a higher id.
        versions.sort_by_key(|version| std::cmp::Reverse(version.id));
        Ok(versions)
    }

    /// Unpins the links of containers that are gone, and removes the versions of policies that are on no cgroup and not the
    /// newest of their policy.
    ///
    /// # Errors
    ///
    /// [`AttachmentError`].
    pub fn remove_unused_versions(&self) -> Result<(), AttachmentError> {
        let _lock = self.lock()?;
        for group in self.names_by_policy()? {
            let Some(of) = group.first().and_then(versions_of) else { continue };
            let mut versions = self.versions(of)?.into_iter();
            let Some(newest) = versions.next() else { continue };
            unpin_dead(&newest.attachment).map_err(failed("clean up", &newest.name))?;
            let maps = newest.program.maps()?;
            self.remove_without_cgroups(versions, &maps)?;
        }
        Ok(())
    }

    /// Removes those of these versions that are on no cgroup. `memory` has the maps of the newest version, which remembers what
    /// their programs counted.
    pub(crate) fn remove_without_cgroups(
        &self,
        versions: impl IntoIterator<Item = AttachedVersion>,
        memory: &[Map],
    ) -> Result<(), AttachmentError> {
        let memory: Vec<&Map> = memory.iter().collect();
        for AttachedVersion { name, attachment, program, .. } in versions {
            if unpin_dead(&attachment).map_err(failed("clean up", &name))?.is_empty() {
                let others = OtherCounters::of(&program, &memory)?;
                self.pins.remove(&name).map_err(failed("remove", &name))?;
                // That some counters are not remembered is no reason to keep it.
                let _ =
                    others.map_or(Ok(()), |others| others.hand_over(&memory)) as Result<(), BpfObjectError>;
            }
        }
        Ok(())
    }
}

/// Unpins the links whose cgroups were removed, and returns the others. The kernel takes a moment to release a removed cgroup, which
/// this does not wait for.
pub(crate) fn unpin_dead(attachment: &Attachment) -> Result<Vec<PinnedLink>, BpffsError> {
    let hierarchy = Hierarchy::find().ok();
    let was_removed = |link: &PinnedLink| {
        hierarchy.as_ref().is_some_and(|hierarchy| hierarchy.was_removed(link.cgroup_id).unwrap_or(false))
    };
    let (dead, alive): (Vec<PinnedLink>, Vec<PinnedLink>) =
        attachment.links()?.into_iter().partition(|link| link.is_dead() || was_removed(link));
    dead.iter().try_for_each(|link| attachment.unpin(link))?;
    Ok(alive)
}
