//! The decision about an access.

use knobgate_compiler::Effect;
use knobgate_hook::Errno;
use knobgate_policy::{Decision, Verdict};

use crate::Mismatch;

/// The decision about an access, on which the language and the program agree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decided {
    /// What the policy means.
    pub decision: Decision,
    /// What the kernel does about it; in audit mode, what it would do.
    pub effect: Effect,
}

impl Decided {
    /// The verdict on the kernel of the test. In audit mode it has no effect.
    pub fn verdict(&self) -> &Verdict {
        &self.effect.verdict
    }
}

/// Why an access was not decided.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecideError {
    /// The program does something else than the language says: a bug of knobgate.
    #[error(transparent)]
    Mismatch(Box<Mismatch>),
    /// The kernel fails the access before it runs any program.
    #[error("the kernel fails it with {0} before any policy is asked")]
    NotAsked(Errno),
    /// There can be no knob of such a name.
    #[error("a file below /proc/sys cannot have such a name")]
    NoSuchName,
    /// The name is not UTF-8, and the hook in user space knows no others.
    #[error("the hook in user space has no knobs with names that are not UTF-8")]
    NameNotUtf8,
}

impl DecideError {
    /// The mismatch, if it is one.
    pub fn mismatch(&self) -> Option<&Mismatch> {
        match self {
            Self::Mismatch(mismatch) => Some(mismatch),
            _ => None,
        }
    }
}
