//! Reads and writes with programs attached.

use std::sync::Mutex;

use knobgate_hook::attach::Options;
use knobgate_hook::handler::custom::Call;
use knobgate_hook::handler::{Custom, HandlerEnv};
use knobgate_hook::{
    AccessMode, AttachMode, Credentials, Errno, Hook, Invocation, Knob, Knobs, Process, ProcessId, Profile,
};

const DOMAIN: &str = "kernel/domainname";

type Verdict = Box<dyn Fn(&mut Invocation<'_>) -> u64 + Send + Sync>;

/// A hook with a process in a cgroup that has these programs.
fn with(profile: &str, programs: Vec<Verdict>) -> (Hook, ProcessId) {
    with_profile(profile.parse().unwrap(), programs)
}

fn with_profile(profile: Profile, programs: Vec<Verdict>) -> (Hook, ProcessId) {
    let mut hook = Hook::new(profile, Knobs::defaults());
    let cgroup = hook.create_cgroup(hook.root(), "g").unwrap();
    for program in programs {
        let program = hook.load(program);
        hook.attach(cgroup, program, AttachMode::Multi, Options::default()).unwrap();
    }
    let process = hook.spawn(cgroup, Process::default()).unwrap();
    (hook, process)
}

#[test]
fn all_programs_run_and_the_last_return_value_counts() {
    type Verdicts = &'static [(u64, Option<i32>)];
    // What each program returns, and sets as return value before: what the system call returns then, since 5.18 and before.
    // What is neither 0 nor an errno is a denial on some builds.
    let mut strict = Profile::LINUX_6_18;
    strict.odd_retvals_deny = true;
    let cases: &[(Verdicts, i64, i64)] = &[
        (&[(1, None), (1, None)], 1, 1),
        (&[(0, None), (1, None)], -1, -1),
        (&[(1, None), (0, None)], -1, -1),
        (&[(0, None), (1, Some(0))], 1, -1),
        (&[(1, Some(-2)), (1, None)], -2, 1),
        (&[(1, Some(-2)), (0, None)], -2, -1),
        (&[(1, Some(7))], 7, 1),
        (&[(0, Some(7))], -1, -1),
        (&[(1, Some(-5000))], -5000, 1),
        (&[(0, Some(-5000))], -1, -1),
        (&[(1, Some(7)), (1, Some(0))], 1, 1),
    ];
    for &(verdicts, since, before) in cases {
        let denied = if (-4095..=1).contains(&since) { since } else { -1 };
        for (profile, expected) in
            [("6.18".parse().unwrap(), since), ("5.15".parse().unwrap(), before), (strict, denied)]
        {
            let programs = verdicts.iter().map(|&(returned, set)| {
                Box::new(move |access: &mut Invocation<'_>| {
                    if let Some(retval) = set {
                        access.retval = retval;
                    }
                    returned
                }) as Verdict
            });
            let (mut hook, process) = with_profile(profile, programs.collect());
            let outcome = hook.write_knob(process, DOMAIN, "x").unwrap();
            assert_eq!(outcome.returned, expected, "{verdicts:?} on {profile:?}");
            assert_eq!(outcome.filter.unwrap().ran.len(), verdicts.len());
        }
    }
}

#[test]
fn a_replacement_is_written_and_its_length_returned() {
    for (profile, applied) in
        [("5.4", true), ("6.8", false), ("6.1.170", false), ("6.1.192", true), ("6.18", true)]
    {
        let (mut hook, process) = with(
            profile,
            vec![Box::new(|access| {
                access.replace_new(b"newval");
                1
            })],
        );
        let mut file = hook.open(process, DOMAIN, AccessMode::Write).unwrap();
        let outcome = hook.write(process, &mut file, b"hello").unwrap();
        let stored = if applied { "newval\n" } else { "hello\n" };
        assert_eq!(outcome.returned, if applied { 6 } else { 5 }, "{profile}");
        assert_eq!(file.position, outcome.returned, "{profile}");
        assert_eq!(outcome.filter.unwrap().replacement_applied, applied, "{profile}");
        let cgroup = hook.root();
        hook.move_process(process, cgroup).unwrap();
        assert_eq!(hook.read_knob(process, DOMAIN).unwrap().data, stored.as_bytes(), "{profile}");
    }
}

