//! Threaded cgroups, in which the kernel judges threads and not processes, in every command that takes a cgroup.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use knobgate_kernel::{Cgroup, ScratchCgroup, start_inside};
use knobgate_testing::{Reaped, Test, scratch};
use libtest_mimic::Failed;

use crate::setting::{DetachOnDrop, KNOBGATE, Runs, attach, children, expect, policy, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("no_command_is_run_below_a_threaded_cgroup", run_below),
    ("no_command_is_run_if_the_caller_is_in_a_threaded_cgroup", run_in_own),
    ("a_policy_on_a_threaded_cgroup_applies_to_its_threads_with_a_warning", attached),
    ("threads_in_different_cgroups_are_reported", apart),
    ("a_policy_above_applies_to_all_threads", above),
    ("threaded_cgroups_of_the_command_are_removed", inner),
    ("a_command_that_makes_its_own_cgroup_threaded_is_ended", own),
];

/// The argument that makes this program start a second thread and move it to another cgroup. Each thread writes a knob,
/// the first one first, and prints whether it could; then both sleep.
const TWO_THREADS: &str = "--two-threads";

pub(crate) fn play(role: &OsString, arguments: &[OsString]) -> Option<ExitCode> {
    let [cgroup] = arguments else { return None };
    (role == TWO_THREADS).then(|| two_threads(Path::new(cgroup)))
}

fn two_threads(cgroup: &Path) -> ExitCode {
    let write = || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").is_ok();
    println!("{}", write());
    let other = std::thread::scope(|threads| {
        let apart = threads.spawn(|| {
            // "0" is the writing thread.
            std::fs::write(cgroup.join("cgroup.threads"), "0").expect("the other cgroup");
            println!("{}", write());
            std::thread::sleep(std::time::Duration::from_secs(1000));
        });
        apart.join().is_ok()
    });
    ExitCode::from(u8::from(other))
}

/// A domain with two threaded cgroups in it.
struct Threaded {
    a: Cgroup,
    b: Cgroup,
    domain: ScratchCgroup,
}

impl Threaded {
    fn new() -> std::io::Result<Self> {
        let domain = scratch();
        let make = |name| {
            let cgroup = domain.create(name).map_err(std::io::Error::other)?;
            std::fs::write(cgroup.path().join("cgroup.type"), "threaded")?;
            Ok::<_, std::io::Error>(cgroup)
        };
        Ok(Self { a: make("a")?, b: make("b")?, domain })
    }

    /// A process with its first thread in `a` and its second one in `b`, and whether they could write.
    fn process(&self) -> Result<(Reaped, [String; 2]), Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(TWO_THREADS).arg(self.b.path()).stdout(Stdio::piped());
        start_inside(&mut command, &self.a)?;
        let net = knobgate_kernel::Namespaces { net: true, ..Default::default() };
        knobgate_kernel::with_private_namespaces(&mut command, net);
        let mut process = Reaped(command.spawn()?);
        let mut output = BufReader::new(process.0.stdout.take().ok_or("no output")?);
        let mut lines = [String::new(), String::new()];
        for line in &mut lines {
            output.read_line(line)?;
            line.truncate(line.trim_end().len());
        }
        Ok((process, lines))
    }
}

const DENY: &str = "policy t-threads\ndefault write deny\n";

fn run_below() -> Result<(), Failed> {
    let cgroups = Threaded::new()?;
    let invalid = cgroups.a.create("invalid")?;
    let file = policy(DENY);
    for (cgroup, kind) in
        [(&cgroups.a, "threaded"), (&*cgroups.domain, "domain threaded"), (&invalid, "domain invalid")]
    {
        let path = cgroup.path().to_str().ok_or("a path")?;
        let before = children(cgroup);
        let output = expect(
            2,
            ["run", "--policy", file.path().to_str().ok_or("a path")?, "--cgroup", path, "--", "echo", "ran"],
        );
        assert_eq!(stdout(&output), "", "{kind}");
        let why = format!("the cgroup.type of {path} is \"{kind}\"");
        assert!(stderr(&output).contains(&why), "{output:?}");
        assert!(stderr(&output).contains("choose another with --cgroup"), "{output:?}");
        assert_eq!(children(cgroup), before, "{kind}");
    }
    Ok(())
}

