//! Why a policy cannot be tested.

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
    /// The kernel has no links for this hook, without which knobgate attaches nothing.
    #[error("no policy is put in force on {0}, which has no links for this hook (Linux 5.7 has)")]
    NoLinks(Profile),
    /// The program that the compiler made would not be loaded: a bug of knobgate.
    #[error("{profile} would not load the program that was made for it")]
    Rejected {
        /// The kernel.
        profile: Profile,
        /// Why.
        source: Box<Rejection>,
    },
    /// The program cannot be attached: a bug of knobgate.
    #[error("{profile} would not attach the program: {errno}")]
    NotAttached {
        /// The kernel.
        profile: Profile,
        /// What it says.
        errno: Errno,
    },
}

impl PolicyTestError {
    /// Whether it is a bug of knobgate, and not of the policy or of the kernel.
    pub fn is_bug(&self) -> bool {
        matches!(self, Self::Rejected { .. } | Self::NotAttached { .. })
    }
}
