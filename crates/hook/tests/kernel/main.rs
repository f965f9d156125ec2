//! The model against the kernel that runs: random reads and writes of real knobs, each of which is private to a network,
//! UTS or IPC namespace, and no difference in what the system call returns, what is read, what is stored and where the
//! file position is.
//!
//! The test starts this binary once more in private namespaces, as the *player*, which does everything to the kernel's
//! knob and to the model's.

#[path = "../objects/cases.rs"]
mod cases;
#[path = "../objects/model.rs"]
mod model;
mod objects;
mod odd;
mod player;
mod semaphores;

use std::process::{Command, ExitCode};

use knobgate_kernel::{Namespaces, with_private_namespaces};
use knobgate_testing::Test;
use libtest_mimic::Failed;

/// How many accesses are made to each knob; `KNOBGATE_ACCESSES` says otherwise.
const ACCESSES: u64 = 1500;

const TESTS: &[Test] = &[
    ("the_handlers_do_as_the_kernels_do", handlers),
    ("programs_from_objects_do_the_same_on_both", objects::objects),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next();
    let numbers = || arguments.map(|number| number.parse().expect("a number")).collect::<Vec<u64>>();
    match role.as_deref() {
        Some(player::ARGUMENT) => {
            let &[seed, accesses] = &numbers()[..] else { panic!("seed and accesses") };
            return player::play(seed, accesses);
        }
        Some(objects::ARGUMENT) => {
            let &[case] = &numbers()[..] else { panic!("the number of a case") };
            return objects::use_knobs(case as usize);
        }
        _ => {}
    }
    match knobgate_testing::in_private_mounts() {
        Some(ended) => ended,
        None => knobgate_testing::run(TESTS),
    }
}

fn handlers() -> Result<(), Failed> {
    let number = |variable, default| match std::env::var(variable) {
        Ok(text) => text.parse().map_err(|_| format!("{variable}={text} is not a number")),
        Err(_) => Ok(default),
    };
    let fresh = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.as_nanos() as u64);
    let (seed, accesses) = (number("KNOBGATE_SEED", fresh)?, number("KNOBGATE_ACCESSES", ACCESSES)?);
    println!("KNOBGATE_SEED={seed} KNOBGATE_ACCESSES={accesses}");

    let mut player = Command::new(std::env::current_exe()?);
    player.arg(player::ARGUMENT).args([seed, accesses].map(|number| number.to_string()));
    with_private_namespaces(&mut player, Namespaces { net: true, uts: true, ipc: true, mount: false });
    let output = player.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    if output.status.success() {
        Ok(())
    } else {
        let cried = String::from_utf8_lossy(&output.stderr);
        Err(format!("with KNOBGATE_SEED={seed}:\n{said}{cried}").into())
    }
}
