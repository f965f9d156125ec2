//! The model against the kernel that runs, and no difference: what the system call returns, what is read, what is stored,
//! where the file position is, and what programs find out and keep in maps.
//!
//! Each test starts this binary once more, in private network, UTS and IPC namespaces, where it does everything to the
//! kernel's knobs and to the model's: as the *player* without programs, as the *director* with random ones, for which it
//! has *actors* inside cgroups.

mod access;
mod actor;
mod batches;
#[path = "../objects/cases.rs"]
mod cases;
mod director;
#[path = "../objects/model.rs"]
mod model;
mod objects;
mod odd;
mod player;
mod programs;
mod random;
mod refusals;
#[path = "../machine/returns.rs"]
mod returns;
mod semaphores;
mod sequences;
mod unsound;

use std::process::{Command, ExitCode};

use knobgate_kernel::{Namespaces, with_private_namespaces};
use knobgate_testing::{Suite, Test};
use libtest_mimic::Failed;

/// How many accesses without programs are made to each knob; `KNOBGATE_ACCESSES` says otherwise.
const ACCESSES: u64 = 1500;

/// How many scenes are played with random programs, and how many accesses are made in each; `KNOBGATE_SCENES` and
/// `KNOBGATE_SCENE_ACCESSES` say otherwise.
const SCENES: u64 = 400;
const SCENE_ACCESSES: u64 = 50;

/// How many texts are parsed; `KNOBGATE_NUMBERS` says otherwise.
const NUMBERS: u64 = 20_480;

/// How many programs are judged that are wrong in one place; `KNOBGATE_SPOILT` says otherwise.
const SPOILT: u64 = 800;

/// How many programs are judged by what they return; `KNOBGATE_ENDINGS` says otherwise.
const ENDINGS: u64 = 1500;

/// How often something is attached, detached or updated; `KNOBGATE_ATTACHMENTS` says otherwise.
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
        player::ARGUMENT => {
            let &[seed, accesses] = &numbers(arguments)[..] else { panic!("seed and accesses") };
            player::play(seed, accesses)
        }
        director::ARGUMENT => {
            let &[seed, scenes, accesses] = &numbers(arguments)[..] else { panic!("three numbers") };
            director::direct(seed, scenes, accesses)
        }
        director::BATCHES => {
            let &[seed, count] = &numbers(arguments)[..] else { panic!("seed and count") };
            director::direct_batches(seed, count)
        }
        refusals::ARGUMENT => {
            let &[seed, count] = &numbers(arguments)[..] else { panic!("seed and count") };
            refusals::judge(seed, count)
        }
        refusals::ENDINGS => {
            let &[seed, count] = &numbers(arguments)[..] else { panic!("seed and count") };
            refusals::judge_endings(seed, count)
        }
        sequences::ARGUMENT => {
            let &[seed, count] = &numbers(arguments)[..] else { panic!("seed and count") };
            sequences::attach_and_detach(seed, count)
        }
        objects::ARGUMENT => {
            let &[case] = &numbers(arguments)[..] else { panic!("the number of a case") };
            objects::use_knobs(case as usize)
        }
        actor::ARGUMENT => match actor::live() {
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
    in_namespaces(player::ARGUMENT, &[("KNOBGATE_ACCESSES", ACCESSES)])
}

fn random_programs() -> Result<(), Failed> {
    in_namespaces(
        director::ARGUMENT,
        &[("KNOBGATE_SCENES", SCENES), ("KNOBGATE_SCENE_ACCESSES", SCENE_ACCESSES)],
    )
}

fn names_and_numbers() -> Result<(), Failed> {
    in_namespaces(director::BATCHES, &[("KNOBGATE_NUMBERS", NUMBERS)])
}

fn spoilt_programs() -> Result<(), Failed> {
    in_namespaces(refusals::ARGUMENT, &[("KNOBGATE_SPOILT", SPOILT)])
}

fn endings() -> Result<(), Failed> {
    in_namespaces(refusals::ENDINGS, &[("KNOBGATE_ENDINGS", ENDINGS)])
}

fn attachments() -> Result<(), Failed> {
    in_namespaces(sequences::ARGUMENT, &[("KNOBGATE_ATTACHMENTS", ATTACHMENTS)])
}

/// Has this binary play `role` in private namespaces, with a seed and these numbers.
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

    let mut player = Command::new(std::env::current_exe()?);
    player.arg(role).args(variables.iter().map(|(_, number)| number.to_string()));
    with_private_namespaces(&mut player, Namespaces { net: true, uts: true, ipc: true, mount: false });
    let output = player.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    if output.status.success() {
        return Ok(());
    }
    let cried = String::from_utf8_lossy(&output.stderr);
    Err(format!("with {repeat}:\n{said}{cried}").into())
}
