//! Compares the model with the running kernel: what system calls return and read, what is stored, the file position, and
//! what programs see and keep in maps.
//!
//! Each test runs this binary again in private network, UTS and IPC namespaces, where it performs the same accesses on the
//! kernel's knobs and on the model's: without programs, or with random programs, for which it starts *workers* inside
//! cgroups.

mod access;
mod batches;
mod inputs;
mod mutation;
mod objects;
mod programs;
mod random_programs;
mod semaphores;
mod sequences;
mod verifier;
mod without_programs;
mod worker;

use std::process::{Command, ExitCode};

use knobgate_kernel::{Namespaces, with_private_namespaces};
use knobgate_testing::{Suite, Test};
use libtest_mimic::Failed;

/// The default of `KNOBGATE_ACCESSES`: accesses to each knob without programs.
const ACCESSES: u64 = 1500;

/// The defaults of `KNOBGATE_SCENES` and `KNOBGATE_SCENE_ACCESSES`: sets of random programs, and accesses with each set.
const SCENES: u64 = 400;
const SCENE_ACCESSES: u64 = 50;

/// The default of `KNOBGATE_NUMBERS`: texts to parse.
const NUMBERS: u64 = 20_480;

/// The default of `KNOBGATE_SPOILT`: mutated programs.
const SPOILT: u64 = 800;

/// The default of `KNOBGATE_ENDINGS`: programs with random return values.
const ENDINGS: u64 = 1500;

/// The default of `KNOBGATE_ATTACHMENTS`: attach, detach and update operations.
const ATTACHMENTS: u64 = 3000;

const TESTS: &[Test] = &[
    ("the_handlers_do_as_the_kernels_do", handlers),
    ("names_and_numbers_are_what_they_are_in_the_kernel", names_and_numbers),
    ("the_model_takes_what_the_verifier_takes", spoilt_programs),
    ("what_may_be_returned_is_what_the_verifier_lets_be_returned", endings),
    ("what_is_attached_runs_in_the_kernels_order", attachments),
    ("programs_do_as_they_do_in_the_kernel", random_programs),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next().unwrap_or_default();
    let numbers = |arguments: std::iter::Skip<std::env::Args>| -> Vec<u64> {
        arguments.map(|number| number.parse().expect("a number")).collect()
    };
    match role.as_str() {
        without_programs::ARGUMENT => {
            let &[seed, accesses] = &numbers(arguments)[..] else { panic!("seed and accesses") };
            without_programs::run(seed, accesses)
        }
        random_programs::ARGUMENT => {
            let &[seed, scenes, accesses] = &numbers(arguments)[..] else { panic!("three numbers") };
            random_programs::run(seed, scenes, accesses)
        }
        random_programs::BATCHES => {
            let &[seed, count] = &numbers(arguments)[..] else { panic!("seed and count") };
            random_programs::run_batches(seed, count)
        }
        verifier::ARGUMENT => {
            let &[seed, count] = &numbers(arguments)[..] else { panic!("seed and count") };
            verifier::verify(seed, count)
        }
        verifier::ENDINGS => {
            let &[seed, count] = &numbers(arguments)[..] else { panic!("seed and count") };
            verifier::verify_endings(seed, count)
        }
        sequences::ARGUMENT => {
            let &[seed, count] = &numbers(arguments)[..] else { panic!("seed and count") };
            sequences::attach_and_detach(seed, count)
        }
        objects::ARGUMENT => {
            let &[case] = &numbers(arguments)[..] else { panic!("the number of a case") };
            objects::use_knobs(case as usize)
        }
        worker::ARGUMENT => match worker::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        _ => match knobgate_testing::in_private_mount_namespace() {
            Some(ended) => ended,
            None => objects::tests(Suite::new(TESTS)).run(),
        },
    }
}

fn handlers() -> Result<(), Failed> {
    in_namespaces(without_programs::ARGUMENT, &[("KNOBGATE_ACCESSES", ACCESSES)])
}

fn random_programs() -> Result<(), Failed> {
    in_namespaces(
        random_programs::ARGUMENT,
        &[("KNOBGATE_SCENES", SCENES), ("KNOBGATE_SCENE_ACCESSES", SCENE_ACCESSES)],
    )
}

fn names_and_numbers() -> Result<(), Failed> {
    in_namespaces(random_programs::BATCHES, &[("KNOBGATE_NUMBERS", NUMBERS)])
}

fn spoilt_programs() -> Result<(), Failed> {
    in_namespaces(verifier::ARGUMENT, &[("KNOBGATE_SPOILT", SPOILT)])
}

fn endings() -> Result<(), Failed> {
    in_namespaces(verifier::ENDINGS, &[("KNOBGATE_ENDINGS", ENDINGS)])
}

fn attachments() -> Result<(), Failed> {
    in_namespaces(sequences::ARGUMENT, &[("KNOBGATE_ATTACHMENTS", ATTACHMENTS)])
}

/// Runs this binary as `role` in private namespaces, with a seed and these numbers.
fn in_namespaces(role: &str, numbers: &[(&str, u64)]) -> Result<(), Failed> {
    let fresh = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.as_nanos() as u64);
    let variables: Vec<(&str, u64)> = [("KNOBGATE_SEED", fresh)]
        .iter()
        .chain(numbers)
        .map(|&(variable, default)| match std::env::var(variable) {
            Ok(text) => match text.parse() {
                Ok(number) => Ok((variable, number)),
                Err(_) => Err(format!("{variable}={text} is not a number")),
            },
            Err(_) => Ok((variable, default)),
        })
        .collect::<Result<_, _>>()?;
    let repeat: Vec<String> =
        variables.iter().map(|(variable, number)| format!("{variable}={number}")).collect();
    let repeat = repeat.join(" ");
    println!("{repeat}");

    let mut command = Command::new(std::env::current_exe()?);
    command.arg(role).args(variables.iter().map(|(_, number)| number.to_string()));
    with_private_namespaces(&mut command, Namespaces { net: true, uts: true, ipc: true, mount: false });
    let output = command.output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    print!("{stdout}");
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("with {repeat}:\n{stdout}{stderr}").into())
}
