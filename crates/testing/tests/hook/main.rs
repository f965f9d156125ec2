//! Compares the model with the running kernel: what system calls return and read, what is stored, the file position, and
//! what programs see and keep in maps.
//!
//! Each test performs the same steps on both, in network, UTS and IPC namespaces of its own: accesses to the kernel's knobs
//! and to the model's, without programs or with random ones on cgroups.

mod access;
mod batches;
mod corpus;
mod helpers;
mod inputs;
mod mutation;
mod objects;
mod programs;
mod random_programs;
mod semaphores;
mod sequences;
mod steps;
mod tasks;
mod verifier;
mod without_programs;

use std::process::ExitCode;

use knobgate_testing::{PRIVATE_KNOBS, Suite, number, seed};
use libtest_mimic::Failed;

/// A test: the statement that it checks, environment variables with their defaults, and the check, which gets the seed and
/// the values of these variables. It returns what it has done, or the difference that it has found.
struct Test {
    name: &'static str,
    variables: &'static [(&'static str, u64)],
    check: Check,
}

type Check = fn(seed: u64, numbers: &[u64]) -> Result<String, String>;

const TESTS: &[Test] = &[
    Test {
        name: "the_handlers_do_as_the_kernels_do",
        // Accesses to each knob.
        variables: &[("KNOBGATE_ACCESSES", 1500)],
        check: |seed, numbers| without_programs::run(seed, numbers[0]),
    },
    Test {
        name: "names_and_numbers_are_what_they_are_in_the_kernel",
        // Texts to parse.
        variables: &[("KNOBGATE_NUMBERS", 20_480)],
        check: |seed, numbers| random_programs::run_batches(seed, numbers[0]),
    },
    Test {
        name: "programs_can_call_the_helpers_of_the_table",
        variables: &[],
        check: |_, _| helpers::compare(),
    },
    Test {
        name: "programs_are_rejected_for_the_reason_that_the_verifier_has",
        variables: &[],
        check: |_, _| verifier::verify_cases(),
    },
    Test {
        name: "the_model_accepts_what_the_verifier_accepts",
        // Mutated programs.
        variables: &[("KNOBGATE_MUTATED", 800)],
        check: |seed, numbers| verifier::verify(seed, numbers[0]),
    },
    Test {
        name: "the_model_judges_return_values_like_the_verifier",
        // Programs with random return values.
        variables: &[("KNOBGATE_RETURN_VALUES", 1500)],
        check: |seed, numbers| verifier::verify_return_values(seed, numbers[0]),
    },
    Test {
        name: "what_is_attached_runs_in_the_kernels_order",
        // Attach, detach and update operations.
        variables: &[("KNOBGATE_ATTACHMENTS", 3000)],
        check: |seed, numbers| sequences::attach_and_detach(seed, numbers[0]),
    },
    Test { name: "steps_that_fail_fail_with_the_same_errno", variables: &[], check: |_, _| steps::compare() },
    Test { name: "a_task_is_what_it_is_in_the_kernel", variables: &[], check: |_, _| tasks::compare() },
    Test {
        name: "programs_do_as_they_do_in_the_kernel",
        // Sets of random programs, and accesses with each set.
        variables: &[("KNOBGATE_SCENES", 400), ("KNOBGATE_SCENE_ACCESSES", 50)],
        check: |seed, numbers| random_programs::run(seed, numbers[0], numbers[1]),
    },
];

fn main() -> ExitCode {
    knobgate_testing::in_private_mount_namespace().unwrap_or_else(|| {
        let random =
            TESTS.iter().fold(Suite::default(), |suite, test| suite.test(test.name, |_| None, || run(test)));
        random.isolated(PRIVATE_KNOBS).and(objects::tests()).and(corpus::tests()).run()
    })
}

/// Runs a test, and prints what repeats it.
fn run(test: &Test) -> Result<(), Failed> {
    let seed = seed()?;
    let mut repeat = format!("KNOBGATE_SEED={seed}");
    let mut numbers = Vec::new();
    for &(variable, default) in test.variables {
        let number = number(variable, default)?;
        repeat += &format!(" {variable}={number}");
        numbers.push(number);
    }
    println!("{repeat}");
    println!("{}", (test.check)(seed, &numbers)?);
    Ok(())
}
