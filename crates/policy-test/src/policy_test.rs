//! One policy on the hook of one kernel.

use knobgate_compiler::{Compiled, Degradation, Effect, RULE_HITS_MAP, RuleHits, compile};
use knobgate_hook::attach::Options;
use knobgate_hook::{
    AccessMode, AccessResult, Hook, Knob, KnobSet, Knobs, LoadOptions, LoadedProgram, Namespaces, Process,
    ProcessId, Profile, ProgramFault, VALUE_BYTES,
};
use knobgate_policy::{Access, Errno, KnobNetns, Mode, PolicyFile, Verdict, evaluate};

use crate::fake_knob::{FakeKnob, Recorded};
use crate::mismatch::{Mismatch, ProgramOutcome};
use crate::{DecideError, Decided, PolicyTestError, TestOutcome, TestReport};

/// A policy that is compiled for a kernel and attached to that kernel's hook in user space.
pub struct PolicyTest<'f> {
    file: &'f PolicyFile,
    compiled: Compiled,
    program: LoadedProgram,
    hook: Hook,
    /// Runs as root, whatever user the policy sees.
    process: ProcessId,
}

impl<'f> PolicyTest<'f> {
    /// Compiles the policy for the kernel of `profile`, and attaches it there.
    ///
    /// # Errors
    ///
    /// [`PolicyTestError`]: it needs something that the kernel does not have, or it is too large.
    pub fn new(file: &'f PolicyFile, profile: &Profile) -> Result<Self, PolicyTestError> {
        let profile = *profile;
        if !profile.links {
            return Err(PolicyTestError::NoLinks(profile));
        }
        let compiled = compile(file, &profile.features())
            .map_err(|source| PolicyTestError::Compile { profile, source })?;
        Self::of(file, compiled, profile)
    }

    /// The same with a compiled program, for tests of the compiler.
    ///
    /// # Errors
    ///
    /// [`PolicyTestError`]: the kernel does not accept it.
    #[doc(hidden)]
    pub fn of(file: &'f PolicyFile, compiled: Compiled, profile: Profile) -> Result<Self, PolicyTestError> {
        let program = LoadedProgram::load(compiled.program(), &profile, &LoadOptions::default())
            .map_err(|source| PolicyTestError::Rejected { profile, source: Box::new(source) })?;
        let mut hook = Hook::new(profile, Knobs::new());
        let not_attached = |errno| PolicyTestError::NotAttached { profile, errno };
        let attached = hook.load(program.clone());
        hook.link(hook.root(), attached, Options::default()).map_err(not_attached)?;
        let process = hook.spawn(hook.root(), Process::default()).map_err(not_attached)?;
        Ok(Self { file, compiled, program, hook, process })
    }

    /// The kernel.
    pub fn profile(&self) -> &Profile {
        self.hook.profile()
    }

    /// Where the program is stricter than the policy, because of the kernel.
    pub fn degradations(&self) -> &[Degradation] {
        self.compiled.degradations()
    }

    /// Decides one access. The knob holds [`Access::old`] before it, so accesses do not affect each other.
    ///
    /// # Errors
    ///
    /// [`DecideError`]: no program runs for such an access, or there is a mismatch.
    pub fn decide(&mut self, access: &Access) -> Result<Decided, DecideError> {
        let decision = evaluate(self.file.policy(), &self.compiled.seen(access));
        let effect = self.compiled.effect(&decision);
        let expected = self.expected(access, &effect);
        let found = match self.perform(access)? {
            Ok(outcome) if outcome == expected => return Ok(Decided { decision, effect }),
            Ok(outcome) => Ok(outcome),
            Err(fault) => Err(format!("{fault}: {}", fault.source)),
        };
        let (profile, access) = (*self.profile(), access.clone());
        Err(DecideError::Mismatch(Box::new(Mismatch { profile, access, decision, expected, found })))
    }

    /// Runs one of the policy's tests.
    ///
    /// # Panics
    ///
    /// There is no test of this index.
    pub fn run_test(&mut self, test: usize) -> TestOutcome {
        let file = self.file;
        let steps = &file.policy().tests()[test].steps;
        TestOutcome::of(file, test, steps.iter().map(|step| self.decide(step.access())))
    }

    /// Runs all tests of the policy.
    pub fn run_tests(&mut self) -> TestReport {
        TestReport { tests: (0..self.file.policy().tests().len()).map(|test| self.run_test(test)).collect() }
    }

