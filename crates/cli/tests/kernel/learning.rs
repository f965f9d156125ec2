use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::{fs, thread, time};

use knobgate_bpf::helper_ids;
use knobgate_hook::Profile;
use knobgate_kernel::{Cgroup, ProcessId, ScratchCgroup, Signal, start_inside};
use knobgate_testing::{Reaped, Test, eventually, scratch, shell};
use libtest_mimic::Failed;

use crate::setting::{Runs, children, copy_for_others, knobgate, policy, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("a_workload_runs_again_under_the_policy_that_it_taught", again),
    ("sysctl_runs_under_what_it_taught_and_another_file_does_not", sysctl),
    ("reads_are_learnt_if_asked", reads),
    ("what_comes_before_an_execve_can_be_ignored", ignored),
    ("a_cgroup_is_watched_for_some_time", for_some_time),
    ("a_cgroup_is_watched_until_a_signal", until_a_signal),
    ("a_policy_is_extended", extended),
    ("a_command_that_cannot_be_started_teaches_nothing", no_command),
    ("learning_without_the_privilege_says_so", no_privilege),
    ("every_write_of_many_processes_is_learnt", many),
];

/// What these tests require.
pub(crate) fn threads_of_events(profile: &Profile) -> Option<String> {
    let has_threads = profile.has_helper(helper_ids::GET_CURRENT_PID_TGID);
    (!has_threads).then(|| format!("{profile} does not tell programs on the hook the thread"))
}

/// `knobgate learn` with these arguments, in a cgroup of its own that has to be empty afterwards.
fn learn_in(cgroup: &Cgroup, arguments: &[&str]) -> Output {
    let mut command = knobgate(["learn"]);
    command.args(arguments);
    start_inside(&mut command, cgroup).expect("cgroup.procs");
    let output = command.output().expect("knobgate");
    eventually("the cgroup of the command is gone", || children(cgroup).is_empty());
    output
}

/// The policy that is learnt from a script, with these arguments.
fn learnt_from(script: &str, arguments: &[&str]) -> String {
    let cgroup = scratch();
    let output = learn_in(&cgroup, &[arguments, &["--name", "p", "--", "sh", "-c", script]].concat());
    assert!(output.status.success(), "{output:?}");
    stdout(&output)
}

fn rules(policy: &str) -> Vec<&str> {
    policy.lines().filter(|line| line.starts_with("allow ") || line.starts_with("deny ")).collect()
}

/// Asserts that the policy has no errors, is formatted, and passes its tests.
#[track_caller]
fn assert_sound(path: &Path) {
    for arguments in [&["check", "--any-machine"][..], &["fmt", "--check"], &["test"]] {
        let output = knobgate(arguments).arg(path).output().expect("knobgate");
        assert!(output.status.success() && !stderr(&output).contains("warning"), "{arguments:?}: {output:?}");
    }
}

const SCRIPT: &str = "cd /proc/sys
    echo 100 > net/ipv4/ip_default_ttl
    echo 4096 131072 6291456 > net/ipv4/tcp_rmem
    printf example > kernel/domainname
    (echo 256 > net/ipv4/ip_default_ttl) 2>/dev/null
    cat net/ipv4/ip_default_ttl kernel/domainname";

fn again() -> Result<(), Failed> {
    let text = learnt_from(SCRIPT, &["--runs", "2"]);
    let expected = [
        "allow write kernel.domainname if new == \"example\"",
        "allow write net.ipv4.ip_default_ttl if new == 100",
        "allow write net.ipv4.tcp_rmem if count(new) == 3 and new[0] == 4096 and new[1] == 131072 and new[2] == 6291456",
    ];
    assert_eq!(rules(&text), expected, "{text}");
    assert!(
        text.contains("\n# seen 2×, in 2 of 2 runs, by sh\nallow write net.ipv4.ip_default_ttl"),
        "{text}"
    );
    assert!(
        text.contains("\n# seen 2×, in 2 of 2 runs, by sh: write net.ipv4.ip_default_ttl failed with EINVAL"),
        "{text}"
    );
    assert_sound(policy(&text).path());

    let (_, enforced) = text.split_once("mode audit\n").expect("it is in audit mode");
    let runs = Runs::new("t-learnt", enforced);
    let output = runs.script(SCRIPT);
    assert!(output.status.success() && !stderr(&output).contains("denied"), "{output:?}");
    assert_eq!(stdout(&output), "100\nexample\n");
    let altered = runs.script(
        "cd /proc/sys; echo 101 > net/ipv4/ip_default_ttl || echo no; echo 1 > net/ipv4/ip_forward || echo no
         cat net/ipv4/ip_default_ttl net/ipv4/ip_forward",
    );
    assert_eq!(stdout(&altered), "no\nno\n64\n0\n", "{altered:?}");
    Ok(())
}

