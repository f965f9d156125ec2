//! Programs for large policies load, and the kernel knows which line each instruction is of.

use knobgate_bpf::{Features, Operation, Program};
use knobgate_compiler::{compile, compile_inlining};
use knobgate_kernel::{LoadOptions, load, probe};
use knobgate_policy::{CheckOptions, PolicyFile, Source, parse};
use libtest_mimic::Failed;

use crate::supported::supported;

pub(crate) fn a_hundred_globs() -> Result<(), Failed> {
    let program = compiled(
        (0..100).map(|i| {
            format!(
                "allow write net.*.conf.*{i}.rp_[a-f]*{} if {i} <= new <= 100_000 or old matches \"*{i}\"",
                i % 7
            )
        }),
        &Features::BASELINE,
    )?;
    // What old kernels reject and this one accepts.
    let newer = ["gotol", "s8", "s16", "s32", "bswap", "call bpf_set_retval", "call bpf_get_current_comm"];
    for (i, insn) in program.insns.iter().enumerate() {
        if let Ok(operation) = Operation::at(&program.insns, i) {
            let text = operation.to_string();
            assert!(!newer.iter().any(|newer| text.contains(newer)), "{i}: {text} ({insn:?})");
        }
    }
    load(&program, &LoadOptions::default())?;
    Ok(())
}

pub(crate) fn a_thousand_conditions() -> Result<(), Failed> {
    let rule = |i| format!("allow write net.ipv4.conf.eth{i}.rp_filter if new in {{1, {i}}} and new != old");
    load(&compiled((0..1000).map(rule), &probe().features())?, &LoadOptions::default())?;
    Ok(())
}

/// Rules of all kinds, for different knobs.
fn mixed(number: usize) -> String {
    let knob =
        format!("net.ipv4.conf.eth{}.{}", number / 4, ["rp_filter", "tag", "mtu", "forwarding"][number % 4]);
    match number % 7 {
        0 => format!("deny(EROFS) write {knob}"),
        1 => format!("allow write {knob} if new <= {number}"),
        2 => format!("clamp write {knob} to {number}..{}", 2 * number),
        3 => format!("allow write net.*.neigh.eth{}.*", number % 1000),
        4 => format!("allow read write {knob} if old in {{{number}, 7}}"),
        5 => format!("set write {knob} to \"{number}\""),
        _ => format!("allow write {knob} if new == \"t{}\" or uid == {number}", number % 10),
    }
}

pub(crate) fn ten_thousand_rules() -> Result<(), Failed> {
    let features = probe().features();
    let mut verified = Vec::new();
    for rules in [1_000, 10_000] {
        let loaded = load(&compiled((0..rules).map(mixed), &features)?, &LoadOptions::default())?;
        verified.push(loaded.program.info()?.verified_insns);
    }
    // 0 where the kernel does not say.
    assert!(verified[1] <= verified[0] + verified[0] / 10, "{verified:?}");
    Ok(())
}

/// How far the estimate may be off once a program replaces a value: that takes 5,000 instructions on 6.12.94 and 33,000 on
/// 6.1.192. The limit is a million.
const REWRITING: i64 = 25_000;

