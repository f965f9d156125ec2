//! What the tests of several crates share, most of which are on the running kernel.
//!
//! A test program first calls [`in_private_mount_namespace`], and then [`run`] with its tests. If the machine lacks
//! something that all of them need, they are reported as *ignored*, with the reason; with `KNOBGATE_REQUIRE_KERNEL=1`
//! they fail instead. A test that needs more of the kernel states that to its [`Suite`], and is ignored on others. One that uses a
//! command that not every machine has [states that](Suite::using), too, and so does one with a
//! [container engine](Suite::with_engine), which is ignored without it unless `KNOBGATE_REQUIRE_CONTAINERS=1`.
//!
//! [`Container`] is one of runc. [`Containerd`], [`Docker`] and [`Podman`] are whole engines; the last two are each for one test,
//! which runs in [namespaces](ENGINE_NAMESPACES) that end with all that is in them.
//!
//! The tests run in a mount namespace with its own bpffs and `/run`, so that nothing is left there. Tests that write knobs
//! are [isolated](Suite::isolated): each is a process of its own, in the namespaces that own these knobs. Where many small tests share
//! what takes long to read, each is a [thread](Suite::with_private_knobs) of its own there. Cgroups ([`scratch`]) and processes
//! ([`Reaped`]) go when their values are dropped.
//!
//! The kernel and the model get the same programs: [`corpus`], [`object_cases`], [`return_values`], [`verifier_cases`], and some that
//! [`Random`] draws.
//! [`Both`] performs the same steps on them.
#![forbid(unsafe_code)]

mod both;
mod containerd;
pub mod corpus;
mod docker;
mod engines;
mod fixtures;
mod harness;
mod kernel_cases;
pub mod object_cases;
mod podman;
mod processes;
mod random;
mod requirements;
pub mod return_values;
mod runc;
mod seccomp;
pub mod verifier_cases;

pub use both::Both;
pub use containerd::{BUSYBOX_IMAGE, Containerd, Pod, without_containerd};
pub use docker::Docker;
pub use engines::{
    ENGINE_AND_CGROUP_NAMESPACES, ENGINE_NAMESPACES, IMAGE, fresh_machine, without_docker, without_lxc,
    without_nspawn, without_podman, write_image_root,
};
pub use fixtures::{RemoveOnDrop, profile, root, run_in, scratch, shell};
pub use harness::{
    PRIVATE_KNOBS, Requirement, Suite, Test, TestNamespaces, in_private_mount_namespace, number, run, seed,
};
pub use kernel_cases::{Played, kernel_cases, play_all};
pub use knobgate_hook::Profile;
pub use podman::Podman;
pub use processes::{Reaped, eventually, is_running};
pub use random::Random;
pub use requirements::{Missing, process_tracking};
pub use runc::{Bundle, Container, remove_cgroups_of_v1, without_runc};
pub use seccomp::{deny_bpf, deny_clone3, deny_inotify_watches};
