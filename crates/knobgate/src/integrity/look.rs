//! What a pass has looked at so far.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use knobgate_kernel::{
    Attachment, AttachmentName, BpffsError, Hierarchy, LinkError, LinkOrigin, PinnedLink, SurveyError,
    UnopenedLink,
};

use super::{Finding, FindingKind};
use crate::attachment_error::AttachmentError;

/// A link whose cgroup has to be looked at.
pub(super) struct Guarding {
    pub(super) name: Arc<AttachmentName>,
    pub(super) link: PinnedLink,
}

/// An attachment that was looked at.
pub(super) struct Examined {
    pub(super) attachment: Attachment,
    pub(super) links: Links,
    /// The programs that its links may have.
    pub(super) programs: BTreeSet<u32>,
}

/// The links of an attachment.
pub(super) enum Links {
    /// By the names of their pins, which are root's: the id of each cgroup, and what the link says about itself.
    Named(Vec<(u64, LinkOrigin)>),
    Opened(Vec<Result<PinnedLink, UnopenedLink>>),
}

impl Examined {
    /// The pinned program counts, or else those of all links that can be opened.
    pub(super) fn of(attachment: Attachment) -> Result<Self, BpffsError> {
        let program =
            attachment.program()?.map(|program| program.info()).transpose().map_err(LinkError::from)?;
        if let Some(program) = &program
            && let Some(links) = attachment.trusted_link_origins()?
        {
            let programs = BTreeSet::from([program.id]);
            return Ok(Self { attachment, links: Links::Named(links), programs });
        }
        let links = attachment.each_link()?;
        let programs = match program {
            Some(program) => BTreeSet::from([program.id]),
            None => links.iter().flatten().map(|link| link.info.program_id).collect(),
        };
        Ok(Self { attachment, links: Links::Opened(links), programs })
    }
}

/// The links that are not opened yet.
#[derive(Default)]
pub(super) struct Unopened {
    /// Each with the programs that its links may have.
    pub(super) attachments: Vec<(Arc<AttachmentName>, Attachment, HashSet<u32>)>,
    /// The places of those of each cgroup.
    pub(super) by_cgroup: BTreeMap<u64, Vec<usize>>,
}

/// What a pass has seen so far.
pub(super) struct Look<'a> {
    pub(super) hierarchy: &'a Hierarchy,
    pub(super) findings: Vec<Finding>,
    pub(super) pins: HashMap<(Arc<AttachmentName>, u64), LinkOrigin>,
    /// The links whose cgroups have to be looked at.
    pub(super) guarded: BTreeMap<u64, Vec<Guarding>>,
}

impl Look<'_> {
    pub(super) fn found(
        &mut self,
        name: &Arc<AttachmentName>,
        cgroup_id: u64,
        kind: FindingKind,
    ) -> Result<(), AttachmentError> {
        self.findings.push(finding(self.hierarchy, cgroup_id, name, kind)?);
        Ok(())
    }

    pub(super) fn not_examined(
        &mut self,
        name: &Arc<AttachmentName>,
        cgroup_id: u64,
        error: &BpffsError,
    ) -> Result<(), AttachmentError> {
        self.found(name, cgroup_id, FindingKind::NotExamined { why: with_causes(error) })
    }
}

pub(super) fn finding(
    hierarchy: &Hierarchy,
    cgroup_id: u64,
    name: &Arc<AttachmentName>,
    kind: FindingKind,
) -> Result<Finding, AttachmentError> {
    let cgroup = hierarchy.path_by_handle(cgroup_id).map_err(survey_failed)?;
    Ok(Finding { cgroup_id, cgroup, attachments: vec![Arc::clone(name)], kind })
}

/// An error with its causes, in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

pub(super) fn survey_failed(error: impl Into<SurveyError>) -> AttachmentError {
    AttachmentError::Survey(error.into())
}
