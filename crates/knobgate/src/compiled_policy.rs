//! From a policy to a program that the running kernel holds.

use knobgate_bpf::Program;
use knobgate_compiler::{CompileError, EventOptions, PolicySource, compile, compile_with_events};
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
        Self::compile_as(policy.into(), false)
    }

    /// The same for a policy that only observes: it allows everything, and logs. Others do not see its events.
    ///
    /// # Errors
    ///
    /// Those of [`compile`](Self::compile).
    pub fn observer<'a>(policy: impl Into<PolicySource<'a>>) -> Result<Self, CompileError> {
        Self::compile_as(policy.into(), true)
    }

    fn compile_as(policy: PolicySource<'_>, observer: bool) -> Result<Self, CompileError> {
        // If a privilege or feature is missing for probing, loading fails for the same reason, with a better message.
        let probes = probe_cached();
        let features = probes.features();
        let compiled = match probes.event_features() {
            Some(events) => {
                compile_with_events(policy.clone(), &features, &EventOptions { features: events, observer })
            }
            None => compile(policy.clone(), &features),
        };
        let (program, degradations) = compiled?.into_parts();
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
