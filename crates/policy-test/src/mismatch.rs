//! Mismatches between the compiled program and the policy.

use std::fmt;

use knobgate_compiler::{Counted, Counter};
use knobgate_hook::{Errno, Profile};
use knobgate_policy::{Access, Decision, Text};

/// The program does something other than the language says. This is a bug in knobgate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The kernel that the program was compiled for and ran on.
    pub profile: Profile,
    /// The access.
    pub access: Access,
    /// What the language says.
    pub decision: Decision,
    /// What the program should have done.
    pub expected: ProgramOutcome,
    /// What it did, or its fault.
    pub found: Result<ProgramOutcome, String>,
}

/// What a program did with an access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramOutcome {
    /// What the system call returned: a length, or a negative errno.
    pub returned: i64,
    /// What the knob's handler was given to write; `None` if nothing.
    pub written: Option<Vec<u8>>,
    /// The counters that were incremented, each as often as it was.
    pub counted: Vec<Counter>,
}

impl std::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on {} the program should have {}, and has ", self.profile, self.expected)?;
        match &self.found {
            Ok(outcome) => outcome.fmt(f),
            Err(fault) => write!(f, "stopped: {fault}"),
        }
    }
}

/// As in `returned -1 (EPERM), written nothing to the knob, increased counter decided[2]`.
impl fmt::Display for ProgramOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "returned {}", self.returned)?;
        if let Some(errno) = Errno::from_returned(self.returned) {
            write!(f, " ({errno})")?;
        }
        match &self.written {
            Some(written) => write!(f, ", written {} to the knob", Text::from(written.as_slice()))?,
            None => write!(f, ", written nothing to the knob")?,
        }
        match self.counted.as_slice() {
            [] => write!(f, ", increased no counter"),
            counters => counters.iter().try_for_each(|&Counter { index, counted }| {
                let what = match counted {
                    Counted::Decided => "decided",
                    Counted::EvalError => "eval_errors",
                };
                write!(f, ", increased counter {what}[{index}]")
            }),
        }
    }
}