#[test]
fn a_replacement_without_a_nul_runs_into_the_rest_of_the_buffer() {
    let seen = |profile: &str, values: &'static [&'static [u8]]| {
        let (mut hook, process) = with(
            profile,
            vec![Box::new(move |access| {
                values.iter().for_each(|value| access.replace_new(value));
                1
            })],
        );
        let strings = std::sync::Arc::new(Mutex::new(Vec::new()));
        let kept = std::sync::Arc::clone(&strings);
        let handler = Custom(move |call: Call<'_>, _: &mut i64, _: &HandlerEnv<'_>| match call {
            Call::Read { .. } => Ok(0),
            Call::Write(written) => {
                kept.lock().unwrap().extend(written.c_string());
                Ok(written.bytes.len())
            }
        });
        hook.knobs.add("net/core/mask", Knob::new(handler)).unwrap();
        hook.write_knob(process, "net/core/mask", "abcdef").unwrap();
        let string = strings.lock().unwrap().clone();
        String::from_utf8(string).unwrap()
    };
    assert_eq!(seen("6.12.117", &[b"1"]), "1");
    let stale = seen("6.18", &[b"1"]);
    assert!(stale.starts_with("1bcdef####") && stale.len() == 4096, "{stale}");
    // A NUL that was stored first follows the shorter value that is stored over it.
    assert_eq!(seen("6.18", &[b"1\0", b"1"]), "1");
}

#[test]
fn programs_see_the_current_and_the_new_value() {
    let (mut hook, process) = with(
        "6.18",
        vec![Box::new(|access| {
            assert_eq!((access.name, access.current), (DOMAIN, &b"(none)\n"[..]));
            assert_eq!(access.task.cgroups, [1, 2]);
            match access.new_value() {
                Some(new) => assert!(access.write && new.len() == 4096.min(new.len())),
                None => assert!(!access.write || access.position == 3),
            }
            0
        })],
    );
    let mut file = hook.open(process, DOMAIN, AccessMode::ReadWrite).unwrap();
    hook.read(process, &mut file, 3).unwrap();
    hook.pwrite(process, &file, b"", 3).unwrap();
    assert_eq!(hook.write(process, &mut file, &[b'x'; 9000]).unwrap().errno(), Some(Errno::EPERM));
    assert_eq!(file.position, 0);
}

#[test]
fn some_accesses_fail_before_any_program_runs() {
    let (mut hook, process) = with("6.18", vec![Box::new(|_| panic!("nobody asked"))]);
    let file = hook.open(process, DOMAIN, AccessMode::ReadWrite).unwrap();
    let mut failed = |count, position| hook.pread(process, &file, count, position).unwrap().errno();
    assert_eq!(failed(4 << 20, 0), Some(Errno::ENOMEM));
    assert_eq!(failed(1, i64::MAX), Some(Errno::EINVAL));
    assert_eq!(failed(1, -1), Some(Errno::EINVAL));
    let read_only = hook.open(process, DOMAIN, AccessMode::Read).unwrap();
    assert_eq!(hook.pwrite(process, &read_only, b"x", -1).unwrap().errno(), Some(Errno::EINVAL));
    assert_eq!(hook.pwrite(process, &read_only, b"x", 0).unwrap().errno(), Some(Errno::EBADF));
    hook.change_process(process, |process| {
        process.credentials = Credentials { euid: 1, egid: 1, groups: vec![] };
    })
    .unwrap();
    assert_eq!(hook.pwrite(process, &file, b"x", 0).unwrap().errno(), Some(Errno::EPERM));
    assert_eq!(hook.write_knob(process, DOMAIN, "x").unwrap().errno(), Some(Errno::EACCES));
    assert_eq!(hook.open(process, "kernel", AccessMode::Read), Err(Errno::EISDIR));
    hook.knobs.remove(DOMAIN);
    assert_eq!(hook.pread(process, &file, 1, 0).unwrap().errno(), Some(Errno::ENOENT));
}

#[test]
fn the_programs_of_the_user_of_a_file_run_and_not_those_of_its_opener() {
    let (mut hook, inside) = with("6.18", vec![Box::new(|_| 0)]);
    let outside = hook.spawn(hook.root(), Process::default()).unwrap();
    let mut file = hook.open(inside, DOMAIN, AccessMode::Write).unwrap();
    assert_eq!(hook.write(outside, &mut file, b"x").unwrap().returned, 1);
    assert_eq!(hook.write(inside, &mut file, b"y").unwrap().errno(), Some(Errno::EPERM));
    hook.move_process(inside, hook.root()).unwrap();
    assert_eq!(hook.write(inside, &mut file, b"y").unwrap().returned, 1);
    assert_eq!(hook.read_knob(outside, DOMAIN).unwrap().data, b"xy\n");
}

#[test]
fn a_program_moves_the_file_position() {
    let (mut hook, process) = with(
        "6.18",
        vec![Box::new(|access| {
            access.position = 2;
            1
        })],
    );
    let mut file = hook.open(process, DOMAIN, AccessMode::ReadWrite).unwrap();
    assert_eq!(hook.read(process, &mut file, 3).unwrap().data, b"one");
    assert_eq!(file.position, 5);
    assert_eq!(hook.write(process, &mut file, b"XY").unwrap().returned, 2);
    assert_eq!(file.position, 4);
    assert_eq!(hook.read(process, &mut file, 9).unwrap().data, b"XY\n");
}
