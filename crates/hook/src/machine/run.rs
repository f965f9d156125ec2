//! Running a loaded program on one access.

use std::error::Error;

use super::fault::Fault;
use super::interpreter::Interpreter;
use super::loaded_program::LoadedProgram;
use super::run_env::RunEnv;
use super::trace::Tracer;
use crate::hook_program::HookProgram;
use crate::{CgroupStorage, Invocation};

/// Options for a run.
#[derive(Default)]
pub struct RunOptions<'t> {
    /// How many instructions may run, including callbacks. `None` is the verifier's limit for a path, a million. The
    /// verifier follows a callback or a `may_goto` only a few times, however often it is taken, so there is another million
    /// as long as helpers keep calling back and a function has not used up its 8,388,608 rounds with `may_goto`. (On x86-64
    /// since 6.15 a function has a quarter of a second for these rounds instead, however many that are.) After four times as
    /// many rounds in one run, as in loops inside of loops, the run is stopped.
    pub budget: Option<u64>,
    /// Clocks, random numbers, the processor.
    pub env: RunEnv,
    /// Sees every instruction.
    pub tracer: Option<&'t mut dyn Tracer>,
}

impl LoadedProgram {
    /// Runs the program on one access, and returns its return value: 0 or 1. It changes `invocation` as the kernel's
    /// program would change the access.
    ///
    /// # Errors
    ///
    /// The program did something that the kernel's verifier would have rejected, or did not end within the budget, or the
    /// kernel would crash. Its effects until then remain.
    pub fn run(&self, invocation: &mut Invocation<'_>, options: &mut RunOptions<'_>) -> Result<u64, Fault> {
        let tracer = options.tracer.as_mut().map(|tracer| &mut **tracer as &mut dyn Tracer);
        Interpreter::new(self, invocation, &mut options.env, tracer).run(options.budget)
    }
}

impl HookProgram for LoadedProgram {
    fn run(&self, invocation: &mut Invocation<'_>) -> Result<u64, Box<dyn Error + Send + Sync>> {
        Ok(LoadedProgram::run(self, invocation, &mut RunOptions::default())?)
    }

    fn cgroup_storage(&self) -> Option<CgroupStorage> {
        Some(self.0.storage.clone())
    }

    fn bytecode(&self) -> Option<&LoadedProgram> {
        Some(self)
    }
}
