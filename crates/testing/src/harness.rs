//! Running tests on the kernel.

use std::process::{Command, ExitCode};

use knobgate_hook::Profile;
use knobgate_kernel::{Capabilities, Namespaces, with_private_namespaces};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::requirements::{Missing, prepare};
use crate::stage::profile;

/// A test: what it states, and what fails if that is not so.
pub type Test = (&'static str, fn() -> Result<(), Failed>);

/// How often something is done: what the variable of this name says, or else so often.
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
    Suite::new(tests).run()
}

/// What a test needs of the kernel: why this one does not do, if so.
pub type Need = fn(&Profile) -> Option<String>;

/// Tests, some of which need what not every kernel has.
#[derive(Default)]
pub struct Suite {
    tests: Vec<Needing>,
}

type Lacks = Box<dyn Fn(&Profile) -> Option<String>>;

struct Needing {
    name: String,
    lacks: Lacks,
    test: Box<dyn FnOnce() -> Result<(), Failed> + Send>,
}

impl Suite {
    /// Tests that every kernel with the hook can run.
    pub fn new(tests: &[Test]) -> Self {
        Self::default().needing(|_| None, tests)
    }

    /// And tests that need this of the kernel.
    #[must_use]
    pub fn needing(self, need: Need, tests: &[Test]) -> Self {
        tests.iter().fold(self, |suite, &(name, test)| suite.test(name, need, test))
    }

    /// And this one, which the kernel may lack something for.
    #[must_use]
    pub fn test(
        mut self,
        name: impl Into<String>,
        lacks: impl Fn(&Profile) -> Option<String> + 'static,
        test: impl FnOnce() -> Result<(), Failed> + Send + 'static,
    ) -> Self {
        self.tests.push(Needing { name: name.into(), lacks: Box::new(lacks), test: Box::new(test) });
        self
    }

    /// Runs them as the arguments of this program say, which are those of libtest.
    pub fn run(self) -> ExitCode {
        let missing = prepare();
        let trials = self.tests.into_iter().map(|needing| needing.trial(missing.as_ref())).collect();
        libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
    }
}

impl Needing {
    fn trial(self, missing: Option<&Missing>) -> Trial {
        let Self { name, lacks, test } = self;
        let ignored = |why: String, test| {
            // libtest prints a test's kind in front of its name, whether it runs or not.
            Trial::test(name.clone(), test).with_kind(format!("ignored: {why}")).with_ignored_flag(true)
        };
        match missing {
            Some(missing) if std::env::var("KNOBGATE_REQUIRE_KERNEL").is_ok_and(|value| value == "1") => {
                let why = missing.to_string();
                Trial::test(name, move || Err(why.into()))
            }
            Some(missing) => ignored(missing.to_string(), test),
            // What the machine lacks, somebody can give it; what the kernel lacks, nobody.
            None => match lacks(&profile()) {
                Some(why) => ignored(why, test),
                None => Trial::test(name, test),
            },
        }
    }
}
