//! From a policy to a program that the running kernel holds.

use knobgate_bpf::{MapDef, Program};
use knobgate_compiler::{CompileError, EventOptions, PolicySource, compile, compile_with_events};
use knobgate_kernel::{LoadError, LoadOptions, LoadedProgram, Map, create_map, load_with_maps, probe_cached};

use crate::attachments::Attachments;
use crate::events::EventReaders;
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
    /// Use [`Attachments::load`] for an attachment that may exist already.
    ///
    /// # Errors
    ///
    /// Those of [`load_with_maps`].
    pub fn load(&self) -> Result<LoadedProgram, LoadError> {
        // Where there are none yet, the program has its own.
        let readers = Attachments::open().ok().flatten().and_then(|attachments| attachments.pinned_readers());
        self.load_sharing(readers.as_ref(), &[])
    }

    /// Loads the program with these places for readers, and those of these maps that it has a definition for.
    pub(crate) fn load_sharing(
        &self,
        readers: Option<&EventReaders>,
        memory: &[Map],
    ) -> Result<LoadedProgram, LoadError> {
        let map = |def: &MapDef| {
            let shared = readers.and_then(|readers| readers.map(&def.name));
            let remembered = memory.iter().find(|map| map.info().name == def.name);
            match shared.or(remembered) {
                Some(map) => {
                    map.try_clone().map_err(|source| LoadError::MapContents { map: def.name.clone(), source })
                }
                None => create_map(&self.program.name, def),
            }
        };
        let maps = self.program.maps.iter().map(map).collect::<Result<Vec<Map>, LoadError>>()?;
        load_with_maps(&self.program, maps, &LoadOptions::default())
    }
}
