//! Why there is no agent.

use std::error::Error;
use std::path::PathBuf;
use std::{io, iter};

use knobgate::kernel::CgroupError;
use knobgate::{AttachmentError, ContainerError};

/// Why the agent does not start, or has ended by itself. Policies that are in force stay in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// Another agent runs.
    #[error("an agent runs already{}; stop it first", holder(*pid))]
    Running {
        /// Its process, if it has written that down.
        pid: Option<u32>,
    },
    /// The lock cannot be taken.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory of the lock and the socket is not root's alone.
    #[error(
        "others than root can change {0}, and could answer instead of the agent; give it to root: chown root {0} && chmod 700 {0}",
        path.display()
    )]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
    },
    /// The policies or the configuration have errors.
    #[error(transparent)]
    Policies(ContainerError),
    /// The attachments cannot be used.
    #[error(transparent)]
    Attachments(#[from] AttachmentError),
    /// The cgroups cannot be found.
    #[error("cannot watch the cgroups")]
    Cgroups(#[from] CgroupError),
    /// Changes cannot be watched.
    #[error("cannot watch for changes with inotify{}", instances(source))]
    Inotify {
        /// Why.
        source: io::Error,
    },
    /// The thread and its descriptors cannot be made.
    #[error("cannot start the agent's thread")]
    Start {
        /// Why.
        source: io::Error,
    },
    /// Events cannot be waited for.
    #[error("cannot wait for events")]
    Wait {
        /// Why.
        source: io::Error,
    },
    /// There is a bug in the agent.
    #[error("the agent's thread has panicked")]
    Panicked,
}

impl From<ContainerError> for AgentError {
    fn from(error: ContainerError) -> Self {
        match error {
            // No file has this error: it may work the next time.
            ContainerError::Attachment(error) => Self::Attachments(error),
            error => Self::Policies(error),
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(": process {pid}"))
}

/// What to do if this user has too many instances (inotify_init(2)).
fn instances(source: &io::Error) -> &'static str {
    match source.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) {
        true => "; raise the sysctl fs.inotify.max_user_instances, or the limit of open files",
        false => "",
    }
}

/// An error with its causes, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = iter::successors(error.source(), |&error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_cannot_do_is_no_error_in_a_policy() {
        let name = "web".parse().unwrap();
        let error = ContainerError::from(AttachmentError::Empty { name });
        assert!(matches!(error.into(), AgentError::Attachments(_)));
        let error = ContainerError::Line { path: "x".into(), line: 1, what: String::new() };
        assert!(matches!(error.into(), AgentError::Policies(_)));
    }
}
