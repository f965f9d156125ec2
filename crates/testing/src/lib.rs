//! What the tests on the running kernel have in common, for tests alone.
//!
//! A test program calls [`in_private_mounts`] first of all, and then [`run`] with its tests. Where the machine lacks what
//! they need, they are reported as *ignored*, with the reason; with `KNOBGATE_REQUIRE_KERNEL=1` they fail instead. A test that
//! needs what not every kernel has says so to its [`Suite`], and is ignored where the kernel does not have it. All of it
//! runs in a mount namespace of its own with a bpffs and a `/run` of its own, so that nothing stays behind there
//! whatever happens; cgroups ([`scratch`]) and processes ([`Reaped`]) go as the values that stand for them do.
#![forbid(unsafe_code)]

mod harness;
mod processes;
mod requirements;
mod seccomp;
mod stage;

pub use harness::{Need, Suite, Test, in_private_mounts, number, run};
pub use knobgate_hook::Profile;
pub use processes::{Reaped, eventually, runs};
pub use requirements::{Missing, followed_processes};
pub use seccomp::{deny_bpf, deny_clone3};
pub use stage::{RemovedAtLast, profile, root, scratch, shell};
