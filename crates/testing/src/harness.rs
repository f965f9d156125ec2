//! Running tests on the kernel.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::num::NonZero;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use knobgate_hook::Profile;
use knobgate_kernel::{Capabilities, Namespaces, start_inside, with_private_namespaces};
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::thread::move_into_link_name_space;

use crate::fixtures::{profile, scratch};
use crate::processes::Reaped;
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

/// `KNOBGATE_SEED`, or else a new one.
///
/// # Errors
///
/// The variable is not a number.
pub fn seed() -> Result<u64, Failed> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    number("KNOBGATE_SEED", now.map_or(0, |now| now.as_nanos() as u64))
}

/// Namespaces for one test, as options of unshare(1).
pub type TestNamespaces = &'static [&'static str];

/// Network, UTS and IPC: the owners of most knobs that are not the machine's.
pub const PRIVATE_KNOBS: TestNamespaces = &["--net", "--uts", "--ipc"];

/// The argument that makes a test program run one isolated test in this process. Its name comes next.
const ISOLATED: &str = "--isolated-test";

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
    mostly_waits: bool,
}

type Lacks = Box<dyn Fn(&Profile) -> Option<String>>;

struct TestCase {
    name: String,
    lacks: Lacks,
    /// For a process of its own.
    namespaces: Option<TestNamespaces>,
    /// A command that it uses.
    command: Option<&'static str>,
    /// What the machine lacks for the container engine that it uses.
    without_engine: Option<fn() -> Option<String>>,
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
        self.tests.push(TestCase {
            name: name.into(),
            lacks: Box::new(lacks),
            namespaces: None,
            command: None,
            without_engine: None,
            test: Box::new(test),
        });
        self
    }

    /// Has the names of these tests begin with that of a module, by which they can be chosen: `agent::` for all tests of the agent.
    #[must_use]
    pub fn in_module(mut self, module: &str) -> Self {
        self.tests.iter_mut().for_each(|test| test.name = format!("{module}::{}", test.name));
        self
    }

    /// Runs each of these tests in a process of its own, in new namespaces.
    #[must_use]
    pub fn isolated(mut self, namespaces: TestNamespaces) -> Self {
        self.tests.iter_mut().for_each(|test| test.namespaces = Some(namespaces));
        self
    }

    /// Runs each of these tests on a thread of its own, in the new namespaces of [`PRIVATE_KNOBS`]. What the process has read once, such
    /// as the types of the kernel, serves all of these tests. They cannot ask `/proc/self/net` or `/proc/self/ns`, which are the main
    /// thread's.
    #[must_use]
    pub fn with_private_knobs(mut self) -> Self {
        let inside =
            |case: TestCase| TestCase { test: Box::new(|| in_private_namespaces(case.test)), ..case };
        self.tests = self.tests.into_iter().map(inside).collect();
        self
    }

    /// Says that these tests use this command, which not every machine has. Where it is missing, they are ignored, or fail like those
    /// on a machine that lacks something for all tests.
    #[must_use]
    pub fn using(mut self, command: &'static str) -> Self {
        self.tests.iter_mut().for_each(|test| test.command = Some(command));
        self
    }

    /// Says that these tests use a container engine, and how to find out what the machine lacks for it. Where it is missing, they are
    /// ignored; with `KNOBGATE_REQUIRE_CONTAINERS=1` they fail.
    #[must_use]
    pub fn with_engine(mut self, without: fn() -> Option<String>) -> Self {
        self.tests.iter_mut().for_each(|test| test.without_engine = Some(without));
        self
    }

    /// Says that these tests wait for other processes half of their time: twice as many run at a time as there are processors, if there is
    /// more than one.
    #[must_use]
    pub fn mostly_waiting(mut self) -> Self {
        self.mostly_waits = true;
        self
    }

    /// Adds the tests of another suite.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.tests.extend(other.tests);
        self
    }

    /// Runs the tests. The arguments of this program are those of libtest.
    pub fn run(self) -> ExitCode {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        if let [ISOLATED, name] = *arguments.iter().map(String::as_str).collect::<Vec<_>>() {
            return self.run_isolated(name);
        }
        let missing = prepare();
        let trials = self.tests.into_iter().map(|requiring| requiring.trial(missing.as_ref())).collect();
        let mut arguments = Arguments::from_args();
        // The one processor of a guest is slow: one test at a time there.
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        if self.mostly_waits && processors > 1 {
            arguments.test_threads.get_or_insert(2 * processors);
        }
        libtest_mimic::run(&arguments, trials).exit_code()
    }

    /// Runs one test, in the namespaces that the process is in.
    fn run_isolated(self, name: &str) -> ExitCode {
        let case = self.tests.into_iter().find(|case| case.name == name && case.namespaces.is_some());
        match (case.expect("an isolated test").test)() {
            Ok(()) => ExitCode::SUCCESS,
            Err(failed) => {
                println!("{}", failed.message().unwrap_or("failed"));
                ExitCode::FAILURE
            }
        }
    }
}

