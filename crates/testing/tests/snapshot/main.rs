//! Profile and snapshot of this machine, compared with the machine.

mod profiles;
mod snapshots;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(ended) = knobgate_testing::in_private_mount_namespace() {
        return ended;
    }
    knobgate_testing::run(&[profiles::TESTS, snapshots::TESTS].concat())
}
