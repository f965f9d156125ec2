//! Compiled policies on the machine against [`evaluate`](knobgate_policy::evaluate()): random policies, random accesses,
//! and no difference in verdict, errno, replaced value or counters.

use knobgate_bpf::{Features, Object, RULE_HITS_MAP, write_object};
use knobgate_compiler::{CompileError, Compiled, Degradation, compile};
use knobgate_hook::{Invocation, LoadOptions, LoadedProgram, Profile, Task, VALUE_BYTES};
use knobgate_policy::{
    Access, AccessKind, CheckOptions, DecidedBy, Errno, Mode, Policy, PolicyFile, Source, Unreadable,
    Verdict, arbitrary, evaluate, parse, print,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const POLICIES: u64 = 60;
const ACCESSES: u64 = 60;

/// What a policy does where the program was made for `features`.
fn verdict(
    policy: &Policy,
    access: &Access,
    features: &Features,
    compiled: &Compiled,
) -> (Verdict, DecidedBy) {
    let decision = evaluate(policy, access);
    let denied = |rule: usize| {
        compiled.degradations.iter().any(|degradation| {
            matches!(*degradation,
                Degradation::RewriteIsDenied { rule: found } | Degradation::VectorClampIsDenied { rule: found }
                    if found == rule)
        })
    };
    let verdict = match (decision.verdict, decision.by) {
        _ if policy.mode == Mode::Audit => Verdict::Allow,
        (Verdict::Deny(_), _) if !features.set_retval => Verdict::Deny(Errno::EPERM),
        (Verdict::Rewrite(_), DecidedBy::Rule(rule)) if denied(rule) => Verdict::Deny(Errno::EPERM),
        (verdict, _) => verdict,
    };
    let by = match decision.by {
        DecidedBy::Unreadable { rule, why: Unreadable::DoesNotFit { .. } }
            if compiled.degradations.contains(&Degradation::VectorClampIsDenied { rule }) =>
        {
            DecidedBy::Rule(rule)
        }
        by => by,
    };
    (verdict, by)
}

fn counters(program: &LoadedProgram) -> Vec<u64> {
    // In an object it is a section of data.
    let map = program.map(RULE_HITS_MAP).or_else(|| program.map(".data.rule_hits"));
    let value = map.expect("every program has it").lookup(&[0; 4]).expect("one entry");
    value.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
}

fn counted(by: DecidedBy, rules: usize) -> usize {
    match by {
        DecidedBy::Rule(rule) => 2 * rule,
        DecidedBy::Unreadable { rule, .. } => 2 * rule + 1,
        DecidedBy::Default(AccessKind::Read) => 2 * rules,
        DecidedBy::Default(AccessKind::Write) => 2 * (rules + 1),
    }
}

/// How a policy becomes a program.
type Compiler = fn(&PolicyFile, &Features) -> Result<Compiled, CompileError>;

/// By way of an object file.
fn through_an_object(file: &PolicyFile, features: &Features) -> Result<Compiled, CompileError> {
    let Compiled { program, degradations, verifier_steps } = compile(file, features)?;
    let bytes = write_object(&program).unwrap_or_else(|error| panic!("{error}"));
    let object = Object::read(&bytes).unwrap_or_else(|error| panic!("{error}"));
    let program = object.program(None).unwrap_or_else(|error| panic!("{error}"));
    Ok(Compiled { program, degradations, verifier_steps })
}

fn agree(compile: Compiler, features: &Features, profile: &Profile) {
    let mut runner = TestRunner::deterministic();
    let (mut denied, mut rewritten, mut allowed) = (0, 0, 0);
    for _ in 0..POLICIES {
        let policy = arbitrary::policy().new_tree(&mut runner).expect("a policy").current();
        let text = print(&policy);
        let file = parse(Source::new("random.knob", text.as_str()), &CheckOptions::default()).expect("valid");
        let Ok(compiled) = compile(&file, features) else { continue };
        let program = LoadedProgram::load(&compiled.program, profile, &LoadOptions::default())
            .unwrap_or_else(|rejection| panic!("{rejection}\n{text}\n{}", compiled.program.listing()));
        for _ in 0..ACCESSES {
            let mut access = arbitrary::access(&policy).new_tree(&mut runner).expect("an access").current();
            access.task.comm.retain(|byte| *byte != 0);
            access.task.comm.truncate(15);
            let Ok(name) = std::str::from_utf8(access.knob.as_bytes()) else { continue };
            let mut old = access.old.clone().unwrap_or_default();
            old.truncate(VALUE_BYTES);
            let (uid, gid, comm) = (access.task.uid, access.task.gid, access.task.comm.clone());
            let task = Task { uid, gid, comm, ..Task::default() };
            let mut invocation = match &access.new {
                Some(new) => Invocation::write(name, &old, new, &task, profile),
                None => Invocation::read(name, &old, &task, profile),
            };
            invocation.position = access.pos as i64;
            let before = counters(&program);
            let returned =
                program.run(&mut invocation, &mut knobgate_hook::RunOptions::default()).unwrap_or_else(
                    |fault| panic!("{fault}\n{text}\n{access:?}\n{}", compiled.program.listing()),
                );
            let (expected, by) = verdict(&policy, &access, features, &compiled);
            let errno = if invocation.retval != 0 { -invocation.retval } else { 1 };
            let got = match returned {
                0 => Verdict::Deny(Errno::from_number(errno as u32).expect("a known errno")),
                _ if invocation.replaced => Verdict::Rewrite(invocation.new.clone().unwrap_or_default()),
                _ => Verdict::Allow,
            };
            assert_eq!(got, expected, "{text}\n{access:?}");
            if matches!(got, Verdict::Rewrite(_)) {
                assert_eq!(invocation.behind_new.first(), Some(&0), "the replacement is terminated");
            }
            let mut after = before;
            after[counted(by, policy.rules.len())] += 1;
            assert_eq!(counters(&program), after, "{text}\n{access:?}\n{by:?}");
            match got {
                Verdict::Deny(_) => denied += 1,
                Verdict::Rewrite(_) => rewritten += 1,
                Verdict::Allow => allowed += 1,
            }
        }
    }
    println!("{denied} denied, {rewritten} rewritten, {allowed} allowed");
    assert!(denied > 500 && allowed > 500, "the accesses are too much alike to show anything");
    assert!(rewritten > 20 || !features.set_new_value);
}

#[test]
fn programs_for_the_newest_kernels_decide_as_evaluate_does() {
    agree(compile, &Features::ALL, &"7.2".parse().expect("a profile"));
}

#[test]
fn programs_for_the_oldest_kernels_decide_as_evaluate_does() {
    agree(compile, &Features::BASELINE, &"5.10".parse().expect("a profile"));
}

#[test]
fn programs_that_went_through_an_object_decide_as_evaluate_does() {
    agree(through_an_object, &Features::ALL, &"7.2".parse().expect("a profile"));
}
