//! The binary search in large sets, on the model of the hook: it finds all members and nothing else.

use knobgate_bpf::Features;
use knobgate_compiler::{compile, compile_inlining};
use knobgate_hook::{Invocation, LoadOptions, LoadedProgram, Profile, RunOptions, Task};
use knobgate_policy::{Access, CheckOptions, KnobName, PolicyFile, Source, Verdict, evaluate, parse};

fn policy(members: &[i128]) -> PolicyFile {
    let members: Vec<String> = members.iter().map(i128::to_string).collect();
    let text = format!("policy sets\nwidth 64 vm.x\nallow write vm.x if new in {{{}}}\n", members.join(", "));
    parse(Source::new("sets.knob", text), &CheckOptions::default()).expect("valid")
}

/// Checks the verdict on every number.
fn check(members: &[i128], numbers: &[i128]) {
    let file = policy(members);
    let programs: Vec<(LoadedProgram, Profile)> = [
        (compile(&file, &Features::BASELINE), "5.10"),
        (compile(&file, &Features::ALL), "7.2"),
        (compile_inlining(&file, &Features::ALL, 0), "7.2"),
    ]
    .into_iter()
    .map(|(compiled, profile)| {
        let profile: Profile = profile.parse().expect("a profile");
        let compiled = compiled.expect("within the limits");
        (LoadedProgram::load(compiled.program(), &profile, &LoadOptions::default()).expect("taken"), profile)
    })
    .collect();
    for number in numbers {
        let value = number.to_string().into_bytes();
        let access = Access::write(KnobName::parse("vm.x").expect("a name"), value.clone());
        let expected = evaluate(file.policy(), &access).verdict == Verdict::Allow;
        assert_eq!(expected, members.contains(number), "{number}");
        for (program, profile) in &programs {
            let task = Task::default();
            let mut invocation = Invocation::write("vm/x", b"", &value, &task, profile);
            let returned = program.run(&mut invocation, &mut RunOptions::default()).expect("runs");
            assert_eq!(returned == 1, expected, "{number} of {} members on {profile}", members.len());
        }
    }
}

const LEAST: i128 = i64::MIN as i128;
const MOST: i128 = u64::MAX as i128;

#[test]
fn a_search_finds_exactly_the_members() {
    for count in [17, 31, 32, 33, 1000] {
        // Both signs, and each sign alone; some numbers twice.
        let both: Vec<i128> = (0..count).map(|i| (i - count / 3) * 3).chain([LEAST, MOST, LEAST]).collect();
        let negative: Vec<i128> = both.iter().copied().filter(|number| *number < 0).chain(-70..-50).collect();
        let nonnegative: Vec<i128> =
            both.iter().copied().filter(|number| *number >= 0).chain(50..70).collect();
        for members in [both, negative, nonnegative] {
            let near = members.iter().flat_map(|number| [number - 1, *number, number + 1]);
            let mut numbers: Vec<i128> = near.filter(|number| (LEAST..=MOST).contains(number)).collect();
            numbers.extend([
                0,
                -1,
                1,
                LEAST,
                LEAST + 1,
                i128::from(i64::MAX),
                i128::from(i64::MAX) + 1,
                MOST - 1,
                MOST,
            ]);
            check(&members, &numbers);
        }
    }
}

#[test]
fn the_size_of_the_code_does_not_depend_on_the_size_of_the_set() {
    let size = |count: i128| {
        let file = policy(&(0..count).map(|i| i * 7).collect::<Vec<_>>());
        let compiled = compile(&file, &Features::ALL).expect("within the limits");
        (compiled.program().insns.len(), compiled.verifier_steps())
    };
    let ((few, few_steps), (many, many_steps)) = (size(20), size(100_000));
    assert!(
        many < few + 200 && many_steps < few_steps + 1000,
        "{few} and {many}, {few_steps} and {many_steps}"
    );
}
