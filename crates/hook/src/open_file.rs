//! An open knob.

use crate::Wanted;

/// A knob that was opened: it can be used by any process, by which it is then judged, and not by the one that opened it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFile {
    pub(crate) name: String,
    pub(crate) opened_for: Wanted,
    /// Where the next read or write goes, in bytes (`f_pos`): what lseek(2) changes.
    pub position: i64,
}

impl OpenFile {
    /// The name of the knob.
    pub fn name(&self) -> &str {
        &self.name
    }
}