fn sysctl() -> Result<(), Failed> {
    let settings = "net.ipv4.ip_default_ttl = 100\nnet.ipv4.conf.lo.rp_filter = 2\n-net.ipv4.no_such_knob = 1\nkernel.domainname = example\n";
    let conf = tempfile::NamedTempFile::new()?;
    fs::write(conf.path(), settings)?;
    let path = conf.path().to_str().ok_or("a path")?;
    let command = ["sysctl", "--quiet", "--ignore", "--load", path];
    let cgroup = scratch();
    let learnt = learn_in(&cgroup, &[&["--name", "p", "--"], &command[..]].concat());
    assert!(learnt.status.success(), "{learnt:?}");
    let text = stdout(&learnt);
    assert_sound(policy(&text).path());
    let expected = [
        "allow write kernel.domainname if new == \"example\"",
        "allow write net.ipv4.conf.lo.rp_filter if new == 2",
        "allow write net.ipv4.ip_default_ttl if new == 100",
    ];
    assert_eq!(rules(&text), expected, "{text}");

    let (_, enforced) = text.split_once("mode audit\n").ok_or("it is in audit mode")?;
    let runs = Runs::new("t-sysctl", enforced);
    let output = runs.command(command).output()?;
    assert!(output.status.success() && !stderr(&output).contains("denied"), "{output:?}");
    // An attacker's file, and what has changed after it.
    let altered = "net.ipv4.ip_default_ttl = 101\nnet.ipv4.conf.lo.rp_filter = 0\nkernel.domainname = evil\nnet.ipv4.ip_forward = 1\n";
    fs::write(conf.path(), altered)?;
    let script = format!(
        "sysctl --quiet --load {path}; cd /proc/sys; cat net/ipv4/ip_default_ttl net/ipv4/conf/lo/rp_filter \
                          kernel/domainname net/ipv4/ip_forward"
    );
    let output = runs.script(&script);
    assert_eq!(stdout(&output), "64\n0\n(none)\n0\n", "{output:?}");
    assert_eq!(stderr(&output).matches("sysctl: ").count(), 4, "{output:?}");
    Ok(())
}

fn reads() -> Result<(), Failed> {
    let text = learnt_from("cat /proc/sys/kernel/ostype; cat /proc/sys/kernel/no-such-knob", &["--reads"]);
    assert!(text.contains("\ndefault read deny\n"), "{text}");
    assert!(rules(&text).contains(&"allow read kernel.ostype"), "{text}");
    assert_sound(policy(&text).path());
    Ok(())
}

fn ignored() -> Result<(), Failed> {
    let script = "cd /proc/sys; echo before > kernel/domainname; sh -c 'echo 1 > net/ipv4/ip_forward'
        exec sh -c 'echo 100 > net/ipv4/ip_default_ttl'";
    let text = learnt_from(script, &["--ignore-until-exec"]);
    assert_eq!(rules(&text), ["allow write net.ipv4.ip_default_ttl if new == 100"], "{text}");
    Ok(())
}

/// A watched cgroup.
struct Watched {
    cgroup: ScratchCgroup,
    knobgate: Reaped,
    errors: BufReader<std::process::ChildStderr>,
    file: tempfile::NamedTempFile,
}

