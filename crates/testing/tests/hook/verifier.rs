//! Mutated programs: the model accepts and runs what the verifier accepts. What the verifier rejects, the model rejects or
//! stops when it runs.

use knobgate_bpf::Program;
use knobgate_hook::machine::Reason;
use knobgate_hook::{
    Fault, Invocation, LoadOptions, LoadedProgram, Profile, Rejection, RunOptions, Task, Violation,
};
use knobgate_kernel::possible_cpus;
use knobgate_testing::{Random, return_values, verifier_cases};

use crate::inputs::Kind;
use crate::mutation;
use crate::programs;

/// The maximum of reported differences.
const ENOUGH: usize = 5;

/// How often each combination of results occurred.
#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    rejected: u64,
    /// Of the rejected ones, those for which both give the same reason.
    same_reason: u64,
    stopped: u64,
    unnoticed: u64,
    about_addresses: u64,
    not_modelled: u64,
    unseen: u64,
}

/// How many of the cases for 6.18 another kernel may judge otherwise than the model.
const OTHERWISE_ELSEWHERE: u64 = 5;

/// Of this many programs, the model may reject one for its return value that the verifier accepts: the verifier tracks
/// dependencies between numbers a little better.
const ACCEPTED_FOR_ONE_REJECTED: u64 = 5000;

/// Whether the verifier may accept a program without having seen every return value: before 6.8 it prunes paths that differ
/// from others only in r0 (`check_return_code` in kernel/bpf/verifier.c asked for no precision).
fn takes_any_return_value(profile: &Profile) -> bool {
    profile.version < (6, 8)
}

/// Of `count` programs, how many the model may accept that the verifier rejects: one of `of`. Older verifiers know less of
/// numbers.
fn lenient(profile: &Profile, count: u64, of: u64) -> u64 {
    if profile.version < (6, 8) { count / 10 } else { count / of + 2 }
}

/// Verifies this many programs with random return values.
pub(crate) fn verify_return_values(seed: u64, count: u64) -> Result<String, String> {
    let mut random = Random(seed);
    let profile = knobgate_testing::profile();
    let (mut accepted, mut rejected, mut by_verifier, mut by_model) = (0, 0, 0, 0);
    let mut seen_otherwise = 0;
    for (what, is_accepted, insns) in return_values::cases(&profile) {
        let program = Program { name: "case".to_owned(), insns, ..Program::default() };
        let real = knobgate_kernel::load(&program, &knobgate_kernel::LoadOptions::default());
        if is_accepted.is_some_and(|is_accepted| is_accepted != real.is_ok()) {
            println!("the verifier sees it otherwise: {what}");
            seen_otherwise += 1;
        }
    }
    for _ in 0..count {
        let program = programs::return_values::any(&mut random, &profile);
        let real = knobgate_kernel::load(&program, &knobgate_kernel::LoadOptions::default());
        let model = LoadedProgram::load(&program, &profile, &LoadOptions::default());
        match (real, model) {
            (Ok(_), Ok(_)) => accepted += 1,
            (Err(_), Err(_)) => rejected += 1,
            (Err(error), Ok(_)) => {
                println!("only the verifier rejects: {}\n{}", reason(&error, None), program.listing());
                by_verifier += 1;
            }
            (Ok(_), Err(rejection)) => {
                by_model += 1;
                if takes_any_return_value(&profile) {
                    continue;
                }
                println!("the verifier accepts it; the model rejects: {rejection}\n{}", program.listing());
            }
        }
    }
    let counted = format!(
        "{count} programs with random return values: {accepted} accepted and {rejected} rejected by both, {by_verifier} rejected by the verifier alone, \
         {by_model} by the model"
    );
    let at_most =
        if takes_any_return_value(&profile) { count / 20 } else { count.div_ceil(ACCEPTED_FOR_ONE_REJECTED) };
    let is_good = seen_otherwise == 0 && by_model <= at_most && by_verifier <= lenient(&profile, count, 200);
    if is_good { Ok(counted) } else { Err(counted) }
}

/// Verifies the programs of which it is known what is wrong with them. Both give the same reason, if the model is of the
/// kernel that it is about. What is accepted runs on the model.
pub(crate) fn verify_cases() -> Result<String, String> {
    let profile = knobgate_testing::profile();
    let cases = verifier_cases::cases();
    let mut differences = 0;
    for case in &cases {
        let real = knobgate_kernel::load(&case.program, &knobgate_kernel::LoadOptions::default());
        let real = real.map(|_| ()).map_err(|error| reason(&error, case.rejected));
        let loaded = LoadedProgram::load(&case.program, &profile, &LoadOptions::default());
        let model = loaded.as_ref().map(|_| ()).map_err(words);
        let expected = case.rejected.map_or(Ok(()), |reason| Err(reason.to_owned()));
        let agree = if profile.version == Profile::LINUX_6_18.version {
            (&real, &model) == (&expected, &expected)
        } else {
            real.is_ok() == model.is_ok()
        };
        if !agree {
            println!("{}: the kernel: {real:?}, the model: {model:?}, expected: {expected:?}", case.name);
            differences += 1;
        }
        let stopped = loaded.ok().and_then(|loaded| fault(&loaded, &profile));
        if let Some(fault) = stopped.filter(|fault| !fault.reason.is_not_modelled()) {
            println!("{}: accepted, and stopped when it runs: {fault}", case.name);
            differences += 1;
        }
    }
    // The cases are what 6.18 does. It was 1 of them on 5.10.262, and 2 on 7.3.4.
    let tolerated = if profile.version == Profile::LINUX_6_18.version { 0 } else { OTHERWISE_ELSEWHERE };
    if differences <= tolerated {
        Ok(format!("{differences} of {} programs are judged differently", cases.len()))
    } else {
        Err(format!("{differences} of {} programs are judged differently", cases.len()))
    }
}

