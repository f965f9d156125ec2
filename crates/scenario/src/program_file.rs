//! The files that the programs of a scenario come from.

/// The file that a program comes from, as the scenario names it: relative to the scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramFile {
    /// An object.
    Object {
        /// The file.
        path: String,
        /// The name of the program in the object.
        program: String,
        /// The variables that are set, with their values as [`Object::set`](knobgate_bpf::Object::set) reads them.
        set: Vec<(String, String)>,
    },
    /// A policy.
    Policy {
        /// The file.
        path: String,
    },
}