impl Watched {
    fn new(arguments: &[&str]) -> Self {
        let (cgroup, file) = (scratch(), policy(""));
        let mut command = knobgate(["learn", "--name", "p", "--cgroup"]);
        command.arg(cgroup.path()).arg("-o").arg(file.path()).args(arguments);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("knobgate");
        let mut errors = BufReader::new(child.stderr.take().expect("its errors"));
        let mut line = String::new();
        errors.read_line(&mut line).expect("a line");
        assert!(line.starts_with("note: watching "), "{line}");
        Self { cgroup, knobgate: Reaped(child), errors, file }
    }

    /// The policy.
    fn end(mut self) -> String {
        let status = self.knobgate.0.wait().expect("its status");
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.errors, &mut rest).expect("its errors");
        assert!(status.success(), "{status}: {rest}");
        fs::read_to_string(self.file.path()).expect("a policy")
    }
}

fn for_some_time() -> Result<(), Failed> {
    let watched = Watched::new(&["--for", "3s"]);
    shell(&watched.cgroup, "echo 100 > /proc/sys/net/ipv4/ip_default_ttl").status()?;
    let begun = time::Instant::now();
    let text = watched.end();
    assert!(begun.elapsed() < time::Duration::from_secs(60));
    assert_eq!(rules(&text), ["allow write net.ipv4.ip_default_ttl if new == 100"], "{text}");
    Ok(())
}

fn until_a_signal() -> Result<(), Failed> {
    let watched = Watched::new(&["--ignore-until-exec"]);
    // As a container runtime: it enters the cgroup, prepares, and executes.
    shell(&watched.cgroup, "echo 100 > /proc/sys/net/ipv4/ip_default_ttl").status()?;
    thread::sleep(time::Duration::from_millis(100));
    ProcessId::of_child(&watched.knobgate.0).send(Signal::INT)?;
    let text = watched.end();
    assert_eq!(rules(&text), ["allow write net.ipv4.ip_default_ttl if new == 100"], "{text}");
    Ok(())
}

fn extended() -> Result<(), Failed> {
    let old = policy("policy web\n\n# The forwarder\nallow write net.ipv4.ip_forward if new == 1\n");
    let path = old.path().to_str().expect("a path");
    let cgroup = scratch();
    let script = "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 100 > /proc/sys/net/ipv4/ip_default_ttl";
    let output = learn_in(&cgroup, &["--merge", path, "-o", path, "--", "sh", "-c", script]);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).ends_with(": added 1 rule\n"), "{output:?}");
    assert!(stderr(&output).contains("\n+allow write net.ipv4.ip_default_ttl if new == 100\n"), "{output:?}");
    let text = fs::read_to_string(path)?;
    assert!(
        text.starts_with("policy web\n\n# The forwarder\nallow write net.ipv4.ip_forward if new == 1\n"),
        "{text}"
    );
    assert_sound(old.path());
    Ok(())
}

fn no_command() -> Result<(), Failed> {
    let cgroup = scratch();
    let output = learn_in(&cgroup, &["--", "/no/such/command"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(127), ""), "{output:?}");
    Ok(())
}

fn no_privilege() -> Result<(), Failed> {
    let copy = copy_for_others();
    let mut command = Command::new(copy.path().join("knobgate"));
    let output = command.args(["learn", "--", "true"]).uid(65534).gid(65534).output()?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(
        stderr(&output),
        "error: cannot load the observer: this process lacks CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON to load programs; run \
         knobgate as root\n"
    );
    Ok(())
}

fn many() -> Result<(), Failed> {
    let script = "for writer in 1 2 3 4; do
            (for value in $(seq 500); do echo $value > /proc/sys/net/core/somaxconn; done) &
        done; wait";
    let cgroup = scratch();
    let output = learn_in(&cgroup, &["--name", "p", "--", "sh", "-c", script]);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    let seen =
        text.lines().filter_map(|line| line.strip_prefix("# seen ")?.split_once('×')?.0.parse::<u64>().ok());
    assert_eq!(seen.sum::<u64>(), 2000, "{text}");
    // From 7.0 on, the kernel may skip a program on a tracepoint.
    if !stderr(&output).contains("of system calls; the accesses are comments in the policy") {
        assert_eq!(rules(&text), ["allow write net.core.somaxconn if new in 1..500"], "{text}");
    }
    Ok(())
}
