//! Programs that are wrong in one place: what the verifier takes, the model takes and runs; what it does not, the model
//! refuses, or runs until it goes wrong.

use std::process::ExitCode;

use knobgate_bpf::Program;
use knobgate_hook::machine::{Reason, Region};
use knobgate_hook::{Fault, Invocation, LoadOptions, LoadedProgram, Profile, Rejection, RunOptions, Task};

use crate::director::processors;
use crate::odd::Kind;
use crate::programs;
use crate::random::Random;
use crate::returns;
use crate::unsound;

/// The argument that makes the test binary judge.
pub(crate) const ARGUMENT: &str = "--be-the-judge";

/// The argument that makes it judge what programs return.
pub(crate) const ENDINGS: &str = "--be-the-judge-of-endings";

/// How many differences are told before it is enough.
const ENOUGH: usize = 5;

/// How often both said what.
#[derive(Debug, Default)]
struct Tally {
    taken: u64,
    refused: u64,
    stopped: u64,
    unnoticed: u64,
    about_addresses: u64,
    not_modelled: u64,
    unseen: u64,
}

/// Of so many programs the model may refuse one for what it returns that the verifier takes: the verifier remembers a little
/// more of how numbers hang together.
const TAKEN_FOR_ONE_REFUSED: u64 = 5000;

/// Whether the verifier may take a program of which it has not seen every return value: before 6.8 it passes over ways that
/// differ from others in r0 alone (`check_return_code` in kernel/bpf/verifier.c asked for no precision).
fn takes_any_return_value(profile: &Profile) -> bool {
    profile.version < (6, 8)
}

/// Of so many programs the model may take one that the verifier refuses. It was one of 400 on 7.3.4, and 20 on 5.10.262.
const LENIENT: u64 = 10;

/// Judges so many programs by what they return.
pub(crate) fn judge_endings(seed: u64, count: u64) -> ExitCode {
    let mut random = Random(seed);
    let profile = knobgate_testing::profile();
    let (mut taken, mut refused, mut by_verifier, mut by_model) = (0, 0, 0, 0);
    let mut seen_otherwise = 0;
    for (what, is_taken, insns) in returns::cases(&profile) {
        let program = Program { name: "case".to_owned(), insns, ..Program::default() };
        let real = knobgate_kernel::load(&program, &knobgate_kernel::LoadOptions::default());
        if is_taken.is_some_and(|is_taken| is_taken != real.is_ok()) {
            println!("the verifier sees it otherwise: {what}");
            seen_otherwise += 1;
        }
    }
    for _ in 0..count {
        let program = programs::endings::any(&mut random, &profile);
        let real = knobgate_kernel::load(&program, &knobgate_kernel::LoadOptions::default());
        let model = LoadedProgram::load(&program, &profile, &LoadOptions::default());
        match (real, model) {
            (Ok(_), Ok(_)) => taken += 1,
            (Err(_), Err(_)) => refused += 1,
            (Err(_), Ok(_)) => by_verifier += 1,
            (Ok(_), Err(rejection)) => {
                by_model += 1;
                if takes_any_return_value(&profile) {
                    continue;
                }
                println!("the verifier takes it; the model refuses: {rejection}\n{}", program.listing());
            }
        }
    }
    println!(
        "{count} endings: {taken} taken and {refused} refused by both, {by_verifier} refused by the verifier alone, \
         {by_model} by the model"
    );
    let at_most =
        if takes_any_return_value(&profile) { count / 20 } else { count.div_ceil(TAKEN_FOR_ONE_REFUSED) };
    let is_good = seen_otherwise == 0 && by_model <= at_most && by_verifier <= count / LENIENT;
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Judges so many programs.
pub(crate) fn judge(seed: u64, count: u64) -> ExitCode {
    let mut random = Random(seed);
    let profile = knobgate_testing::profile();
    let mut tally = Tally::default();
    let mut differences = 0;
    for _ in 0..count {
        let kind = random.pick(&[Kind::Text, Kind::Numbers]);
        let mut program = programs::any(&mut random, &profile, kind, "spoilt".to_owned());
        let change = unsound::spoil(&mut program, &mut random);
        if let Err(difference) = judge_one(&program, &profile, &mut tally) {
            println!("{change}\n{difference}\n{}", program.listing());
            differences += 1;
        }
        if differences == ENOUGH {
            return ExitCode::FAILURE;
        }
    }
    let Tally { taken, refused, stopped, unnoticed, about_addresses, not_modelled, unseen } = tally;
    println!(
        "{count} programs: {taken} taken and {refused} refused by both; of those that the verifier alone refuses {stopped} \
         were stopped and {unnoticed} came to their end; {about_addresses} compute with addresses, and {not_modelled} use \
         what is not modelled; {unseen} have return values that the verifier has not seen"
    );
    let is_good = differences == 0 && unnoticed <= count / LENIENT && unseen <= count / UNSEEN;
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Of so many programs one may have return values that the verifier has not seen. It was one of 300 on 5.10.262 and 6.1.192.
const UNSEEN: u64 = 50;

fn judge_one(program: &Program, profile: &Profile, tally: &mut Tally) -> Result<(), String> {
    let real = knobgate_kernel::load(program, &knobgate_kernel::LoadOptions::default());
    let options = LoadOptions { cpus: processors(), ..LoadOptions::default() };
    let model = LoadedProgram::load(program, profile, &options);
    match (real, model) {
        (_, Err(Rejection::NotModelled { .. } | Rejection::KernelFunction { .. })) => tally.not_modelled += 1,
        (Ok(_), Err(Rejection::ReturnValue { .. })) if takes_any_return_value(profile) => tally.unseen += 1,
        (Ok(_), Err(rejection)) => {
            return Err(format!("the verifier takes it; the model refuses: {rejection}"));
        }
        (Err(_), Err(_)) => tally.refused += 1,
        (Ok(_), Ok(model)) => {
            tally.taken += 1;
            match fault(&model, profile) {
                Some(Fault { reason, .. }) if is_about_addresses(&reason) => tally.about_addresses += 1,
                Some(fault) => return Err(format!("the verifier takes it; the model stops: {fault}")),
                None => {}
            }
        }
        (Err(_), Ok(model)) => match fault(&model, profile) {
            Some(_) => tally.stopped += 1,
            None => tally.unnoticed += 1,
        },
    }
    Ok(())
}

/// Whether the program does something with an address as a number, or looks into the kernel's description of a map, which
/// root may; in the model there are none.
fn is_about_addresses(reason: &Reason) -> bool {
    match reason {
        Reason::DependsOnAddress { .. } | Reason::PointerLeak { .. } | Reason::PartialPointer => true,
        Reason::NotMemory { region: Region::Map(_) } => true,
        Reason::Argument { wanted, .. } => *wanted == "a number",
        _ => false,
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