/// Runs this program again in new namespaces, for this test alone.
fn isolate(name: &str, namespaces: TestNamespaces) -> Result<(), Failed> {
    let mut command = Command::new("unshare");
    let root = namespaces.contains(&"--cgroup").then(scratch);
    if let Some(root) = &root {
        // The cgroup of a process becomes the root of its new namespace, in which engines want no processes.
        start_inside(&mut command, root)?;
        let own = root.create("test")?;
        let script = "echo 0 >\"$1/cgroup.procs\" && shift && exec unshare \"$@\"";
        command.args(["--cgroup", "--", "sh", "-c", script, "sh"]).arg(own.path());
    }
    command.args(namespaces.iter().filter(|&&option| option != "--cgroup"));
    command.arg("--").arg(std::env::current_exe()?).args([ISOLATED, name]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut output = String::new();
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line?;
        println!("{line}");
        output += &line;
        output.push('\n');
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("{output}{status}").into()) }
}

/// Runs a test on a thread that is in the namespaces of [`PRIVATE_KNOBS`]: those of a process which has ended.
fn in_private_namespaces(test: Box<dyn FnOnce() -> Result<(), Failed> + Send>) -> Result<(), Failed> {
    let mut owner = Command::new("unshare");
    owner.args(PRIVATE_KNOBS).args(["--", "cat"]);
    let mut owner = Reaped(owner.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    // What it has repeated came after the namespaces.
    owner.0.stdin.as_mut().expect("piped").write_all(b"\n")?;
    owner.0.stdout.as_mut().expect("piped").read_exact(&mut [0])?;
    let names = PRIVATE_KNOBS.iter().map(|option| option.trim_start_matches('-'));
    let namespaces = names.map(|name| {
        let own = File::open(format!("/proc/{}/ns/{name}", owner.0.id()))?;
        let left = File::open(format!("/proc/thread-self/ns/{name}"))?;
        let [own_id, left_id] = [own.metadata()?, left.metadata()?].map(|of| (of.dev(), of.ino()));
        if own_id == left_id { Err(format!("no {name} namespace of its own").into()) } else { Ok(own) }
    });
    let namespaces: Vec<File> = namespaces.collect::<Result<_, Failed>>()?;
    drop(owner);
    let inside = thread::spawn(move || {
        for namespace in namespaces {
            move_into_link_name_space(namespace.as_fd(), None)?;
        }
        test()
    });
    inside.join().unwrap_or_else(|panic| resume_unwind(panic))
}

impl TestCase {
    fn trial(self, missing: Option<&Missing>) -> Trial {
        let Self { name, lacks, namespaces, command, without_engine, test } = self;
        let command = command.and_then(Missing::command);
        let missing = missing.or(command.as_ref());
        let test = match namespaces {
            Some(namespaces) => {
                let name = name.clone();
                Box::new(move || isolate(&name, namespaces))
            }
            None => test,
        };
        let ignored = |why: String, test| {
            // libtest always prints the kind of a test.
            Trial::test(name.clone(), test).with_kind(format!("ignored: {why}")).with_ignored_flag(true)
        };
        let failing = |why: String| Trial::test(name.clone(), move || Err(why.into()));
        let is_set = |variable| std::env::var(variable).is_ok_and(|value| value == "1");
        match missing {
            Some(missing) if is_set("KNOBGATE_REQUIRE_KERNEL") => failing(missing.to_string()),
            Some(missing) => ignored(missing.to_string(), test),
            // The machine can be set up for the tests, the kernel cannot.
            None => match (lacks(&profile()), without_engine.and_then(|without| without())) {
                (Some(why), _) => ignored(why, test),
                (None, Some(why)) if is_set("KNOBGATE_REQUIRE_CONTAINERS") => failing(why),
                (None, Some(why)) => ignored(why, test),
                (None, None) => Trial::test(name, test),
            },
        }
    }
}
