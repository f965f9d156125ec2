//! From a policy to a program that the running kernel holds.

use knobgate_bpf::Program;
use knobgate_compiler::{CompileError, PolicySource, compile};
use knobgate_kernel::{LoadError, LoadOptions, LoadedProgram, load, probe_cached};

use crate::kernel_limit::{KernelLimit, TargetKernel};

/// A policy, compiled for the running kernel.
#[derive(Debug, Clone)]
pub struct CompiledPolicy {
    program: Program,
    limits: Vec<KernelLimit>,
}

impl CompiledPolicy {
    /// Compiles a [`Policy`](knobgate_policy::Policy), or a [`PolicyFile`](knobgate_policy::PolicyFile) with its text. What the
    /// kernel cannot do, the program denies: it is never less strict than the policy.
    ///
    /// # Errors
    ///
    /// The policy is too large, or this kernel does not support it; [`CompileError::rule`] is the rule.
    pub fn compile<'a>(policy: impl Into<PolicySource<'a>>) -> Result<Self, CompileError> {
        let policy = policy.into();
        // If a privilege or feature is missing for probing, loading fails for the same reason, with a better message.
        let probes = probe_cached();
        let (program, degradations) = compile(policy.clone(), &probes.features())?.into_parts();
        let kernel = TargetKernel::Running { rewrites: &probes.set_new_value };
        let limits =
            degradations.into_iter().map(|degradation| KernelLimit::new(degradation, &policy, &kernel));
        Ok(Self { program, limits: limits.collect() })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Where the program is stricter than the policy. Callers should report this.
    pub fn limits(&self) -> &[KernelLimit] {
        &self.limits
    }

    /// Loads the program into the kernel. It runs on no cgroup yet.
    ///
    /// # Errors
    ///
    /// Those of [`load`].
    pub fn load(&self) -> Result<LoadedProgram, LoadError> {
        load(&self.program, &LoadOptions::default())
    }
}
