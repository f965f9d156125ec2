//! A read or a write of a knob, and its result.

use crate::{AccessMode, Errno, FilterResult};

/// The result of a read or a write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AccessResult {
    /// What the system call returns: a length, a negative errno, or any other number that a program has set.
    pub returned: i64,
    /// What was read.
    pub data: Vec<u8>,
    /// What the programs decided, if they ran: the kernel may have failed the access before.
    pub filter: Option<FilterResult>,
}

impl AccessResult {
    /// The errno, if the system call failed with one that has a name. Programs can set others.
    pub fn errno(&self) -> Option<Errno> {
        Errno::from_returned(self.returned)
    }

    /// The result of a system call that failed with `errno`.
    pub fn failed(errno: Errno) -> Self {
        Self { returned: errno.returned(), ..Self::default() }
    }
}

/// What a process asks of a knob.
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

    pub(crate) fn mode(self) -> AccessMode {
        match self {
            Self::Read(_) => AccessMode::Read,
            Self::Write(_) => AccessMode::Write,
        }
    }
}
