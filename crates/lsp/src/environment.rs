//! What the server asks of the machine that it runs on.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use knobgate_policy::{Diagnostic, IncludeLoader, KnobName, PolicyFile};

/// What the server asks of the machine that it runs on. The crate itself reads no files and no knobs.
pub trait Environment: Debug {
    /// The knobs that this machine has, besides those that the catalogue knows; `None` if policies are for other machines. A pattern
    /// that matches no knob gets a warning.
    fn knobs(&self) -> Option<Vec<KnobName>>;

    /// The value of a knob of this machine.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn value(&self, knob: &KnobName) -> Result<Vec<u8>, String>;

    /// What is wrong with a policy that has no errors in its language: why it cannot be compiled.
    fn check(&self, file: &PolicyFile) -> Option<Diagnostic>;

    /// The files that the policy in the file at `policy` includes.
    fn files(&self, policy: &Path) -> Box<dyn IncludeLoader>;

    /// The path of an existing file without links.
    fn canonical(&self, path: &Path) -> Option<PathBuf>;
}
