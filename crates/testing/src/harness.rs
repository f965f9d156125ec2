//! Running tests on the kernel.

use std::process::{Command, ExitCode};

use knobgate_hook::Profile;
use knobgate_kernel::{Capabilities, Namespaces, with_private_namespaces};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::fixtures::profile;
use crate::requirements::{INSIDE, Missing, prepare};

/// A test: the statement that it checks, and the check.
pub type Test = (&'static str, fn() -> Result<(), Failed>);

/// A number from this environment variable, or else the default.
///
/// # Errors
///
/// The variable is not a number.
pub fn number(variable: &str, default: u64) -> Result<u64, Failed> {
    match std::env::var(variable) {
        Ok(text) => text.parse().map_err(|_| format!("{variable}={text} is not a number").into()),
        Err(_) => Ok(default),
    }
}

/// Runs this program again, with the same arguments, in a new mount namespace, and returns its exit status. `None` in
/// the process inside, which goes on with the tests, or if there can be no namespace.
pub fn in_private_mount_namespace() -> Option<ExitCode> {
    let can_unshare = Capabilities::of_this_process().is_ok_and(Capabilities::can_load);
    if std::env::var_os(INSIDE).is_some() || !can_unshare {
        return None;
    }
    // Shells start background processes with some signals ignored, nohup(1) with others. The tests would inherit that.
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

/// Runs the tests. The arguments of this program are those of libtest.
pub fn run(tests: &[Test]) -> ExitCode {
    Suite::new(tests).run()
}

/// What a test requires of the kernel: the reason if this one does not qualify.
pub type Requirement = fn(&Profile) -> Option<String>;

/// Tests, some of which require features that not every kernel has.
#[derive(Default)]
pub struct Suite {
    tests: Vec<TestCase>,
}

type Lacks = Box<dyn Fn(&Profile) -> Option<String>>;

struct TestCase {
    name: String,
    lacks: Lacks,
    test: Box<dyn FnOnce() -> Result<(), Failed> + Send>,
}

impl Suite {
    /// Tests for every kernel with the hook.
    pub fn new(tests: &[Test]) -> Self {
        Self::default().requiring(|_| None, tests)
    }

    /// Adds tests that require this.
    #[must_use]
    pub fn requiring(self, requirement: Requirement, tests: &[Test]) -> Self {
        tests.iter().fold(self, |suite, &(name, test)| suite.test(name, requirement, test))
    }

    /// Adds a test, with what the kernel may lack for it.
    #[must_use]
    pub fn test(
        mut self,
        name: impl Into<String>,
        lacks: impl Fn(&Profile) -> Option<String> + 'static,
        test: impl FnOnce() -> Result<(), Failed> + Send + 'static,
    ) -> Self {
        self.tests.push(TestCase { name: name.into(), lacks: Box::new(lacks), test: Box::new(test) });
        self
    }

    /// Runs the tests. The arguments of this program are those of libtest.
    pub fn run(self) -> ExitCode {
        let missing = prepare();
        let trials = self.tests.into_iter().map(|requiring| requiring.trial(missing.as_ref())).collect();
        libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
    }
}

impl TestCase {
    fn trial(self, missing: Option<&Missing>) -> Trial {
        let Self { name, lacks, test } = self;
        let ignored = |why: String, test| {
            // libtest always prints the kind of a test.
            Trial::test(name.clone(), test).with_kind(format!("ignored: {why}")).with_ignored_flag(true)
        };
        match missing {
            Some(missing) if std::env::var("KNOBGATE_REQUIRE_KERNEL").is_ok_and(|value| value == "1") => {
                let why = missing.to_string();
                Trial::test(name, move || Err(why.into()))
            }
            Some(missing) => ignored(missing.to_string(), test),
            // The machine can be set up for the tests, the kernel cannot.
            None => match lacks(&profile()) {
                Some(why) => ignored(why, test),
                None => Trial::test(name, test),
            },
        }
    }
}
