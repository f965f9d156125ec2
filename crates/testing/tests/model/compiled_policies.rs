//! Compiled policies on the machine against [`evaluate`](knobgate_policy::evaluate()): random policies, random accesses,
//! and no difference in verdict, errno, replaced value or counters.

use knobgate_bpf::{Object, Program, write_object};
use knobgate_compiler::{RULE_HITS_MAP, RuleHits, compile};
use knobgate_hook::{
    Invocation, KnobSet, LoadOptions, LoadedProgram, Namespaces, Profile, Task, VALUE_BYTES,
};
use knobgate_policy::{CheckOptions, Errno, KnobNetns, Mode, Source, Verdict, evaluate, parse, print};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const POLICIES: u64 = 60;
const ACCESSES: u64 = 60;

/// A network namespace that is not the host's.
const OTHER_NETNS: u32 = 0xf000_0123;

fn rule_hits(program: &LoadedProgram) -> Vec<RuleHits> {
    // In an object it is a section of data.
    let map = program.map(RULE_HITS_MAP).or_else(|| program.map(".data.rule_hits"));
    RuleHits::in_value(&map.expect("every program has it").lookup(&[0; 4]).expect("one entry"))
}

/// How a program is loaded.
type Way = fn(Program) -> Program;

/// Directly from the compiler.
fn straight(program: Program) -> Program {
    program
}

/// From an object file.
fn through_an_object(program: Program) -> Program {
    let bytes = write_object(&program).unwrap_or_else(|error| panic!("{error}"));
    let object = Object::read(&bytes).unwrap_or_else(|error| panic!("{error}"));
    object.program(None).unwrap_or_else(|error| panic!("{error}"))
}

fn agree(way: Way, profile: &str) {
    let profile: Profile = profile.parse().expect("a profile");
    let features = profile.features();
    let mut runner = TestRunner::deterministic();
    let (mut denied, mut rewritten, mut allowed) = (0, 0, 0);
    for _ in 0..POLICIES {
        let policy = knobgate_arbitrary::policy().new_tree(&mut runner).expect("a policy").current();
        let text = print(&policy);
        let file = parse(Source::new("random.knob", text.as_str()), &CheckOptions::default()).expect("valid");
        let Ok(compiled) = compile(&file, &features) else { continue };
        let program = way(compiled.program().clone());
        let program = LoadedProgram::load(&program, &profile, &LoadOptions::default())
            .unwrap_or_else(|rejection| panic!("{rejection}\n{text}\n{}", compiled.program().listing()));
        for _ in 0..ACCESSES {
            let mut access =
                knobgate_arbitrary::access(&policy).new_tree(&mut runner).expect("an access").current();
            access.task.comm.retain(|byte| *byte != 0);
            access.task.comm.truncate(15);
            let Ok(name) = std::str::from_utf8(access.knob.as_bytes()) else { continue };
            let mut old = access.old.clone().unwrap_or_default();
            old.truncate(VALUE_BYTES);
            let (uid, gid, comm) = (access.task.uid, access.task.gid, access.task.comm.clone());
            let task = Task { uid, gid, comm, ..Task::default() };
            let mut invocation = match &access.new {
                Some(new) => Invocation::write(name, &old, new, &task, &profile),
                None => Invocation::read(name, &old, &task, &profile),
            };
            invocation.position = access.pos as i64;
            if access.knob.is_below_net() {
                invocation.set = match access.knob_netns {
                    Some(KnobNetns::Host) => KnobSet::OfNet(Namespaces::default().net),
                    Some(KnobNetns::Other) => KnobSet::OfNet(OTHER_NETNS),
                    None => KnobSet::Unreadable,
                };
            }
            let before = rule_hits(&program);
            let returned =
                program.run(&mut invocation, &mut knobgate_hook::RunOptions::default()).unwrap_or_else(
                    |fault| panic!("{fault}\n{text}\n{access:?}\n{}", compiled.program().listing()),
                );
            let effect = compiled.effect(&evaluate(&policy, &compiled.seen(&access)));
            let expected = if policy.mode() == Mode::Audit { Verdict::Allow } else { effect.verdict };
            let errno = if invocation.retval != 0 { -invocation.retval } else { 1 };
            let got = match (returned, invocation.replacement()) {
                (0, _) => Verdict::Deny(Errno::from_number(errno as u32).expect("a known errno")),
                (_, Some(replacement)) => Verdict::Rewrite(replacement.to_vec()),
                (_, None) => Verdict::Allow,
            };
            assert_eq!(got, expected, "{text}\n{access:?}");
            if matches!(got, Verdict::Rewrite(_)) {
                assert_eq!(invocation.after_new_value().first(), Some(&0), "the replacement is terminated");
            }
            let counted = RuleHits::incremented(&before, &rule_hits(&program));
            assert_eq!(counted, [effect.counter], "{text}\n{access:?}");
            match got {
                Verdict::Deny(_) => denied += 1,
                Verdict::Rewrite(_) => rewritten += 1,
                Verdict::Allow => allowed += 1,
            }
        }
    }
    println!("{denied} denied, {rewritten} rewritten, {allowed} allowed");
    assert!(denied > 500 && allowed > 500, "the accesses are too similar to show anything");
    assert!(rewritten > 10 || !features.set_new_value);
}

#[test]
fn programs_for_the_newest_kernels_decide_as_evaluate_does() {
    agree(straight, "7.2");
}

#[test]
fn programs_for_the_oldest_kernels_decide_as_evaluate_does() {
    agree(straight, "5.10");
}

#[test]
fn programs_for_kernels_that_drop_replaced_values_decide_as_evaluate_does() {
    agree(straight, "6.8");
}

#[test]
fn programs_that_went_through_an_object_decide_as_evaluate_does() {
    agree(through_an_object, "7.2");
}
