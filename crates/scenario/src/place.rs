//! Where a scenario can be played.

use std::error::Error;

use crate::scenario::MapPlace;

/// Something that does what the steps of one scenario say. Programs, cgroups, attachments and descriptors are told by
/// their indexes in the scenario.
pub(crate) trait Place {
    /// Loads a program. Returns what it does more strictly than the policy that it is made from says.
    fn load(&mut self, program: usize) -> Answer<Vec<String>>;

    /// Attaches a program, which has been loaded. An anchor has been attached before.
    fn attach(&mut self, attachment: usize) -> Answer<()>;

    /// Puts another program, which has been loaded, in the place of that of a link, which has been made.
    fn update(&mut self, attachment: usize, program: usize) -> Answer<()>;

    /// Detaches what has been attached.
    fn detach(&mut self, attachment: usize) -> Answer<()>;

    /// The programs that run for a cgroup.
    fn effective(&mut self, cgroup: usize) -> Answer<Vec<usize>>;

    /// Opens a descriptor, as a process in `cgroup`.
    fn open(&mut self, file: usize, cgroup: usize) -> Answer<()>;

    /// Moves an open descriptor.
    fn seek(&mut self, file: usize, position: i64) -> Answer<()>;

    /// Reads from an open descriptor, as a process in `cgroup`, into a buffer of zeros.
    fn read(&mut self, file: usize, cgroup: usize, count: usize) -> Answer<Outcome>;

    /// Writes to an open descriptor, as a process in `cgroup`.
    fn write(&mut self, file: usize, cgroup: usize, data: &[u8]) -> Answer<Outcome>;

    /// Closes an open descriptor.
    fn close(&mut self, file: usize);

    /// The value of a knob, read by a process outside of the scenario's cgroups.
    fn value(&mut self, knob: usize) -> Answer<Option<Vec<u8>>>;

    /// The entries of a map. Those of a ring buffer are taken out.
    fn entries(&mut self, map: MapPlace) -> Answer<Vec<(Vec<u8>, Vec<u8>)>>;

    /// Puts everything back, for good.
    fn finish(&mut self) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// What came of a read or a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What the system call returned.
    pub(crate) returned: i64,
    /// What is in the reader's buffer, as much as was read.
    pub(crate) data: Vec<u8>,
    /// The position of the descriptor afterwards.
    pub(crate) position: i64,
}

pub(crate) type Answer<T> = Result<T, Refusal>;

/// Why there is nothing else to say of a step.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The system call failed.
    Errno(i32),
    /// The program is refused.
    Load { errno: Option<i32>, log: Refused },
    /// A program did what the kernel's verifier would not have let it do.
    Fault(String),
    /// The kernel would crash. On the model alone; the running kernel is not let do that.
    Crash(String),
    /// It cannot go on.
    #[cfg_attr(not(feature = "kernel"), expect(dead_code, reason = "the model does not break"))]
    Broken(Box<dyn Error + Send + Sync>),
}

/// Why a program is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// In words that are the same in all places.
    pub(crate) reason: String,
    /// All that the place says.
    pub(crate) full: String,
}
