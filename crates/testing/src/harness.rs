//! Running tests on the kernel.

use std::process::{Command, ExitCode};

use knobgate_kernel::{Capabilities, Namespaces, with_private_namespaces};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::requirements::{Missing, prepare};

/// A test: what it states, and what fails if that is not so.
pub type Test = (&'static str, fn() -> Result<(), Failed>);

/// Set in the process that has the namespace.
pub(crate) const INSIDE: &str = "KNOBGATE_TEST_INSIDE";

/// Runs this program once more, with the same arguments, in a mount namespace of its own, and returns how that ended;
/// `None` in the process that is inside, which goes on with the tests, or where there can be no namespace.
pub fn in_private_mounts() -> Option<ExitCode> {
    let can_unshare = Capabilities::of_this_process().is_ok_and(Capabilities::can_load);
    if std::env::var_os(INSIDE).is_some() || !can_unshare {
        return None;
    }
    // What a shell starts in the background ignores some, nohup(1) others, and so would all that the tests start.
    let mut inside = Command::new("env");
    inside.arg("--default-signal").arg(std::env::current_exe().unwrap_or("/proc/self/exe".into()));
    inside.args(std::env::args_os().skip(1)).env(INSIDE, "1");
    with_private_namespaces(&mut inside, Namespaces { mount: true, ..Namespaces::default() });
    match inside.status() {
        Ok(status) if status.success() => Some(ExitCode::SUCCESS),
        Ok(_) => Some(ExitCode::FAILURE),
        Err(error) => {
            eprintln!("no mount namespace ({error}); running without");
            None
        }
    }
}

/// Runs the tests as the arguments of this program say, which are those of libtest.
pub fn run(tests: &[Test]) -> ExitCode {
    let missing = prepare();
    let trials = tests.iter().map(|&test| trial(test, missing.as_ref())).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial((name, test): Test, missing: Option<&Missing>) -> Trial {
    let Some(missing) = missing else { return Trial::test(name, test) };
    let why = missing.to_string();
    if std::env::var("KNOBGATE_REQUIRE_KERNEL").is_ok_and(|value| value == "1") {
        return Trial::test(name, move || Err(why.into()));
    }
    // libtest prints a test's kind in front of its name, whether it runs or not.
    Trial::test(name, test).with_kind(format!("ignored: {why}")).with_ignored_flag(true)
}
