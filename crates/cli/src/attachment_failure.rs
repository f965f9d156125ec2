//! Failures of operations on attachments, and what to do about them.

use knobgate::{AttachmentError, AttachmentState, versions_of};
use knobgate_kernel::{AttachmentName, BpffsError, LinkError, LinkSource};

use crate::cgroup_argument::describe_ids;
use crate::failure::Failure;
use crate::link_source::{by, by_all};
use crate::off;
use crate::plural::count;
use crate::printable::printable_path;

/// Checks a name that the user gave.
///
/// # Errors
/// [`Failure::Usage`].
pub(crate) fn parse_name(name: &str) -> Result<AttachmentName, Failure> {
    name.parse().map_err(|error| Failure::usage("wrong name").because(error))
}

/// The failure of a command when there is no directory of attachments.
pub(crate) fn no_attachments(name: AttachmentName) -> Failure {
    AttachmentError::NotFound { name, existing: Vec::new() }.into()
}

/// The failure of a command that shows events, if the program of an attachment has no memory of them.
pub(crate) fn without_memory(name: &AttachmentName, state: &AttachmentState) -> Failure {
    Failure::machine(format!("cannot show the events of the attachment \"{name}\"")).because(match state.policy {
        None => "its program is not that of a policy, but a program from an object, and keeps none",
        Some(_) => {
            "its program keeps none: programs on this kernel cannot, or another version of knobgate has attached it; attach \
             its policy again to find out"
        }
    })
}

impl From<AttachmentError> for Failure {
    fn from(error: AttachmentError) -> Self {
        let what = error.to_string();
        match error {
            AttachmentError::NotFound { .. }
            | AttachmentError::OfContainers { .. }
            | AttachmentError::NotOfContainers { .. }
            | AttachmentError::OnCgroups { .. }
            | AttachmentError::OfSystemd { .. } => Self::usage(what),
            AttachmentError::Compile { source, .. } => Self::bad(what).because(source),
            AttachmentError::OnOtherCgroups { name, attached_to } => Self::usage(format!(
                "the attachment \"{name}\" is on {} already, and is not the same as this; name all of its cgroups (knobgate \
                 show {name}) to replace it there, choose another name with --name, or detach it first: knobgate detach \
                 {name}",
                describe_ids(&attached_to)
            )),
            AttachmentError::NotOnCgroup { name, cgroup, attached_to } => Self::usage(format!(
                "the attachment \"{name}\" is not on {}; it is on {}",
                printable_path(cgroup.path()),
                describe_ids(&attached_to)
            )),
            AttachmentError::OfOthers { name, wanted, sources } => {
                let others = by_all(&sources);
                let source = match sources.keys().collect::<Vec<_>>()[..] {
                    [&source] if source != LinkSource::Unknown => source.as_str(),
                    _ => "any",
                };
                let policy = versions_of(&name).unwrap_or(name.as_str());
                Self::usage(format!(
                    "the attachment \"{name}\" was attached {others}, not {}; to take it out of force, so that nobody puts it back: \
                     knobgate off {policy}; to detach it all the same: knobgate detach {name} --source {source}",
                    by(wanted)
                ))
            }
            AttachmentError::Off { name, by } => off::failure(&format!("attach \"{name}\""), &by),
            AttachmentError::OffUnknown(source) => Self::machine(what).because(source),
            AttachmentError::Empty { name } => {
                cannot("show", &name).because(format!("all of its links were unpinned; remove it: knobgate detach {name}"))
            }
            AttachmentError::Cgroup { operation, name, replaced_on, source, others, rollback } => {
                let place = replaced_on.map(|path| format!("on {}: ", path.display())).unwrap_or_default();
                let rest = match rollback {
                    Some(error) => format!("; not all of the other cgroups could be restored: {error}"),
                    None if others => "; the other cgroups are unchanged".to_owned(),
                    None => String::new(),
                };
                cannot(operation, &name).because(format!("{place}{source}{rest}"))
            }
            AttachmentError::PartlyDetached { name, detached, source } => cannot("detach", &name)
                .because(format!("it was detached from {}, but then: {source}", count(detached, "cgroup"))),
            AttachmentError::Failed { name, source, .. }
                if matches!(&*source, BpffsError::Link(LinkError::CgroupStorage { .. })) =>
            {
                Self::machine(what).because(format!(
                    "{source} (choose another name for the new one with --name, then run knobgate detach {name})"
                ))
            }
            AttachmentError::Failed { source, .. } => Self::machine(what).because(source),
            AttachmentError::Directory(source) => Self::machine(what).because(source),
            AttachmentError::Memory(source) => Self::machine(what).because(source),
            AttachmentError::Lock(source) => Self::machine(what).because(source),
            _ => Self::machine(what),
        }
    }
}

fn cannot(operation: &str, name: &AttachmentName) -> Failure {
    Failure::machine(format!("cannot {operation} the attachment \"{name}\""))
}
