//! Compiled programs against [`evaluate`](knobgate_policy::evaluate()) on the real kernel and on the model of its hook: random
//! policies, random accesses to real knobs, and no difference in verdict, errno, return value, stored value or counters.
//!
//! The test binary plays three parts. The test starts a *director* in private network, UTS and IPC namespaces; that one
//! starts an *actor* inside a scratch cgroup, attaches programs to it, and compares what the actor got with what the
//! language says and what happens without a policy.

mod actor;
mod agreement;
mod alike;
mod knobs;
mod large;
mod model;
mod normalised;
mod sizes;
mod stored;
mod ways;
mod widths;
mod words;

use std::process::{Command, ExitCode, Output};

use knobgate_hook::Profile;
use knobgate_kernel::{Namespaces, with_private_namespaces};
use knobgate_policy::KnobName;
use knobgate_testing::{Suite, Test, number};
use libtest_mimic::Failed;

/// How many policies are tried, and accesses under each; `KNOBGATE_POLICIES` and `KNOBGATE_ACCESSES` say otherwise.
const POLICIES: u64 = 120;
const ACCESSES: u64 = 250;
/// The same under each large policy.
const LARGE_ACCESSES: u64 = 60;
/// How many policies a writer tries, and writes under each; `KNOBGATE_POLICIES` and `KNOBGATE_WRITES` say otherwise.
const STORED_POLICIES: u64 = 600;
const WRITES: u64 = 60;

const TESTS: &[Test] = &[
    ("the_kernel_and_the_model_decide_as_evaluate_does", agree),
    ("what_is_stored_satisfies_the_rule", store),
    ("what_is_stored_in_64_bits_is_listed", || try_knobs(widths::ARGUMENT)),
    ("what_is_stored_as_another_number_is_listed", || try_knobs(normalised::ARGUMENT)),
    (
        "a_hundred_rules_with_globs_and_conditions_load_as_the_oldest_kernels_want_them",
        sizes::a_hundred_globs,
    ),
    ("a_thousand_rules_with_conditions_load", sizes::a_thousand_conditions),
    ("ten_thousand_rules_are_no_more_to_the_verifier_than_a_thousand", sizes::ten_thousand_rules),
    ("what_the_verifier_has_to_do_is_known_within_a_factor_of_two", sizes::estimates),
    ("the_verifier_is_told_of_the_lines_of_the_policy", sizes::lines),
];

/// Conditions as data take a loop.
const LARGE: &[Test] =
    &[("policies_that_are_too_much_as_code_are_decided_as_evaluate_does", agree_on_large_ones)];

fn no_loop(profile: &Profile) -> Option<String> {
    let lacks = !profile.features().bpf_loop;
    lacks.then(|| "programs have no bpf_loop, which conditions as data need".to_owned())
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(actor::ARGUMENT) => actor::live().expect("the director is there"),
        Some(agreement::ARGUMENT) => {
            let [seed, policies, accesses] = numbers(arguments);
            return said(agreement::direct(seed, policies, accesses));
        }
        Some(stored::WRITER_ARGUMENT) => {
            let [seed, policies, writes] = numbers(arguments);
            stored::live(seed, policies, writes).expect("the director is there");
        }
        Some(stored::ARGUMENT) => {
            let [seed, policies, writes] = numbers(arguments);
            return said(stored::direct(seed, policies, writes));
        }
        Some(widths::ARGUMENT) => return said(widths::try_all()),
        Some(normalised::ARGUMENT) => return said(normalised::try_all()),
        Some(agreement::LARGE_ARGUMENT) => {
            let [seed, accesses] = numbers(arguments);
            return said(agreement::direct_large(seed, accesses));
        }
        _ => {
            return match knobgate_testing::in_private_mount_namespace() {
                Some(ended) => ended,
                None => Suite::new(TESTS).requiring(no_loop, LARGE).run(),
            };
        }
    }
    ExitCode::SUCCESS
}

fn numbers<const COUNT: usize>(arguments: impl Iterator<Item = String>) -> [u64; COUNT] {
    let numbers: Vec<u64> = arguments.map(|number| number.parse().expect("a number")).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("{COUNT} numbers"))
}

fn said(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(difference) => {
            println!("{difference}");
            ExitCode::FAILURE
        }
    }
}

fn agree() -> Result<(), Failed> {
    let (seed, accesses) = (seed()?, number("KNOBGATE_ACCESSES", ACCESSES)?);
    let policies = number("KNOBGATE_POLICIES", POLICIES)?;
    println!("KNOBGATE_SEED={seed} KNOBGATE_POLICIES={policies} KNOBGATE_ACCESSES={accesses}");
    have_directed(agreement::ARGUMENT, &[seed, policies, accesses])
}

/// Has this part of the test try the knobs of namespaces that are its own, or those of the whole machine.
fn try_knobs(argument: &str) -> Result<(), Failed> {
    let mut trying = Command::new("unshare");
    if !widths::is_whole_machine() {
        trying.args(["--user", "--map-root-user", "--net", "--uts", "--ipc"]);
    }
    trying.arg("--").arg(std::env::current_exe()?).arg(argument);
    tell_of(&trying.output()?)
}

fn store() -> Result<(), Failed> {
    let (seed, writes) = (seed()?, number("KNOBGATE_WRITES", WRITES)?);
    let policies = number("KNOBGATE_POLICIES", STORED_POLICIES)?;
    println!("KNOBGATE_SEED={seed} KNOBGATE_POLICIES={policies} KNOBGATE_WRITES={writes}");
    have_directed(stored::ARGUMENT, &[seed, policies, writes])
}

fn agree_on_large_ones() -> Result<(), Failed> {
    let (seed, accesses) = (seed()?, number("KNOBGATE_ACCESSES", LARGE_ACCESSES)?);
    println!("KNOBGATE_SEED={seed} KNOBGATE_ACCESSES={accesses}");
    have_directed(agreement::LARGE_ARGUMENT, &[seed, accesses])
}

fn seed() -> Result<u64, Failed> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    number("KNOBGATE_SEED", now.map_or(0, |now| now.as_nanos() as u64))
}

/// Starts the director, with these numbers.
fn have_directed(argument: &str, numbers: &[u64]) -> Result<(), Failed> {
    let mut director = Command::new(std::env::current_exe()?);
    director.arg(argument).args(numbers.iter().map(u64::to_string));
    with_private_namespaces(&mut director, Namespaces { net: true, uts: true, ipc: true, mount: false });
    tell_of(&director.output()?)
}

/// Shows what a part of the test said, and fails if it did.
fn tell_of(output: &Output) -> Result<(), Failed> {
    print!("{}", String::from_utf8_lossy(&output.stdout));
    if output.status.success() {
        Ok(())
    } else {
        let (said, cried) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Err(format!("{said}{cried}").into())
    }
}

/// The knob of this name.
fn knob(name: &str) -> KnobName {
    KnobName::parse(name).expect("the name of a knob")
}
