//! Open knobs.

use crate::{AccessMode, KnobSet};

/// An open knob. Any process can use it, and the programs of that process's cgroup run, not those of the opener's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFile {
    pub(crate) name: String,
    pub(crate) mode: AccessMode,
    /// It was decided when the knob was opened.
    pub(crate) set: KnobSet,
    /// Where the next read or write goes, in bytes (`f_pos`): what lseek(2) changes.
    pub position: i64,
}

impl OpenFile {
    /// The name of the knob.
    pub fn name(&self) -> &str {
        &self.name
    }
}
