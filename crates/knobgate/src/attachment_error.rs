//! Why something cannot be done with an attachment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use knobgate_compiler::CompileError;
use knobgate_kernel::{AttachmentName, BpfObjectError, BpffsError, LinkSource, LoadError, SurveyError};

use crate::cgroup_ref::CgroupRef;
use crate::off::{OffBy, OffError};

/// Why something cannot be done with an attachment. Unless the variant says otherwise, nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachmentError {
    /// The directory of attachments cannot be used.
    #[error("cannot access the attachments")]
    Directory(#[from] BpffsError),
    /// The program cannot be loaded.
    #[error(transparent)]
    Load(LoadError),
    /// A map of the program cannot be used.
    #[error("cannot use the memory of events")]
    Memory(#[from] BpfObjectError),
    /// Cgroups, or the programs and links on them, cannot be read.
    #[error("cannot read what is attached")]
    Survey(#[from] SurveyError),
    /// The lock on the directory cannot be taken.
    #[error("cannot lock the attachments")]
    Lock(#[source] BpffsError),
    /// There is no attachment of this name.
    #[error("there is no attachment \"{name}\" (there is: {})", listed(existing))]
    NotFound {
        /// The name.
        name: AttachmentName,
        /// The names that there are.
        existing: Vec<AttachmentName>,
    },
    /// No cgroup was given to attach a program to.
    #[error("the attachment \"{name}\" needs at least one cgroup")]
    NoCgroups {
        /// The name.
        name: AttachmentName,
    },
    /// The attachment has another program, and is on cgroups that were not given.
    #[error(
        "the attachment \"{name}\" is on other cgroups too, with another program: name all of its cgroups to replace that \
         there, use another name, or detach it first"
    )]
    OnOtherCgroups {
        /// Its name.
        name: AttachmentName,
        /// The ids of its cgroups.
        attached_to: Vec<u64>,
    },
    /// It cannot be detached from a cgroup that it is not on.
    #[error("the attachment \"{name}\" is not on {}", cgroup.path().display())]
    NotOnCgroup {
        /// Its name.
        name: AttachmentName,
        /// The cgroup.
        cgroup: CgroupRef,
        /// The ids of its cgroups.
        attached_to: Vec<u64>,
    },
    /// Others have put it on its cgroups.
    #[error("the attachment \"{name}\" is on no such cgroup by {wanted}, only by {}", by(sources))]
    OfOthers {
        /// Its name.
        name: AttachmentName,
        /// Whose links were to be taken away.
        wanted: LinkSource,
        /// Who has put it on how many of its cgroups, or of those that were given.
        sources: BTreeMap<LinkSource, usize>,
    },
    /// It is off, and so it is put on no cgroup.
    #[error("cannot attach \"{name}\": {by}; to end that: {}", by.remedy())]
    Off {
        /// Its name.
        name: AttachmentName,
        /// Because of what.
        by: OffBy,
    },
    /// It is not known which attachments are off, and so nothing is put on a cgroup.
    #[error("cannot find out which policies are off")]
    OffUnknown(#[from] OffError),
    /// All of its links have been unpinned.
    #[error("all links of the attachment \"{name}\" were unpinned; detach it")]
    Empty {
        /// Its name.
        name: AttachmentName,
    },
    /// The attachment is that of a version of a policy for containers, and its program cannot be replaced: an edited policy is
    /// another version.
    #[error(
        "the attachment \"{name}\" is that of a policy for containers, and is not replaced; edit that policy's file, or use \
         another name"
    )]
    OfContainers {
        /// Its name.
        name: AttachmentName,
    },
    /// A program cannot be pinned under this name, because an attachment that has it is on cgroups.
    #[error("the attachment \"{name}\" is on cgroups: use another name, or detach it first")]
    OnCgroups {
        /// Its name.
        name: AttachmentName,
    },
    /// The attachment is a program that somebody else attaches, such as systemd, and is not replaced on cgroups.
    #[error(
        "the attachment \"{name}\" is a program that is pinned for systemd: use another name, or detach it first"
    )]
    OfSystemd {
        /// Its name.
        name: AttachmentName,
    },
    /// The attachment has the name of a version of a policy for containers, and is something else.
    #[error(
        "the attachment \"{name}\" has the name of a version of a policy for containers, and is not that version; detach it"
    )]
    NotOfContainers {
        /// Its name.
        name: AttachmentName,
    },
    /// A policy for containers cannot be compiled for this kernel.
    #[error("cannot compile the policy for the attachment \"{name}\"")]
    Compile {
        /// Its name.
        name: AttachmentName,
        /// What went wrong; [`CompileError::rule`] is the rule.
        source: CompileError,
    },
    /// The program cannot be attached to a cgroup, or cannot replace the one there.
    #[error(
        "cannot {operation} the attachment \"{name}\"{}{}",
        replaced_on.as_ref().map(|path| format!(" on {}", path.display())).unwrap_or_default(),
        match rollback {
            Some(error) => format!(", and not all of the other cgroups could be restored ({error})"),
            None => String::new(),
        }
    )]
    Cgroup {
        /// A verb.
        operation: &'static str,
        /// Its name.
        name: AttachmentName,
        /// The cgroup on which a program was to be replaced; `None` if it was to be attached, where the source has it.
        replaced_on: Option<PathBuf>,
        /// What went wrong.
        #[source]
        source: Box<BpffsError>,
        /// Whether there are other cgroups. Those that had been changed already are restored.
        others: bool,
        /// Why not all of them could be restored.
        rollback: Option<Box<BpffsError>>,
    },
    /// It was detached from some of its cgroups, but could not be detached from the next.
    #[error("cannot detach the attachment \"{name}\" from all cgroups, only from {detached} of them")]
    PartlyDetached {
        /// Its name.
        name: AttachmentName,
        /// From how many it was detached.
        detached: usize,
        /// What went wrong.
        #[source]
        source: Box<BpffsError>,
    },
    /// Something else failed.
    #[error("cannot {operation} the attachment \"{name}\"")]
    Failed {
        /// A verb.
        operation: &'static str,
        /// Its name.
        name: AttachmentName,
        /// What went wrong.
        #[source]
        source: Box<BpffsError>,
    },
}

fn by(sources: &BTreeMap<LinkSource, usize>) -> String {
    let several = |(source, links): (&LinkSource, &usize)| format!("{source} ({links})");
    sources.iter().map(several).collect::<Vec<_>>().join(", ")
}

fn listed(names: &[AttachmentName]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(AttachmentName::as_str).collect::<Vec<_>>().join(", ")
}

/// The [`AttachmentError::Failed`] for an operation on an attachment.
pub(crate) fn failed<E: Into<BpffsError>>(
    operation: &'static str,
    name: &AttachmentName,
) -> impl Fn(E) -> AttachmentError {
    move |error| AttachmentError::Failed { operation, name: name.clone(), source: Box::new(error.into()) }
}
