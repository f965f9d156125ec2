//! Programs for large policies load, and the kernel knows which line each instruction is of.

use knobgate_bpf::{Features, Operation, Program};
use knobgate_compiler::{Compiled, compile};
use knobgate_kernel::{LoadOptions, load, probe};
use knobgate_policy::{CheckOptions, PolicyFile, Source, parse};
use libtest_mimic::Failed;

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
    // What the old ones would refuse and this one takes.
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

pub(crate) fn lines() -> Result<(), Failed> {
    let mut program = compiled(
        ["deny write kernel.ostype".to_owned(), "allow read vm.**".to_owned()].into_iter(),
        &probe().features(),
    )?;
    let loaded = load(&program, &LoadOptions::default())?;
    assert!(loaded.has_line_info, "the kernel took the lines");

    // A return value that the verifier refuses, in the code of the second rule.
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
    let text = format!("policy large\n\n{}\n", rules.collect::<Vec<_>>().join("\n"));
    let file: PolicyFile = parse(Source::new("large.knob", text), &CheckOptions::default())
        .map_err(|diagnostics| format!("{diagnostics:?}"))?;
    let Compiled { program, .. } = compile(&file, features)?;
    Ok(program)
}
