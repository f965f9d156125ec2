//! The container engines that tests use: what the fixtures promise.

mod containerd;

use std::process::ExitCode;

use knobgate_testing::{PRIVATE_KNOBS, Suite, without_containerd};

fn main() -> ExitCode {
    if let Some(ended) = knobgate_testing::in_private_mount_namespace() {
        return ended;
    }
    Suite::new(containerd::TESTS).isolated(PRIVATE_KNOBS).with_engine(without_containerd).run()
}
