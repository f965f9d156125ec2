//! Errors before any test runs.

use knobgate_compiler::CompileError;
use knobgate_hook::{Errno, Profile, Rejection};

/// Why a policy cannot be attached to the hook of a kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyTestError {
    /// The policy cannot be compiled for this kernel.
    #[error("cannot compile the policy for {profile}")]
    Compile {
        /// The kernel.
        profile: Profile,
        /// Why.
        source: CompileError,
    },
    /// The kernel has no links for this hook. Without them, knobgate attaches nothing.
    #[error("no policy can be enforced on {0}, which has no links for this hook (since Linux 5.7)")]
    NoLinks(Profile),
    /// The kernel would not load the compiled program: a bug in knobgate.
    #[error("{profile} would not load the program that was compiled for it")]
    Rejected {
        /// The kernel.
        profile: Profile,
        /// Why.
        source: Box<Rejection>,
    },
    /// The program cannot be attached: a bug in knobgate.
    #[error("{profile} would not attach the program: {errno}")]
    NotAttached {
        /// The kernel.
        profile: Profile,
        /// The errno.
        errno: Errno,
    },
}

impl PolicyTestError {
    /// Whether it is a bug in knobgate, not a problem of the policy or the kernel.
    pub fn is_bug(&self) -> bool {
        matches!(self, Self::Rejected { .. } | Self::NotAttached { .. })
    }
}
