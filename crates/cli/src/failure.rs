//! Failures of commands, and their exit statuses.

use std::error::Error;
use std::io;
use std::process::ExitCode;

/// The exit status of a command whose verdict is bad: a policy with errors, a file that is not formatted.
pub(crate) const BAD: u8 = 1;
/// The exit status for wrong arguments; clap uses it too.
pub(crate) const USAGE: u8 = 2;
/// The exit status if this machine cannot do what was asked.
pub(crate) const MACHINE: u8 = 3;
/// The exit status for a bug in knobgate.
pub(crate) const BUG: u8 = 4;
/// The exit status if standard output is closed: what a shell reports for `SIGPIPE`.
const BROKEN_PIPE: u8 = 141;

/// Why a command ended early. Printed as `error: …: …`, with the whole chain of sources.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The policy, or the verdict that was asked for, is bad.
    #[error("{what}")]
    Bad {
        /// What is bad, to which file or object.
        what: String,
        /// Why.
        source: Option<Source>,
    },
    /// The arguments are wrong, or name a file that cannot be read.
    #[error("{what}")]
    Usage {
        /// What was being done, to what.
        what: String,
        /// Why.
        source: Option<Source>,
    },
    /// This machine cannot do it: no permission, no such feature of the kernel.
    #[error("{what}")]
    Machine {
        /// What was being done, to what.
        what: String,
        /// Why.
        source: Option<Source>,
    },
    /// A bug in knobgate.
    #[error("{what}; this is a bug in knobgate {}, please report it with the policy", env!("CARGO_PKG_VERSION"))]
    Bug {
        /// What was being done, to what.
        what: String,
        /// Why.
        source: Option<Source>,
    },
    /// Everything has already been reported on standard error.
    #[error("the policy has errors")]
    Reported,
    /// Standard output cannot be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

type Source = Box<dyn Error + Send + Sync>;

impl Failure {
    /// The policy, or the verdict that was asked for, is bad.
    pub(crate) fn bad(what: impl Into<String>) -> Self {
        Self::Bad { what: what.into(), source: None }
    }

    /// The arguments are wrong.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), source: None }
    }

    /// This machine cannot do it.
    pub(crate) fn machine(what: impl Into<String>) -> Self {
        Self::Machine { what: what.into(), source: None }
    }

    /// A bug in knobgate.
    pub(crate) fn bug(what: impl Into<String>) -> Self {
        Self::Bug { what: what.into(), source: None }
    }

    /// The same, because of `error`.
    #[must_use]
    pub(crate) fn because(self, error: impl Into<Source>) -> Self {
        let because = Some(error.into());
        match self {
            Self::Bad { what, .. } => Self::Bad { what, source: because },
            Self::Usage { what, .. } => Self::Usage { what, source: because },
            Self::Machine { what, .. } => Self::Machine { what, source: because },
            Self::Bug { what, .. } => Self::Bug { what, source: because },
            Self::Reported | Self::Output(_) => self,
        }
    }

    /// Whether there is something to print.
    pub(crate) fn is_silent(&self) -> bool {
        match self {
            Self::Reported => true,
            Self::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }

    /// The exit status of the process.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Bad { .. } | Self::Reported => BAD,
            Self::Usage { .. } => USAGE,
            Self::Bug { .. } => BUG,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => BROKEN_PIPE,
            Self::Machine { .. } | Self::Output(_) => MACHINE,
        })
    }
}