fn run_in_own() -> Result<(), Failed> {
    let cgroups = Threaded::new()?;
    let file = policy(DENY);
    let mut command = Command::new(KNOBGATE);
    command.args(["run", "--policy"]).arg(file.path()).args(["--", "echo", "ran"]);
    start_inside(&mut command, &cgroups.a)?;
    let output = command.output()?;
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(3), ""), "{output:?}");
    assert!(stderr(&output).contains("choose one with --cgroup"), "{output:?}");
    assert!(stderr(&output).contains("\"threaded\""), "{output:?}");
    Ok(())
}

fn attached() -> Result<(), Failed> {
    let cgroups = Threaded::new()?;
    let _detached = DetachOnDrop("t-thr-on");
    let file = policy(DENY);
    let (file, path) = (file.path().to_str().ok_or("a path")?, cgroups.b.path().to_str().ok_or("a path")?);
    let output = expect(0, ["attach", "--policy", file, "--cgroup", path, "--name", "t-thr-on"]);
    assert!(stderr(&output).contains(&format!("{path} is a threaded cgroup")), "{output:?}");
    let (process, could_write) = cgroups.process()?;
    assert_eq!(could_write, ["true", "false"]);
    expect_threads(&process, "less")?;
    assert!(stdout(&expect(0, ["show", "t-thr-on"])).contains(path));
    expect(0, ["detach", "t-thr-on", "--cgroup", path]);
    let (_process, could_write) = cgroups.process()?;
    assert_eq!(could_write, ["true", "true"]);
    Ok(())
}

fn apart() -> Result<(), Failed> {
    let cgroups = Threaded::new()?;
    let _detached = DetachOnDrop("t-thr-pid");
    let file = policy(DENY);
    let (process, _) = cgroups.process()?;
    let pid = process.0.id().to_string();
    let file = file.path().to_str().ok_or("a path")?;
    let output = expect(2, ["attach", "--policy", file, "--pid", &pid, "--name", "t-thr-pid"]);
    let printed = stderr(&output);
    assert!(
        printed.contains("is a threaded cgroup") && printed.contains("1 thread in it, 1 not"),
        "{printed}"
    );
    assert!(
        printed.contains(&format!("all of them are in --cgroup {};", cgroups.domain.path().display())),
        "{printed}"
    );
    expect_threads(&process, "less")
}

/// What `doctor` must report about a process with threads in different cgroups.
fn expect_threads(process: &Reaped, state: &str) -> Result<(), Failed> {
    let printed = stdout(&expect(0, ["doctor", "--pid", &process.0.id().to_string()]));
    let line = printed.lines().find(|line| line.split_whitespace().nth(1) == Some("threads"));
    let line = line.ok_or("nothing about threads")?;
    assert!(line.starts_with(state), "{line}");
    assert!(line.contains("1 thread in its cgroup, 1 in others"), "{line}");
    Ok(())
}

fn above() -> Result<(), Failed> {
    let cgroups = Threaded::new()?;
    let _detached = DetachOnDrop("t-thr-up");
    attach(policy(DENY).path(), &cgroups.domain, "t-thr-up");
    let (process, could_write) = cgroups.process()?;
    assert_eq!(could_write, ["false", "false"]);
    expect_threads(&process, "ok")
}

/// The start of a script in `knobgate run`: changes to the directory of its own cgroup.
fn own_cgroup(runs: &Runs) -> String {
    format!("own=$(echo {}/knobgate-run-*); ", runs.parent.path().display())
}

fn inner() -> Result<(), Failed> {
    let runs = Runs::new("t-thr-in", "");
    let output = runs.script(&format!(
        "{} mkdir $own/x && echo threaded >$own/x/cgroup.type && cat $own/cgroup.type
         for i in 1 2 3; do sh -c \"echo 0 >$own/x/cgroup.procs && exec setsid sleep 1000\" >/dev/null 2>&1 & done
         while [ $(wc -l <$own/x/cgroup.threads) != 3 ]; do sleep 0.02; done; exit 4",
        own_cgroup(&runs)
    ));
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(4), "domain threaded\n"),
        "{output:?}"
    );
    runs.expect_nothing_left();
    Ok(())
}

fn own() -> Result<(), Failed> {
    let runs = Runs::new("t-thr-own", "");
    // It must be empty at that moment.
    let output = runs.script(&format!(
        "{} echo 0 >{}/cgroup.procs && echo threaded >$own/cgroup.type && echo 0 >$own/cgroup.procs && cat $own/cgroup.type
         for i in 1 2 3; do setsid sleep 1000 >/dev/null 2>&1 & done; exit 4",
        own_cgroup(&runs),
        runs.parent.path().display()
    ));
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(4), "threaded\n"), "{output:?}");
    runs.expect_nothing_left();
    Ok(())
}