    /// The expected outcome.
    fn expected(&self, access: &Access, effect: &Effect) -> ProgramOutcome {
        let verdict = match self.file.policy().mode() {
            Mode::Enforce => &effect.verdict,
            Mode::Audit => &Verdict::Allow,
        };
        let (returned, written) = match (verdict, &access.new) {
            (Verdict::Deny(errno), _) => (errno.returned(), None),
            (Verdict::Rewrite(value), _) => (value.len() as i64, Some(value.clone())),
            (Verdict::Allow, Some(new)) => (new.len() as i64, Some(new.clone())),
            (Verdict::Allow, None) => match &access.old {
                Some(old) => (old.len().min(VALUE_BYTES) as i64, None),
                None => (Errno::EIO.returned(), None),
            },
        };
        ProgramOutcome { returned, written, counted: vec![effect.counter] }
    }

    /// Makes the access.
    fn perform(&mut self, access: &Access) -> Result<Result<ProgramOutcome, ProgramFault>, DecideError> {
        let name = str::from_utf8(access.knob.as_bytes()).map_err(|_| DecideError::NameNotUtf8)?;
        let position = i64::try_from(access.pos).map_err(|_| DecideError::NotAsked(Errno::EINVAL))?;
        let recorded = Recorded::default();
        let knob = Knob::new(FakeKnob { value: access.old.clone(), recorded: recorded.clone() });
        let knob = Knob { set: set_of(access), ..knob };
        self.hook.knobs.add(name, knob).map_err(|_| DecideError::NoSuchName)?;
        let before = self.rule_hits();
        let outcome = self.system_call(name, access, position);
        self.hook.knobs.remove(name);
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(fault) => return Ok(Err(fault)),
        };
        if outcome.filter.is_none() {
            let errno = outcome.errno().unwrap_or(Errno::EIO);
            return Err(DecideError::NotAsked(errno));
        }
        let counted = RuleHits::incremented(&before, &self.rule_hits());
        Ok(Ok(ProgramOutcome { returned: outcome.returned, written: recorded.take(), counted }))
    }

    fn system_call(
        &mut self,
        name: &str,
        access: &Access,
        position: i64,
    ) -> Result<AccessResult, ProgramFault> {
        let task = &access.task;
        let changed = self.hook.change_process(self.process, |process| {
            (process.task.uid, process.task.gid) = (task.uid, task.gid);
            process.task.comm.clone_from(&task.comm);
        });
        let file = match changed.and_then(|()| self.hook.open(self.process, name, AccessMode::ReadWrite)) {
            Ok(file) => file,
            Err(errno) => return Ok(AccessResult::failed(errno)),
        };
        match &access.new {
            Some(new) => self.hook.pwrite(self.process, &file, new, position),
            None => self.hook.pread(self.process, &file, VALUE_BYTES, position),
        }
    }

    fn rule_hits(&self) -> Vec<RuleHits> {
        let value = self.program.map(RULE_HITS_MAP).and_then(|map| map.lookup(&[0; 4]));
        RuleHits::in_value(&value.unwrap_or_default())
    }
}

/// A network namespace that is not the host's.
const OTHER_NETNS: u32 = 0xf000_0123;

/// The set that the knob of an access is in; `None` for that of a knob which is no network namespace's.
fn set_of(access: &Access) -> Option<KnobSet> {
    access.knob.is_below_net().then(|| match access.knob_netns {
        Some(KnobNetns::Host) => KnobSet::OfNet(Namespaces::default().net),
        Some(KnobNetns::Other) => KnobSet::OfNet(OTHER_NETNS),
        None => KnobSet::Unreadable,
    })
}

#[cfg(test)]
mod tests {
    use knobgate_policy::{CheckOptions, KnobName, Source, parse};

    use super::*;

    fn policy(rules: &str) -> PolicyFile {
        let text = format!("policy p\ndefault write deny\n{rules}");
        parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy")
    }

    #[test]
    fn a_program_of_another_policy_is_a_mismatch() {
        let file = policy("clamp write vm.swappiness to ..60\nallow write vm.laptop_mode\n");
        let others = [
            "clamp write vm.swappiness to ..61\nallow write vm.laptop_mode\n",
            "allow write vm.laptop_mode\nclamp write vm.swappiness to ..60\n",
            "clamp write vm.swappiness to ..60\ndeny write vm.laptop_mode\n",
        ];
        let profile = Profile::default();
        let access =
            |knob, value: &str| Access::write(KnobName::parse(knob).expect("a name"), value.as_bytes());
        for other in others {
            let other = policy(other);
            let compiled = compile(&other, &profile.features()).expect("a program");
            let mut test = PolicyTest::of(&file, compiled, profile).expect("a test");
            let decided = [access("vm.swappiness", "99"), access("vm.laptop_mode", "1")]
                .map(|access| test.decide(&access).map_err(|why| why.to_string()));
            let found: Vec<_> = decided.iter().filter_map(|decided| decided.as_ref().err()).collect();
            assert!(!found.is_empty(), "{}", other.source().text());
            assert!(found.iter().all(|why| why.contains("the program should have returned")), "{found:?}");
        }
    }
}
