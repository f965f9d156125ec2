//! Policies in force that are not those of the files.

use knobgate_kernel::{AttachmentName, BpffsError, LinkOrigin};

use crate::attachment_error::{AttachmentError, failed};
use crate::attachments::Attachments;
use crate::container_policies::{ContainerPolicies, ContainerPolicy};
use crate::policy_version::versions_of;

/// A link of a version of a policy that is not the one in force.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutdatedLink {
    /// The attachment of the version.
    pub attachment: AttachmentName,
    /// The attachment of the version that the file has; `None` if there is no such policy any more.
    pub current: Option<AttachmentName>,
    /// The id of the cgroup.
    pub cgroup_id: u64,
    /// From where the link comes.
    pub origin: LinkOrigin,
}

impl ContainerPolicies {
    /// The links of other versions of these policies, and of policies that are not among them. They are not opened, so some may be
    /// dead.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Directory`], [`Failed`](AttachmentError::Failed).
    pub fn outdated(&self, attachments: &Attachments) -> Result<Vec<OutdatedLink>, AttachmentError> {
        let mut outdated = Vec::new();
        for name in attachments.names()? {
            let Some(versions) = versions_of(&name) else { continue };
            let is_it = |policy: &&ContainerPolicy| versions_of(policy.version().name()) == Some(versions);
            let current = self.policies().iter().find(is_it).map(|policy| policy.version().name());
            if current == Some(&name) {
                continue;
            }
            let origins = match attachments.pins.attachment(&name) {
                Err(BpffsError::NotFound { .. }) => continue,
                opened => opened.and_then(|attachment| attachment.link_origins()),
            };
            let origins = origins.map_err(failed("list", &name))?;
            outdated.extend(origins.into_iter().map(|(cgroup_id, origin)| OutdatedLink {
                attachment: name.clone(),
                current: current.cloned(),
                cgroup_id,
                origin,
            }));
        }
        Ok(outdated)
    }
}
