//! Where the language and the program disagree.

use std::fmt;

use knobgate_hook::{Errno, Profile};
use knobgate_policy::{Access, Decision, Text};

/// What the program does with an access is not what the language says. A bug of knobgate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The kernel that the program was made for and ran on.
    pub profile: Profile,
    /// The access.
    pub access: Access,
    /// What the language says.
    pub decision: Decision,
    /// What the program should have done.
    pub expected: Done,
    /// What it did; or why it could not go on.
    pub found: Result<Done, String>,
}

/// What was done with an access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// What the system call returned: a length, or a negative errno.
    pub returned: i64,
    /// What the knob was given; `None` if nothing.
    pub given: Option<Vec<u8>>,
    /// The counters that moved: indices of 8 bytes each in the value of [`RULE_HITS_MAP`](knobgate_bpf::RULE_HITS_MAP).
    pub counted: Vec<usize>,
}

impl std::error::Error for Contradiction {}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on {} the program should have {}, and has ", self.profile, self.expected)?;
        match &self.found {
            Ok(done) => done.fmt(f),
            Err(fault) => write!(f, "stopped: {fault}"),
        }
    }
}

/// As in `returned -1 (EPERM), given the knob nothing, moved the counter 4`.
impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "returned {}", self.returned)?;
        if let Some(errno) = Errno::from_returned(self.returned) {
            write!(f, " ({errno})")?;
        }
        match &self.given {
            Some(given) => write!(f, ", given the knob {}", Text::from(given.as_slice()))?,
            None => write!(f, ", given the knob nothing")?,
        }
        match self.counted.as_slice() {
            [] => write!(f, ", moved no counter"),
            [counter] => write!(f, ", moved counter {counter}"),
            counters => write!(f, ", moved counters {counters:?}"),
        }
    }
}
