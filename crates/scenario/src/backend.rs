//! What a scenario can be played on: the model of the kernel, or the running kernel.

use std::error::Error;

use crate::scenario::MapRef;

/// Performs the steps of one scenario. Programs, cgroups, attachments and descriptors are given as their indexes in the
/// scenario.
pub(crate) trait Backend {
    /// Loads a program. Returns where it is stricter than the policy that it was compiled from.
    fn load(&mut self, program: usize) -> StepResult<Vec<String>>;

    /// Attaches a program, which is loaded. Its anchor is attached.
    fn attach(&mut self, attachment: usize) -> StepResult<()>;

    /// Replaces the program of a link, which is attached, with another one, which is loaded.
    fn update(&mut self, attachment: usize, program: usize) -> StepResult<()>;

    /// Detaches an attachment.
    fn detach(&mut self, attachment: usize) -> StepResult<()>;

    /// The programs that run for a cgroup.
    fn effective(&mut self, cgroup: usize) -> StepResult<Vec<usize>>;

    /// Opens a descriptor, as a process in `cgroup`.
    fn open(&mut self, file: usize, cgroup: usize) -> StepResult<()>;

    /// Moves an open descriptor.
    fn seek(&mut self, file: usize, position: i64) -> StepResult<()>;

    /// Reads from an open descriptor, as a process in `cgroup`, into a buffer of zeros.
    fn read(&mut self, file: usize, cgroup: usize, count: usize) -> StepResult<SyscallResult>;

    /// Writes to an open descriptor, as a process in `cgroup`.
    fn write(&mut self, file: usize, cgroup: usize, data: &[u8]) -> StepResult<SyscallResult>;

    /// Closes an open descriptor.
    fn close(&mut self, file: usize);

    /// The value of a knob, read by a process outside of the scenario's cgroups.
    fn value(&mut self, knob: usize) -> StepResult<Option<Vec<u8>>>;

    /// The entries of a map. Those of a ring buffer are taken out.
    fn entries(&mut self, map: MapRef) -> StepResult<Vec<(Vec<u8>, Vec<u8>)>>;

    /// Restores everything, at the end.
    fn finish(&mut self) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// The result of a read or a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyscallResult {
    /// What the system call returned.
    pub(crate) returned: i64,
    /// What is in the reader's buffer, as much as was read.
    pub(crate) data: Vec<u8>,
    /// The position of the descriptor afterwards.
    pub(crate) position: i64,
}

pub(crate) type StepResult<T> = Result<T, StepError>;

/// Why a step has no result.
#[derive(Debug)]
pub(crate) enum StepError {
    /// The system call failed.
    Errno(i32),
    /// The program is rejected.
    Rejected { errno: Option<i32>, log: RejectionLog },
    /// A program did something that the kernel's verifier would have rejected.
    Fault(String),
    /// The kernel would crash. On the model alone; such a step is never performed on the running kernel.
    Crash(String),
    /// The backend has failed.
    #[cfg_attr(not(feature = "kernel"), expect(dead_code, reason = "the model does not fail"))]
    Backend(Box<dyn Error + Send + Sync>),
}

/// Why a program is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RejectionLog {
    /// The reason, in the same words on every backend.
    pub(crate) reason: String,
    /// The whole message of the backend.
    pub(crate) full: String,
}
