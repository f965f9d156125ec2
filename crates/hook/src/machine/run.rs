//! Running a loaded program on one access.

use std::error::Error;

use super::fault::Fault;
use super::interpreter::Interpreter;
use super::loaded_program::LoadedProgram;
use super::run_env::RunEnv;
use super::trace::Tracer;
use crate::hook_program::HookProgram;
use crate::{CgroupStorage, Invocation};

/// What a run is given, other than the access.
#[derive(Default)]
pub struct RunOptions<'t> {
    /// How many instructions may run, those included that helpers call back. `None` is what the kernel's verifier follows
    /// of a path, a million; since it follows a callback once, however often it is called, there is a million more as
    /// long as helpers keep calling back.
    pub budget: Option<u64>,
    /// Clocks, random numbers, the processor.
    pub env: RunEnv,
    /// Sees every instruction.
    pub tracer: Option<&'t mut dyn Tracer>,
}

impl LoadedProgram {
    /// Runs on one access, and returns what the program returns: 0 or 1. What it does to the access is in
    /// `invocation` afterwards.
    ///
    /// # Errors
    ///
    /// Where the program does what the verifier would not have let it do, or does not end within the budget, or the kernel
    /// would crash. What it did until then stays.
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
}
