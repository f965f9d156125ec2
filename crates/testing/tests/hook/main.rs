//! Compares the model with the running kernel: what system calls return and read, what is stored, the file position, and
//! what programs see and keep in maps.
//!
//! Each test runs this binary again in private network, UTS and IPC namespaces, where it performs the same steps on both:
//! accesses to the kernel's knobs and to the model's, without programs or with random ones on cgroups.

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

use std::process::{Command, ExitCode};

use knobgate_kernel::{Namespaces, with_private_namespaces};
use knobgate_testing::{Suite, number};
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
        name: "the_model_takes_what_the_verifier_takes",
        // Mutated programs.
        variables: &[("KNOBGATE_SPOILT", 800)],
        check: |seed, numbers| verifier::verify(seed, numbers[0]),
    },
    Test {
        name: "what_may_be_returned_is_what_the_verifier_lets_be_returned",
        // Programs with random return values.
        variables: &[("KNOBGATE_ENDINGS", 1500)],
        check: |seed, numbers| verifier::verify_endings(seed, numbers[0]),
    },
    Test {
        name: "what_is_attached_runs_in_the_kernels_order",
        // Attach, detach and update operations.
        variables: &[("KNOBGATE_ATTACHMENTS", 3000)],
        check: |seed, numbers| sequences::attach_and_detach(seed, numbers[0]),
    },
    Test {
        name: "programs_do_as_they_do_in_the_kernel",
        // Sets of random programs, and accesses with each set.
        variables: &[("KNOBGATE_SCENES", 400), ("KNOBGATE_SCENE_ACCESSES", 50)],
        check: |seed, numbers| random_programs::run(seed, numbers[0], numbers[1]),
    },
];

/// The argument that makes this binary check the test that comes next, with the numbers that come after it.
const CHECK: &str = "--check";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [CHECK, name, numbers @ ..] = &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        let numbers: Vec<u64> = numbers.iter().map(|number| number.parse().expect("a number")).collect();
        let result = match TESTS.iter().find(|test| test.name == *name) {
            Some(test) => (test.check)(numbers[0], &numbers[1..]),
            None => objects::check(numbers[0] as usize),
        };
        let (Ok(message) | Err(message)) = &result;
        println!("{message}");
        return if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match knobgate_testing::in_private_mount_namespace() {
        Some(ended) => ended,
        None => {
            let suite = TESTS
                .iter()
                .fold(Suite::default(), |suite, test| suite.test(test.name, |_| None, || run(test)));
            objects::tests(suite).run()
        }
    }
}

/// Checks a test in private namespaces, and prints what repeats it.
fn run(test: &Test) -> Result<(), Failed> {
    let fresh = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.as_nanos() as u64);
    let variables = [("KNOBGATE_SEED", fresh)].into_iter().chain(test.variables.iter().copied());
    let mut repeat = Vec::new();
    let mut numbers = Vec::new();
    for (variable, default) in variables {
        let number = number(variable, default)?;
        repeat.push(format!("{variable}={number}"));
        numbers.push(number);
    }
    let repeat = repeat.join(" ");
    println!("{repeat}");
    check_in(PRIVATE, test.name, &numbers)
        .map_err(|difference| format!("with {repeat}:\n{difference}").into())
}

/// The namespaces of the knobs that are written.
const PRIVATE: Namespaces = Namespaces { net: true, uts: true, ipc: true, mount: false };

/// Runs this binary again in these namespaces, to check the test of this name.
fn check_in(namespaces: Namespaces, name: &str, numbers: &[u64]) -> Result<(), String> {
    let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
    command.args([CHECK, name]).args(numbers.iter().map(u64::to_string));
    with_private_namespaces(&mut command, namespaces);
    let output = command.output().map_err(|error| error.to_string())?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    print!("{stdout}");
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{stdout}{}", String::from_utf8_lossy(&output.stderr)))
}