/// The reason of the kernel's verifier: the expected one, if its log says so.
fn reason(error: &knobgate_kernel::LoadError, expected: Option<&str>) -> String {
    let Some(log) = error.log() else { return error.to_string() };
    let said = expected.filter(|expected| log.text().lines().any(|line| line.trim().ends_with(expected)));
    said.unwrap_or(log.reason()).to_owned()
}

/// Verifies this many mutated programs.
pub(crate) fn verify(seed: u64, count: u64) -> Result<String, String> {
    let mut random = Random(seed);
    let profile = knobgate_testing::profile();
    let mut tally = Tally::default();
    let mut differences = 0;
    for _ in 0..count {
        let kind = random.pick(&[Kind::Text, Kind::Numbers]);
        let mut program = programs::any(&mut random, &profile, kind, "mutated".to_owned());
        let changes: Vec<String> =
            (0..=random.below(3)).map(|_| mutation::mutate(&mut program, &mut random)).collect();
        if let Err(difference) = compare_verifiers(&program, &profile, &mut tally) {
            println!("{}\n{difference}\n{}", changes.join("\n"), program.listing());
            differences += 1;
        }
        if differences == ENOUGH {
            return Err(format!("{ENOUGH} differences"));
        }
    }
    let Tally { accepted, rejected, same_reason, stopped, unnoticed, .. } = tally;
    let Tally { about_addresses, not_modelled, unseen, .. } = tally;
    let counted = format!(
        "{count} programs: {accepted} accepted and {rejected} rejected by both, {same_reason} of these for the same reason; of \
         those that the verifier alone rejects {stopped} were stopped and {unnoticed} came to their end; {about_addresses} compute \
         with addresses, and {not_modelled} use what is not modelled; {unseen} have return values that the verifier has not seen"
    );
    let is_good =
        differences == 0 && stopped + unnoticed <= lenient(&profile, count, 1000) && unseen <= count / UNSEEN;
    if is_good { Ok(counted) } else { Err(counted) }
}

/// Of this many programs, one may have return values that the verifier has not seen. It was one of 300 on 5.10.262 and
/// 6.1.192.
const UNSEEN: u64 = 50;

fn compare_verifiers(program: &Program, profile: &Profile, tally: &mut Tally) -> Result<(), String> {
    let real = knobgate_kernel::load(program, &knobgate_kernel::LoadOptions::default());
    let cpus = possible_cpus().expect("a list of CPUs") as u32;
    let options = LoadOptions { cpus, ..LoadOptions::default() };
    let model = LoadedProgram::load(program, profile, &options);
    match (real, model) {
        (_, Err(Rejection::NotModelled { .. } | Rejection::KernelFunction { .. })) => tally.not_modelled += 1,
        (Ok(_), Err(Rejection::Unsafe { violation: Violation::ReturnValue { .. }, .. }))
            if takes_any_return_value(profile) =>
        {
            tally.unseen += 1;
        }
        (Ok(_), Err(rejection)) => {
            return Err(format!("the verifier accepts it; the model rejects: {rejection}"));
        }
        (Err(error), Err(rejection)) => {
            tally.rejected += 1;
            let expected = words(&rejection);
            tally.same_reason += u64::from(reason(&error, Some(&expected)) == expected);
        }
        (Ok(_), Ok(model)) => {
            tally.accepted += 1;
            match fault(&model, profile) {
                Some(Fault { reason, .. }) if reason.is_not_modelled() => tally.about_addresses += 1,
                Some(Fault { reason: Reason::ReturnValue { .. }, .. }) if takes_any_return_value(profile) => {
                    tally.unseen += 1;
                }
                Some(fault) => return Err(format!("the verifier accepts it; the model stops: {fault}")),
                None => {}
            }
        }
        (Err(error), Ok(model)) => {
            println!("only the verifier rejects: {}\n{}", reason(&error, None), program.listing());
            match fault(&model, profile) {
                Some(_) => tally.stopped += 1,
                None => tally.unnoticed += 1,
            }
        }
    }
    Ok(())
}

/// The reason of a rejection, without the instruction.
fn words(rejection: &Rejection) -> String {
    match rejection {
        Rejection::Unsafe { violation, .. } => violation.to_string(),
        other => other.to_string(),
    }
}

/// Why a run is stopped, on a read or on a write.
fn fault(program: &LoadedProgram, profile: &Profile) -> Option<Fault> {
    let task = Task { cgroups: vec![1, 2], ..Task::default() };
    let read = Invocation::read("net/core/somaxconn", b"4096\n", &task, profile);
    let write = Invocation::write("kernel/sem", b"32000\t1\t2\t3\n", b"1 2 3\n", &task, profile);
    [read, write]
        .into_iter()
        .find_map(|mut invocation| program.run(&mut invocation, &mut RunOptions::default()).err())
}
