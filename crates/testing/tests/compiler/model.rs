//! The third party: the same program on the model of the hook.

use knobgate_bpf::RULE_HITS_MAP;
use knobgate_compiler::Compiled;
use knobgate_hook::{Invocation, LoadOptions, LoadedProgram, Profile, RunOptions, Task};
use knobgate_policy::{Access, Errno, Verdict};

/// A compiled policy on the model.
pub(crate) struct OnModel {
    program: LoadedProgram,
    profile: Profile,
}

impl OnModel {
    pub(crate) fn load(compiled: &Compiled) -> Result<Self, String> {
        let profile = knobgate_testing::profile();
        let program = LoadedProgram::load(&compiled.program, &profile, &LoadOptions::default())
            .map_err(|rejection| format!("the model rejects it: {rejection}"))?;
        Ok(Self { program, profile })
    }

    /// What it says of `access`.
    pub(crate) fn decide(&self, access: &Access) -> Result<Verdict, String> {
        let name = String::from_utf8_lossy(access.knob.as_bytes());
        let old = access.old.clone().unwrap_or_default();
        let (uid, gid, comm) = (access.task.uid, access.task.gid, access.task.comm.clone());
        let task = Task { uid, gid, comm, ..Task::default() };
        let mut invocation = match &access.new {
            Some(new) => Invocation::write(&name, &old, new, &task, &self.profile),
            None => Invocation::read(&name, &old, &task, &self.profile),
        };
        invocation.position = access.pos as i64;
        let allows = self
            .program
            .run(&mut invocation, &mut RunOptions::default())
            .map_err(|fault| fault.to_string())?;
        let errno = if invocation.retval == 0 { 1 } else { invocation.retval.unsigned_abs() };
        match (allows, invocation.replacement()) {
            (0, _) => Errno::from_number(errno).map(Verdict::Deny).ok_or_else(|| format!("errno {errno}")),
            (_, Some(replacement)) => Ok(Verdict::Rewrite(replacement.to_vec())),
            (_, None) => Ok(Verdict::Allow),
        }
    }

    /// How often each entry has decided, and could not be evaluated.
    pub(crate) fn counters(&self) -> Vec<[u64; 2]> {
        let map = self.program.map(RULE_HITS_MAP).expect("every program has it");
        let value = map.lookup(&[0; 4]).expect("has its one entry");
        let counters: Vec<u64> = value.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect();
        counters.as_chunks().0.to_vec()
    }
}
