//! Decisions and tests on several kernels.
#![allow(missing_docs)]

use knobgate_compiler::Degradation;
use knobgate_policy::{
    Access, CheckOptions, DecidedBy, Errno, EvalError, KnobName, PolicyFile, Source, Task, Verdict, parse,
};
use knobgate_policy_test::{DecideError, Decided, PolicyTest, PolicyTestError, Profile};

fn policy(text: &str) -> PolicyFile {
    parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy")
}

fn write(knob: &str, new: &[u8], old: &str) -> Access {
    let access = Access::write(KnobName::parse(knob).expect("a name"), new);
    Access { old: Some(old.into()), ..access }
}

fn kernel(name: &str) -> Profile {
    name.parse().expect("a profile")
}

const POLICY: &str = "policy p
default read allow
default write deny
deny(EROFS) write kernel.core_pattern
clamp write net.core.somaxconn to 128..65535
ignore write kernel.printk
clamp write net.ipv4.tcp_rmem to [1..9, 1..9, 1..9]
allow write vm.max_map_count if old <= new
allow write kernel.hostname if uid == 1000 and comm == \"x\" and pos == 4
";

/// Every verdict on several kernels. What a kernel cannot do is denied.
#[test]
fn accesses_are_decided_as_the_kernel_would() {
    let (set, errno) = (|text: &str| Verdict::Rewrite(text.into()), Verdict::Deny);
    let clamped = ("net.core.somaxconn", "9999999\n", "4096\n");
    let ignored = ("kernel.printk", "7 7 7 7\n", "4\t4\t1\t7\n");
    let vector = ("net.ipv4.tcp_rmem", "5 99 1\n", "1\t1\t1\n");
    let cases = [
        ("6.18", ("kernel.core_pattern", "x", "core\n"), errno(Errno::EROFS), DecidedBy::Rule(0)),
        ("5.15", ("kernel.core_pattern", "x", "core\n"), errno(Errno::EPERM), DecidedBy::Rule(0)),
        ("7.2", clamped, set("65535\n\n\n"), DecidedBy::Rule(1)),
        ("5.10", clamped, set("65535\n\n\n"), DecidedBy::Rule(1)),
        ("6.8", clamped, errno(Errno::EPERM), DecidedBy::Rule(1)),
        ("6.18", ignored, set("4\t4\t1\t7\n"), DecidedBy::Rule(2)),
        ("6.12.94", ignored, errno(Errno::EPERM), DecidedBy::Rule(2)),
        ("5.15", vector, set("5 9 1\n\n"), DecidedBy::Rule(3)),
        ("5.10", vector, errno(Errno::EPERM), DecidedBy::Rule(3)),
        ("6.18", ("vm.max_map_count", "7", "7\n"), Verdict::Allow, DecidedBy::Rule(4)),
        (
            "6.18",
            ("vm.max_map_count", "x", "7\n"),
            errno(Errno::EINVAL),
            DecidedBy::EvalError { rule: 4, error: EvalError::NotNumbers(knobgate_policy::Value::New) },
        ),
    ];
    let policy =
        POLICY.replace("allow write kernel.hostname if uid == 1000 and comm == \"x\" and pos == 4\n", "");
    let file = self::policy(&policy);
    for (profile, (knob, new, old), verdict, by) in cases {
        let mut test = PolicyTest::new(&file, &kernel(profile)).expect("a test");
        let decided = test.decide(&write(knob, new.as_bytes(), old)).expect("decided");
        assert_eq!((decided.verdict(), decided.decision.by), (&verdict, by), "{profile}: {knob} {new:?}");
    }
}

#[test]
fn the_reason_for_a_stricter_verdict_is_reported() {
    let file = policy(POLICY);
    let why = |profile: &str| {
        let mut test = PolicyTest::new(&file, &kernel(profile)).expect("a test");
        let access = write("net.core.somaxconn", b"9999999\n", "1");
        test.decide(&access).expect("decided").effect.degradation
    };
    assert_eq!(why("6.18"), None);
    assert_eq!(why("6.8"), Some(Degradation::RewriteIsDenied { rule: 1 }));
}

#[test]
fn the_task_and_the_position_are_those_of_the_access() {
    let file = policy(POLICY);
    let mut test = PolicyTest::new(&file, &Profile::default()).expect("a test");
    let task = Task::default().uid(1000).gid(7).comm("x");
    let access = Access { pos: 4, task, ..write("kernel.hostname", b"h", "g") };
    let verdict = |decided: Result<Decided, DecideError>| decided.expect("decided").verdict().clone();
    assert_eq!(verdict(test.decide(&access)), Verdict::Allow);
    let others = [
        Access { pos: 5, ..access.clone() },
        Access { task: access.task.clone().uid(0), ..access.clone() },
        Access { task: access.task.clone().comm("y"), ..access.clone() },
    ];
    for other in others {
        assert_eq!(verdict(test.decide(&other)), Verdict::Deny(Errno::EPERM), "{other:?}");
    }
}

