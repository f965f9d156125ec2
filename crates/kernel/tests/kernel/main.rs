//! What this crate says of the kernel, held against the kernel.
//!
//! Where the machine lacks what a test needs, the test is reported as *ignored*, with the reason; with
//! `KNOBGATE_REQUIRE_KERNEL=1` it fails instead. All of it runs in a mount namespace of its own with a bpffs and a `/run` of its
//! own, so that nothing stays behind there whatever happens; cgroups are removed as the tests end.

mod cgroups;
mod guards;
mod links;
mod loads;
mod machines;
mod spawns;
mod stage;

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use knobgate_kernel::{Capabilities, Namespaces, with_private_namespaces};
use libtest_mimic::{Arguments, Failed, Trial};
use stage::Missing;

/// Set, in the process that has a mount namespace of its own, to the one that it left.
const LEFT: &str = "KNOBGATE_TEST_LEFT";

type Test = (&'static str, fn() -> Result<(), Failed>);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if !is_inside() && Capabilities::of_this_process().is_ok_and(Capabilities::can_load) {
        let mut inside = Command::new("/proc/self/exe");
        inside.args(&arguments).env(LEFT, mount_namespace());
        with_private_namespaces(&mut inside, Namespaces { mount: true, ..Namespaces::default() });
        match inside.status() {
            Ok(status) if status.success() => return ExitCode::SUCCESS,
            Ok(_) => return ExitCode::FAILURE,
            Err(error) => eprintln!("no mount namespace ({error}); running without"),
        }
    }
    if let [role, cgroup] = arguments.as_slice()
        && role == guards::HOLDER
    {
        guards::hold(cgroup.as_ref());
    }
    let missing = stage::prepare();
    let tests = [cgroups::TESTS, guards::TESTS, links::TESTS, loads::TESTS, machines::TESTS, spawns::TESTS];
    let trials = tests.concat().into_iter().map(|test| trial(test, missing.as_ref())).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Whether what is mounted here is seen by us alone.
fn is_inside() -> bool {
    std::env::var_os(LEFT).is_some_and(|left| left != mount_namespace())
}

fn mount_namespace() -> OsString {
    std::fs::read_link("/proc/self/ns/mnt").expect("/proc").into()
}

fn trial((name, test): Test, missing: Option<&Missing>) -> Trial {
    let Some(missing) = missing else { return Trial::test(name, test) };
    let why = missing.to_string();
    if std::env::var("KNOBGATE_REQUIRE_KERNEL").is_ok_and(|value| value == "1") {
        return Trial::test(name, move || Err(why.into()));
    }
    // libtest prints a test's kind in front of its name, whether it runs or not.
    let kind = format!("ignored: {why}");
    Trial::test(name, move || Err(why.into())).with_kind(kind).with_ignored_flag(true)
}
