//! What became of an access.

use knobgate_compiler::Effect;
use knobgate_hook::Errno;
use knobgate_policy::{Decision, Verdict};

use crate::Contradiction;

/// An access that was decided, by the language and by the program alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What the policy means.
    pub decision: Decision,
    /// What the kernel makes of it; in audit mode, what it would make.
    pub effect: Effect,
}

impl Decided {
    /// The verdict on the kernel of the trial. In audit mode nothing comes of it.
    pub fn verdict(&self) -> &Verdict {
        &self.effect.verdict
    }
}

/// Why an access was not decided.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Undecided {
    /// The language says one thing and the program does another: a bug of knobgate.
    #[error(transparent)]
    Contradiction(Box<Contradiction>),
    /// The kernel fails the access before it asks any program.
    #[error("the kernel fails it with {0} before any policy is asked")]
    NotAsked(Errno),
    /// There can be no knob of such a name.
    #[error("a file below /proc/sys cannot have such a name")]
    NoSuchName,
    /// The name is not UTF-8, and the hook in user space knows no others.
    #[error("the hook in user space has no knobs with names that are not UTF-8")]
    NameNotUtf8,
}

impl Undecided {
    /// The contradiction, if it is one.
    pub fn contradiction(&self) -> Option<&Contradiction> {
        match self {
            Self::Contradiction(contradiction) => Some(contradiction),
            _ => None,
        }
    }
}
