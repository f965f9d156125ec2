//! Names of attachments that a user gives: of one attachment, or of a policy for containers, which means all of its versions.

use knobgate::{AttachmentError, Attachments, Off, name_of_versions, versions_of};
use knobgate_kernel::AttachmentName;

use crate::attachment_failure::{no_attachments, parse_name};
use crate::failure::Failure;
use crate::off;

/// Checks a name that the user gave. The name of a policy can have characters that the name of an attachment cannot.
///
/// # Errors
/// [`Failure::Usage`].
pub(crate) fn named(text: &str) -> Result<AttachmentName, Failure> {
    parse_name(text).or_else(|failure| {
        let is_policy = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if is_policy && !text.is_empty() { parse_name(&name_of_versions(text)) } else { Err(failure) }
    })
}

/// The attachments of this machine, and those that a name means there, the newest version of a policy first.
///
/// # Errors
/// [`Failure::Usage`] if there is none; [`Failure::Machine`].
pub(crate) fn find(name: AttachmentName) -> Result<(Attachments, Vec<AttachmentName>), Failure> {
    let Some(attachments) = Attachments::open()? else {
        return Err(not_found(&name, no_attachments(name.clone())));
    };
    match attachments.resolve(&name) {
        Err(error @ AttachmentError::NotFound { .. }) => Err(not_found(&name, error.into())),
        found => Ok((attachments, found?)),
    }
}

/// The failure, with the reason if it is that the attachment is off.
fn not_found(name: &AttachmentName, failure: Failure) -> Failure {
    match Off::read().ok().and_then(|off| off.of(name)) {
        Some(by) => failure.because(off::describe(&by)),
        None => failure,
    }
}

/// The attachments that are wanted; all if there are none.
#[derive(Debug, Clone, Default)]
pub(crate) struct WantedNames(Vec<Wanted>);

#[derive(Debug, Clone)]
enum Wanted {
    Exactly(AttachmentName),
    /// All versions of a policy: they share what they remember of their events, and there can be others later.
    VersionsOf(String),
}

impl WantedNames {
    /// Those that these names mean.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there is none; [`Failure::Machine`].
    pub(crate) fn find(names: &[AttachmentName], attachments: &Attachments) -> Result<Self, Failure> {
        let wanted = |name: &AttachmentName| {
            let is_it = attachments.resolve(name)?.contains(name);
            Ok(match versions_of(name) {
                Some(policy) => Wanted::VersionsOf(policy.to_owned()),
                None if is_it => Wanted::Exactly(name.clone()),
                None => Wanted::VersionsOf(name_of_versions(name.as_str())),
            })
        };
        names.iter().map(wanted).collect::<Result<_, Failure>>().map(Self)
    }

    /// Whether all attachments are wanted.
    pub(crate) fn are_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this one is.
    pub(crate) fn contains(&self, name: &AttachmentName) -> bool {
        self.are_all()
            || self.0.iter().any(|wanted| match wanted {
                Wanted::Exactly(wanted) => wanted == name,
                Wanted::VersionsOf(policy) => versions_of(name) == Some(policy),
            })
    }

    /// The names, for a message.
    pub(crate) fn names(&self) -> String {
        let names = self.0.iter().map(|wanted| match wanted {
            Wanted::Exactly(name) => name.as_str(),
            Wanted::VersionsOf(policy) => policy,
        });
        names.collect::<Vec<_>>().join(", ")
    }
}
