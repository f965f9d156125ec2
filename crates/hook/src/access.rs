//! A read or a write of a knob, and its result.

use crate::constants::MAX_ERRNO;
use crate::{Decision, Errno, Wanted};

/// What came of a read or a write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What the system call returns: a length, a negative errno, or whatever else a program made of it.
    pub returned: i64,
    /// What was read.
    pub data: Vec<u8>,
    /// What the programs said, if they were asked: the kernel may have failed the access before.
    pub decision: Option<Decision>,
}

impl Outcome {
    /// The errno, if the system call failed.
    pub fn errno(&self) -> Option<Errno> {
        let errno = i32::try_from(-self.returned).ok()?;
        (1..=MAX_ERRNO).contains(&errno).then_some(Errno(errno))
    }

    pub(crate) fn failed(errno: Errno) -> Self {
        Self { returned: errno.returned(), ..Self::default() }
    }
}

/// What is asked of a knob.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request<'a> {
    Read(usize),
    Write(&'a [u8]),
}

impl Request<'_> {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::Read(count) => count,
            Self::Write(bytes) => bytes.len(),
        }
    }

    pub(crate) fn wanted(self) -> Wanted {
        match self {
            Self::Read(_) => Wanted::Read,
            Self::Write(_) => Wanted::Write,
        }
    }
}
