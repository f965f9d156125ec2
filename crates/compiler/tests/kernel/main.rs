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
mod model;
mod sizes;

use std::process::{Command, ExitCode};

use knobgate_kernel::{Namespaces, with_private_namespaces};
use knobgate_policy::KnobName;
use knobgate_testing::Test;
use libtest_mimic::Failed;

/// How many policies are tried, and accesses under each; `KNOBGATE_POLICIES` and `KNOBGATE_ACCESSES` say otherwise.
const POLICIES: u64 = 60;
const ACCESSES: u64 = 250;

const TESTS: &[Test] = &[
    ("the_kernel_and_the_model_decide_as_evaluate_does", agree),
    (
        "a_hundred_rules_with_globs_and_conditions_load_as_the_oldest_kernels_want_them",
        sizes::a_hundred_globs,
    ),
    ("a_thousand_rules_with_conditions_load", sizes::a_thousand_conditions),
    ("ten_thousand_rules_are_no_more_to_the_verifier_than_a_thousand", sizes::ten_thousand_rules),
    ("what_the_verifier_has_to_do_is_known_within_a_factor_of_two", sizes::estimates),
    ("the_verifier_is_told_of_the_lines_of_the_policy", sizes::lines),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(actor::ARGUMENT) => actor::live().expect("the director is there"),
        Some(agreement::ARGUMENT) => {
            let numbers: Vec<u64> = arguments.map(|number| number.parse().expect("a number")).collect();
            let &[seed, policies, accesses] = &numbers[..] else { panic!("seed, policies and accesses") };
            if let Err(difference) = agreement::direct(seed, policies, accesses) {
                println!("{difference}");
                return ExitCode::FAILURE;
            }
        }
        _ => {
            return match knobgate_testing::in_private_mounts() {
                Some(ended) => ended,
                None => knobgate_testing::run(TESTS),
            };
        }
    }
    ExitCode::SUCCESS
}

fn agree() -> Result<(), Failed> {
    let number = |variable, default| match std::env::var(variable) {
        Ok(text) => text.parse().map_err(|_| format!("{variable}={text} is not a number")),
        Err(_) => Ok(default),
    };
    let fresh = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.as_nanos() as u64);
    let seed = number("KNOBGATE_SEED", fresh)?;
    let (policies, accesses) =
        (number("KNOBGATE_POLICIES", POLICIES)?, number("KNOBGATE_ACCESSES", ACCESSES)?);
    println!("KNOBGATE_SEED={seed} KNOBGATE_POLICIES={policies} KNOBGATE_ACCESSES={accesses}");

    let mut director = Command::new(std::env::current_exe()?);
    director.arg(agreement::ARGUMENT).args([seed, policies, accesses].map(|number| number.to_string()));
    with_private_namespaces(&mut director, Namespaces { net: true, uts: true, ipc: true, mount: false });
    let output = director.output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    if output.status.success() {
        Ok(())
    } else {
        let (said, cried) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Err(format!("with KNOBGATE_SEED={seed}:\n{said}{cried}").into())
    }
}

/// The knob of this name.
fn knob(name: &str) -> KnobName {
    KnobName::parse(name).expect("the name of a knob")
}