pub(crate) fn estimates() -> Result<(), Failed> {
    let one = |rule: &str| vec![rule.to_owned()];
    let policies = [
        one("deny write kernel.ostype"),
        one("deny read write kernel.**"),
        one("deny read write net.*.conf.*.rp_filter"),
        one("allow write vm.x if new <= 1"),
        one("allow write vm.x if old <= new <= 1"),
        one("allow write vm.x if new matches \"*a*b\""),
        one("deny write vm.x if uid == 7 and pos == 1"),
        one("set write vm.x to \"1\""),
        one("ignore write vm.x"),
        one("clamp write vm.x to 1..5"),
        one("clamp write vm.x to [1..5, 7.., ..9]"),
        (0..20).map(|i| format!("deny write kernel.a{i}")).collect(),
        (0..40).map(|i| format!("deny read write net.**.x{i}")).collect(),
        (1..30).map(|i| format!("allow write vm.** if new in {{{}}}", vec!["1"; i].join(", "))).collect(),
        (1..20)
            .map(|i| format!("allow write vm.x{i} if {} new matches \"a*\"", "pos == 1 or ".repeat(i)))
            .collect(),
        (0..1_000).map(mixed).collect(),
        one("allow write vm.x if new in {1, 2} or old != 7 or comm starts with \"a\""),
        one("deny write vm.x if comm matches \"a*b\""),
        one(
            "deny write vm.x if new[0] <= old[1] <= new[2] <= old[3] <= new[4] <= old[5] <= new[6] <= old[7]",
        ),
        (0..200)
            .map(|i| {
                format!(
                    "deny write vm.x{i} if new[{}] < old[{}] or count(old) == gid or uid == 1",
                    i % 8,
                    i % 7
                )
            })
            .collect(),
        (0..40)
            .map(|i| {
                format!("clamp write vm.x{i} to [{}] if comm == \"c\"", vec!["1..2"; i % 5 + 1].join(", "))
            })
            .collect(),
        (0..60).map(|i| format!("deny(EIO) read write ** if comm matches \"*a{i}*\"")).collect(),
        (0..30)
            .map(|i| format!("deny write vm.x{} if old[{}] in {{{}}}", i % 7, i % 8, set(i + 17)))
            .collect(),
        one(&format!("allow write ** if new in {{{}}}", set(10_000))),
        (0..60)
            .map(|i| {
                let value = ["new", "old", "comm"][i % 3];
                format!(
                    "deny write vm.x{} if {value} contains \"a\" or {value} == \"b\" or {value} in {{\"c\"}}",
                    i % 7
                )
            })
            .collect(),
    ];
    let features = probe().features();
    let verified = |program: &Program| -> Result<i64, Failed> {
        Ok(load(program, &LoadOptions::default())?.program.info()?.verified_insns.into())
    };
    // What replacing a value takes more or less than estimated: once in a program, and with features that can.
    let compiled = compile(&parsed(one("set write vm.x to \"1\"").into_iter())?, &features)?;
    let rewriting = verified(compiled.program())? - compiled.verifier_steps() as i64;
    assert!(rewriting.abs() <= REWRITING, "{rewriting}");
    let mut wrong = Vec::new();
    for rules in policies {
        let first = rules[0].clone();
        let file = parsed(rules.into_iter())?;
        if file.policy() != &supported(file.policy().clone(), &features) {
            println!("skipped, since programs have no comm on this kernel: {first}");
            continue;
        }
        let rewrites = file.policy().rules().iter().any(|rule| rule.action().rewrites());
        let has_conditions = file.policy().rules().iter().any(|rule| rule.condition().is_some());
        let as_table = (features.bpf_loop && has_conditions).then(|| compile_inlining(&file, &features, 0));
        for (encoding, compiled) in
            [Some(compile(&file, &features)), as_table].into_iter().flatten().enumerate()
        {
            let compiled = compiled?;
            let verified = verified(compiled.program())?;
            let estimated = compiled.verifier_steps() as i64;
            // 0 where the kernel does not say.
            let is_near =
                |estimated: i64| verified == 0 || (verified / 2..=verified * 2).contains(&estimated);
            let is_near = is_near(estimated) || rewrites && is_near(estimated + rewriting);
            if !is_near {
                let encoding = ["inlined", "interpreted"][encoding];
                wrong.push(format!(
                    "{first}, conditions {encoding}: {estimated} estimated, {verified} verified"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// So many different numbers.
fn set(count: usize) -> String {
    (0..count).map(|i| (i * 7919 - i % 3).to_string()).collect::<Vec<_>>().join(", ")
}

pub(crate) fn lines() -> Result<(), Failed> {
    let mut program = compiled(
        ["deny write kernel.ostype".to_owned(), "allow read vm.**".to_owned()].into_iter(),
        &probe().features(),
    )?;
    let loaded = load(&program, &LoadOptions::default())?;
    assert!(loaded.has_line_info, "the kernel accepts the lines");

    // A return value that the verifier rejects, in the code of the second rule.
    let line =
        program.lines.entries.iter().find(|entry| entry.text.starts_with("allow read vm")).ok_or("a line")?;
    let exit = (line.insn..program.insns.len())
        .find(|&i| Operation::at(&program.insns, i).is_ok_and(|operation| operation.to_string() == "exit"))
        .ok_or("an exit")?;
    program.insns[exit - 1] = program.insns[exit - 1].with_imm(7);
    let Err(error) = load(&program, &LoadOptions::default()) else { return Err("7 is no verdict".into()) };
    let last =
        error.log().and_then(knobgate_kernel::VerifierLog::last_source_line).ok_or("the log has lines")?;
    assert_eq!(last.text, "allow read vm.**");
    // Newer kernels say the number of the line, older ones only its text.
    let place = ["large.knob:4", "allow read vm.**"];
    assert!(place.iter().any(|place| error.to_string().contains(place)), "{error}");
    Ok(())
}

fn compiled(rules: impl Iterator<Item = String>, features: &Features) -> Result<Program, Failed> {
    Ok(compile(&parsed(rules)?, features)?.into_parts().0)
}

fn parsed(rules: impl Iterator<Item = String>) -> Result<PolicyFile, Failed> {
    let text = format!("policy large\n\n{}\n", rules.collect::<Vec<_>>().join("\n"));
    parse(Source::new("large.knob", text), &CheckOptions::default())
        .map_err(|diagnostics| format!("{diagnostics:?}").into())
}
