//! Rules that share code, on the model of the hook: each uses its own constants and its own counter.

use knobgate_bpf::Features;
use knobgate_compiler::{CompileError, Compiled, RULE_HITS_MAP, RuleHits, compile, compile_inlining};
use knobgate_hook::{Invocation, LoadOptions, LoadedProgram, Profile, RunOptions, Task};
use knobgate_policy::{
    Access, CheckOptions, Errno, KnobName, PolicyFile, Source, Task as PolicyTask, Verdict, evaluate, parse,
};

/// Rules that differ only in their constants and their knob, which is `vm.k` and a number.
const TEMPLATES: &[fn(usize) -> String] = &[
    |i| format!("allow write vm.k{i} if new <= {i}"),
    |i| format!("deny(EROFS) write vm.k{i} if {} <= new < {}", i as i64 - 3, i + 2),
    |i| format!("deny write vm.k{i} if new in -{}..{i} or old == {i}", i + 1),
    |i| format!("allow write vm.k{i} if new in {{{i}, {}, -7}}", 10 * i),
    |i| format!("allow write vm.k{i} if new[1] == {i} and count(new) <= {}", 2 + i % 2),
    |i| {
        format!("allow write vm.k{i} if new == \"t{}\" or new starts with \"a long text {}\"", i % 10, i % 10)
    },
    |i| {
        format!(
            "allow write vm.k{i} if new in {{\"x{}\", \"yy{}\"}} or comm == \"c{}\"",
            i % 10,
            i % 9,
            i % 8
        )
    },
    |i| format!("allow write vm.k{i} if not new matches \"*{}?\" or uid == {i}", i % 10),
    |i| format!("set write vm.k{i} to \"{i}\" if pos == 0 and new contains \"{}\"", i % 10),
    |i| format!("set write vm.k{i} to \"{}\"", "v".repeat(i)),
    |i| format!("ignore write vm.k{i} if new == {i}"),
    |i| format!("clamp write vm.k{i} to {i}..{}", 3 * i),
    |i| format!("clamp write vm.k{i} to -{}..", i + 1),
    |i| format!("clamp write vm.k{i} to [{i}..{}, ..{i}, -{i}..99]", i + 5),
    |i| {
        format!(
            "deny write vm.k{i} if gid == {i}\nallow write vm.k{i} if new > {i}\nset write vm.** to \"{}\"",
            i % 3
        )
    },
    // Several conditions on one knob.
    |i| {
        format!(
            "deny(EIO) write vm.k{i} if new == {i} and uid == 9\nallow write vm.k{i} if new[1] == {i} or new == \"t{}\"\n\
             deny(EROFS) write vm.k{i} if (uid == 3 and new[2] == 5 or count(new) == 1) and new[0] >= {i}\n\
             clamp write vm.k{i} to {i}..{} if not old == 0",
            i % 10,
            i + 3
        )
    },
    // Rules for reads do not compare numbers.
    |i| {
        format!(
            "allow write vm.k{i} if new < old or count(new) < new\nallow read vm.k{i} if comm == \"c{}\"",
            i % 8
        )
    },
    // More constants than fit in a row.
    |i| {
        format!(
            "allow write vm.k{i} if new in {{{}}}",
            (0..600).map(|n| (n * 3 + i).to_string()).collect::<Vec<_>>().join(", ")
        )
    },
];

/// What is written to knob `i`.
fn values(i: usize) -> Vec<Vec<u8>> {
    let numbers = [0, i - 1, i, i + 1, 3 * i, 3 * i + 1, 10 * i];
    let mut values: Vec<String> = numbers.iter().flat_map(|n| [format!("{n}\n"), format!("-{n}")]).collect();
    values.extend(
        numbers.iter().flat_map(|n| [format!("{n} {i} 5\n"), format!("9 {n}"), format!("{i} {n} -{n}   \n")]),
    );
    values.extend([i % 10, (i + 1) % 10].iter().flat_map(|n| {
        [
            format!("t{n}\n"),
            format!("a long text {n} that goes on"),
            format!("x{n}"),
            format!("yy{n}\n"),
            format!("{n}z"),
        ]
    }));
    // Around the limit on where numbers have to end.
    values.extend((58..66).flat_map(|blanks| ["", "-"].map(|sign| format!("{:blanks$}{sign}{i:#x}", ""))));
    values.extend((58..66).map(|blanks| format!("{i}{:blanks$}{i:#x}\n", "")));
    values.extend(["", "\n", "some words", "18446744073709551616"].map(str::to_owned));
    values.into_iter().map(String::into_bytes).collect()
}

