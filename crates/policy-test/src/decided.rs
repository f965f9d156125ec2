//! The decision about an access.

use knobgate_compiler::Effect;
use knobgate_hook::Errno;
use knobgate_policy::{Decision, Verdict};

use crate::Mismatch;

/// The decision about an access, on which the language and the program agree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decided {
    /// The decision of the language.
    pub decision: Decision,
    /// The effect of the program on the kernel; in audit mode, what it would be.
    pub effect: Effect,
}

impl Decided {
    /// The verdict on the kernel of the test. In audit mode it has no effect.
    pub fn verdict(&self) -> &Verdict {
        &self.effect.verdict
    }
}

/// Why there is no decision about an access.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecideError {
    /// The program does something other than the language says: a bug in knobgate.
    #[error(transparent)]
    Mismatch(Box<Mismatch>),
    /// The kernel fails the access before it runs any program.
    #[error("the kernel fails it with {0} before any program runs")]
    NotAsked(Errno),
    /// No knob can have such a name.
    #[error("a file below /proc/sys cannot have such a name")]
    NoSuchName,
    /// The name is not UTF-8, which the hook in user space does not support.
    #[error("the hook in user space only has knobs with UTF-8 names")]
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