#[test]
fn all_values_reach_the_policy() {
    let file = policy("policy p\ndefault write deny\nallow write a.b if old == \"x\"\nallow read ** nolog\n");
    let mut test = PolicyTest::new(&file, &Profile::default()).expect("a test");
    let knob = KnobName::parse("a.b").expect("a name");
    let olds: [Option<Vec<u8>>; 6] = [
        None,
        Some(vec![]),
        Some(b"x".to_vec()),
        Some(vec![0, 1, 0xff]),
        Some(vec![b'7'; 4095]),
        Some(vec![9; 9999]),
    ];
    for old in olds {
        for new in [None, Some(vec![]), Some(b"\0\xff\n".to_vec()), Some(vec![b'1'; 9000])] {
            let access = Access { new, old: old.clone(), ..Access::read(knob.clone()) };
            test.decide(&access).unwrap_or_else(|why| panic!("{access:?}: {why}"));
        }
    }
}

#[test]
fn accesses_do_not_affect_each_other() {
    let file = policy(POLICY);
    let mut test = PolicyTest::new(&file, &Profile::default()).expect("a test");
    // The second name is below the first.
    for knob in ["net.core", "net.core.somaxconn", "net.core"] {
        let decided = test.decide(&write(knob, b"500", "4096\n")).expect("decided");
        assert_eq!(*decided.verdict() == Verdict::Allow, knob == "net.core.somaxconn");
    }
}

#[test]
fn accesses_that_reach_no_program_have_no_decision() {
    let file = policy(POLICY);
    let mut test = PolicyTest::new(&file, &Profile::default()).expect("a test");
    let access = write("kernel.hostname", b"x", "y");
    let far = Access { pos: u64::MAX, ..access.clone() };
    assert!(matches!(test.decide(&far), Err(DecideError::NotAsked(knobgate_hook::Errno::EINVAL))));
    let nearly = Access { pos: i64::MAX as u64, ..access.clone() };
    assert!(matches!(test.decide(&nearly), Err(DecideError::NotAsked(knobgate_hook::Errno::EINVAL))));
    let large = write("kernel.hostname", &vec![b'x'; 4 << 20], "y");
    assert!(matches!(test.decide(&large), Err(DecideError::NotAsked(knobgate_hook::Errno::ENOMEM))));
    let up = Access { knob: KnobName::from_path("kernel/../x").expect("a name"), ..access.clone() };
    assert!(matches!(test.decide(&up), Err(DecideError::NoSuchName)));
    let bytes = Access { knob: KnobName::from_path(&b"kernel/\xff"[..]).expect("a name"), ..access };
    assert!(matches!(test.decide(&bytes), Err(DecideError::NameNotUtf8)));
}

#[test]
fn tests_of_a_policy_in_audit_mode_check_its_decisions() {
    let file = policy(
        "policy p\nmode audit\nclamp write vm.swappiness to 0..60\n\
         test \"t\" {\n  write vm.swappiness \"100\\n\" => set \"60\\n\\n\"\n  write vm.x \"1\" => deny EPERM\n}\n",
    );
    let report = PolicyTest::new(&file, &Profile::default()).expect("a test").run_tests();
    assert!(report.passed(), "{report}");
}

#[test]
fn a_failed_step_has_its_line_and_verdict() {
    let file = policy(
        "policy p\nallow write vm.swappiness\n\n\
         test \"good\" {\n  read vm.swappiness => allow\n}\n\
         test \"bad\" {\n  write vm.swappiness \"1\" => allow\n  write vm.swappiness \"1\" => deny EPERM\n}\n",
    );
    let report = PolicyTest::new(&file, &Profile::default()).expect("a test").run_tests();
    assert!(!report.passed());
    assert_eq!(
        report.tests.iter().map(knobgate_policy_test::TestOutcome::passed).collect::<Vec<_>>(),
        [true, false]
    );
    assert_eq!(report.to_string(), "p.knob:9: \"bad\" expects deny EPERM, but it is allow\n");
}

#[test]
fn a_policy_that_a_kernel_does_not_support_is_an_error() {
    let comm = policy("policy p\nallow write ** if comm == \"x\"\n");
    assert!(matches!(PolicyTest::new(&comm, &kernel("5.15")), Err(PolicyTestError::Compile { .. })));
    assert!(matches!(PolicyTest::new(&comm, &kernel("5.4")), Err(PolicyTestError::NoLinks(_))));
}