fn policy(template: fn(usize) -> String, rules: usize) -> PolicyFile {
    let rules: Vec<String> = (1..=rules).map(template).collect();
    let text = format!("policy shared\n{}\n", rules.join("\n"));
    parse(Source::new("shared.knob", text), &CheckOptions::default())
        .unwrap_or_else(|diagnostics| panic!("{diagnostics:?}"))
}

fn rule_hits(program: &LoadedProgram) -> Vec<RuleHits> {
    let map = program.map(RULE_HITS_MAP).expect("every program has it");
    RuleHits::in_value(&map.lookup(&[0; 4]).expect("one entry"))
}

/// A way to compile.
type Compile = fn(&PolicyFile, &Features) -> Result<Compiled, CompileError>;

fn agree(features: &Features, profile: &Profile, compile: Compile) {
    let task = Task { uid: 3, gid: 4, comm: b"c2".to_vec(), ..Task::default() };
    for (number, template) in TEMPLATES.iter().enumerate() {
        let file = policy(*template, 40);
        // On the oldest kernels, programs cannot get the name of the task.
        let Ok(compiled) = compile(&file, features) else {
            assert!(!features.current_comm && file.source().text().contains("comm"), "template {number}");
            continue;
        };
        let program = LoadedProgram::load(compiled.program(), profile, &LoadOptions::default())
            .unwrap_or_else(|rejection| panic!("{rejection}\n{}", file.source().text()));
        let mut before = rule_hits(&program);
        for i in [1, 2, 3, 7, 39, 40] {
            for value in values(i) {
                let name = format!("vm/k{i}");
                let old = format!("{i}\n").into_bytes();
                let mut access = Access::write(KnobName::parse(&name).expect("a name"), value.as_slice());
                access.old = Some(old.clone());
                access.task = PolicyTask::default().uid(task.uid).gid(task.gid).comm(task.comm.clone());
                let effect = compiled.effect(&evaluate(file.policy(), &compiled.seen(&access)));

                let mut invocation = Invocation::write(&name, &old, &value, &task, profile);
                let returned = program
                    .run(&mut invocation, &mut RunOptions::default())
                    .unwrap_or_else(|fault| panic!("{fault}: {access:?}"));
                let errno =
                    if invocation.retval == 0 { Errno::EPERM.number() } else { -invocation.retval as u32 };
                let verdict = match (returned, invocation.replacement()) {
                    (0, _) => Verdict::Deny(Errno::from_number(errno).expect("an errno")),
                    (_, Some(replacement)) => Verdict::Rewrite(replacement.to_vec()),
                    (_, None) => Verdict::Allow,
                };
                assert_eq!(verdict, effect.verdict, "template {number}: {access:?}");
                let after = rule_hits(&program);
                let counted = RuleHits::incremented(&before, &after);
                assert_eq!(counted, [effect.counter], "template {number}: {access:?}");
                before = after;
            }
        }
    }
}

#[test]
fn rules_use_their_own_constants_on_the_newest_kernels() {
    agree(&Features::ALL, &"7.2".parse().expect("a profile"), |file, features| compile(file, features));
}

#[test]
fn rules_use_their_own_constants_on_the_oldest_kernels() {
    agree(&Features::BASELINE, &"5.10".parse().expect("a profile"), |file, features| compile(file, features));
}

#[test]
fn rules_use_their_own_constants_when_conditions_are_data() {
    let with_loops = Features { bpf_loop: true, ..Features::BASELINE };
    for (features, profile) in [(Features::ALL, "7.2"), (with_loops, "6.1.192")] {
        let profile: Profile = profile.parse().expect("a profile");
        agree(&features, &profile, |file, features| compile_inlining(file, features, 0));
        // The first rules of each chain are data, the last ones code.
        agree(&features, &profile, |file, features| compile_inlining(file, features, 2));
        agree(&features, &profile, |file, features| compile_inlining(file, features, 3));
    }
}
