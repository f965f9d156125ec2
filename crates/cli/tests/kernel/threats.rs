//! The ways around a policy from the table in README.md. A process must succeed if `doctor`, or the table, says that it
//! could, and fail otherwise. Leaving the cgroup is in `ways_out`, threads are in `threaded`.

mod by_other_means;
mod by_others;
mod detaching;
mod outliving;
mod overruling;
mod racing;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use knobgate_kernel::{
    Cgroup, Hierarchy, LoadOptions, Namespaces, ScratchCgroup, attach_until_removed, load, probe_cached,
    start_inside, with_private_namespaces,
};
use knobgate_policy::{CheckOptions, Source, parse};
use knobgate_testing::{Reaped, Suite, Test, scratch};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::setting::{DetachOnDrop, KNOBGATE, attach, policy, stdout};

pub(crate) fn tests() -> Vec<Test> {
    [by_other_means::TESTS, by_others::TESTS, detaching::TESTS, outliving::TESTS, overruling::TESTS].concat()
}

/// Tests that not every kernel can run.
pub(crate) fn with_tests(suite: Suite) -> Suite {
    suite
        .requiring(by_others::task_names, by_others::BY_NAME)
        .requiring(crate::mounted::binfmt_misc, by_other_means::BINFMT_MISC)
        .requiring(by_other_means::sysrq_trigger, by_other_means::SYSRQ)
        .requiring(racing::waiting, racing::TESTS)
}

pub(crate) fn play(role: &OsString, arguments: &[OsString]) -> Option<ExitCode> {
    let did = match (role.to_str()?, arguments) {
        (by_other_means::SET_HOSTNAME, [name]) => by_other_means::set_hostname(name),
        (by_other_means::FORWARD_BY_NETLINK, []) => by_other_means::forward_by_netlink(),
        (detaching::DETACH_BY_ID, [cgroup]) => detaching::detach_by_id(Path::new(cgroup)),
        (detaching::DETACH_PINNED, [pin]) => detaching::detach_pinned(Path::new(pin)),
        (detaching::HOLD_LINK, [pin]) => detaching::hold_link(Path::new(pin)),
        (detaching::HOLD_PROGRAM, [cgroup]) => detaching::hold_program(Path::new(cgroup)),
        (overruling::OVERRULE, [cgroup]) => overruling::overrule(Path::new(cgroup)),
        _ => return None,
    };
    Some(match did {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

/// The result of a role.
type Did = Result<(), Box<dyn std::error::Error>>;

/// A process in a cgroup with a policy, and what it tries.
struct Case<'a> {
    what: &'a str,
    /// A script that sets up the environment, and then executes `"$@"` as a user and with capabilities
    /// ([`expand`]). [`Stage::shell`] has the variables.
    setup: &'a str,
    /// What it tries, in a shell.
    tries: &'a str,
    /// Whether that works.
    works: bool,
    /// The text of `doctor`'s finding, if the way is open to the process.
    says: &'a str,
}

/// Expands the abbreviations in scripts: `ROOT[,+bpf]` and `USER[]` become root or another user with only these
/// capabilities, and `NAMESPACE` mounts only the namespace's own cgroups.
fn expand(script: &str) -> String {
    let mut text = script.replace("NAMESPACE", "umount -l \"$MOUNT\" && mount -t cgroup2 none \"$MOUNT\"");
    while let Some((before, word, rest)) = ["ROOT[", "USER["]
        .into_iter()
        .find_map(|word| text.split_once(word).map(|(before, rest)| (before, word, rest)))
    {
        let (capabilities, after) = rest.split_once(']').expect("a bracket");
        let ids = "--reuid=1000 --regid=1000 --clear-groups";
        let options = match word {
            "ROOT[" => format!("--inh-caps=-all --bounding-set=-all{capabilities}"),
            // They survive an exec.
            _ => format!(
                "{ids} --inh-caps=-all{capabilities} --bounding-set=-all{capabilities} --ambient-caps=-all{capabilities}"
            ),
        };
        text = format!("{before}exec setpriv {options} -- \"$@\"{after}");
    }
    text
}

/// A cgroup with a policy, and its environment.
struct Stage {
    name: &'static str,
    _detached: DetachOnDrop,
    /// Two processes outside of the policy: one with all capabilities, whose namespaces are used, and one with none.
    strong: Reaped,
    weak: Reaped,
    held: Cgroup,
    top: ScratchCgroup,
}

/// The policy of the cgroup. No test writes 200 to this knob.
const POLICY: &str = "default write deny\nallow write net.ipv4.ip_default_ttl if new <= 100\n";

impl Stage {
    /// With a policy of this name, attached by the command.
    fn new(name: &'static str, rules: &str) -> Result<Self, Failed> {
        let stage = Self::without(name)?;
        attach(policy(&format!("policy {name}\n{rules}")).path(), &stage.held, name);
        Ok(stage)
    }

    /// With a policy that is attached like that of `knobgate run`.
    fn of_a_run(name: &'static str, rules: &str) -> Result<Self, Failed> {
        let stage = Self::without(name)?;
        let source = Source::new("t.knob", format!("policy {name}\n{rules}"));
        let file = parse(source, &CheckOptions::default()).map_err(|errors| format!("{errors:?}"))?;
        let compiled = knobgate_compiler::compile(&file, &probe_cached().features())?;
        attach_until_removed(&load(compiled.program(), &LoadOptions::default())?.program, &stage.held)?;
        Ok(stage)
    }

    fn without(name: &'static str) -> Result<Self, Failed> {
        let top = scratch();
        let held = top.create("held by name")?;
        let _detached = DetachOnDrop(name);
        let mut strong = Command::new("sleep");
        strong.arg("1000");
        let namespaces = Namespaces { net: true, uts: true, ipc: true, ..Namespaces::default() };
        with_private_namespaces(&mut strong, namespaces);
        let mut weak = Command::new("sh");
        weak.args(["-c", &expand("ROOT[]"), "sh", "sh", "-c", "echo ready; exec sleep 1000"]);
        weak.stdout(Stdio::piped());
        let mut weak = Reaped(weak.spawn()?);
        let mut line = String::new();
        BufReader::new(weak.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let strong = Reaped(strong.spawn()?);
        for namespace in ["net", "uts", "ipc"] {
            let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/{namespace}"));
            assert_ne!(
                of(&strong.0.id().to_string())?,
                of("self")?,
                "what is written would be the machine's"
            );
        }
        Ok(Self { name, _detached, strong, weak, held, top })
    }

    /// A command in the namespaces of the stage.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        // Before Linux 5.11, programs count as locked memory, of which processes without capabilities have little.
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -l unlimited 2>/dev/null; exec nsenter \"$@\"", "sh"]);
        command.args(["--target", &self.strong.0.id().to_string(), "--net", "--uts", "--ipc", "--"]);
        command.arg(program);
        command
    }

    /// A shell there. `$SELF` is this program and `$KNOBGATE` the command; `$TOP` is a cgroup, `$HELD` the cgroup in it
    /// with the policy, and `$MOUNT` the mount of the hierarchy; `$NAME` is the name of the policy, `$PINS` and `$PIN`
    /// are the places of its pins; `$STRONG` and `$WEAK` are the processes outside.
    fn shell(&self, script: &str) -> Result<Command, Failed> {
        let pins = Path::new("/sys/fs/bpf/knobgate").join(self.name);
        let mut command = self.command("sh");
        command.args(["-c", &expand(script), "sh"]);
        command.env("SELF", std::env::current_exe()?).env("KNOBGATE", KNOBGATE).env("NAME", self.name);
        command.env("TOP", self.top.path()).env("HELD", self.held.path());
        command.env("MOUNT", Hierarchy::find()?.path());
        command.env("PIN", pins.join(format!("cgroup-{}", self.held.id()))).env("PINS", pins);
        command.env("STRONG", self.strong.0.id().to_string()).env("WEAK", self.weak.0.id().to_string());
        Ok(command)
    }

    /// The output of a script that root runs outside of the policy.
    fn outside(&self, script: &str) -> Result<String, Failed> {
        Ok(stdout(&self.shell(script)?.output()?))
    }

    /// Whether a root process in this cgroup can write a value that the policy does not allow, or its write is turned
    /// into one.
    fn is_open(&self, cgroup: &Cgroup) -> Result<bool, Failed> {
        let knob = "/proc/sys/net/ipv4/ip_default_ttl";
        assert_eq!(self.outside(&format!("echo 64 >{knob} && cat {knob}"))?, "64\n");
        let script = format!("for ttl in 200 100; do echo $ttl 2>/dev/null >{knob}; cat {knob}; done");
        let mut command = self.shell(&script)?;
        start_inside(&mut command, cgroup)?;
        let values = stdout(&command.output()?);
        assert_eq!(values.lines().count(), 2, "{values}");
        Ok(values.contains("200"))
    }

    /// The same after a case, which is expected to make it so or not. The kernel may need a moment: it releases the
    /// program of an unpinned link on a work queue.
    fn is_opened(&self, case: &Case<'_>, cgroup: &Cgroup) -> Result<bool, Failed> {
        const TRIES: u32 = 100;
        for _ in 0..if case.works { TRIES } else { 0 } {
            if self.is_open(cgroup)? {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.is_open(cgroup)
    }

    /// Runs a case. Returns what `doctor` found before, and whether the process succeeded.
    fn play(&self, case: &Case<'_>) -> Result<Played, Failed> {
        let mut command = self.shell(case.setup)?;
        command.args(["sh", "-c", TRIES, "sh", &expand(case.tries)]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        start_inside(&mut command, &self.held)?;
        let mut process = Reaped(command.spawn()?);
        let mut output = BufReader::new(process.0.stdout.take().ok_or("no output")?);
        let ready = line(&mut output)?;
        let id = ready.strip_prefix("ready ").ok_or_else(|| format!("{}: {ready:?}", case.what))?;
        let pid = self.pid(id)?.ok_or_else(|| format!("{}: no process {id}", case.what))?;
        let cgroup = Cgroup::of_pid(pid)?;
        assert!(!self.is_open(&cgroup)?, "{}: the policy is in force", case.what);
        let printed =
            self.command(KNOBGATE).args(["doctor", "--json", "--pid", &pid.to_string()]).output()?;
        let findings = stdout(&printed).lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        process.0.stdin.take().ok_or("no input")?.write_all(b"go\n")?;
        let did = line(&mut output)?;
        assert!(did == "did" || did.starts_with("failed"), "{}: {did:?}", case.what);
        Ok(Played { findings, did, cgroup, _process: process })
    }

    /// The process in the cgroup or below that has this id in its innermost namespace.
    fn pid(&self, id: &str) -> Result<Option<u32>, Failed> {
        let mut pids = self.held.procs()?;
        for (_, below) in self.held.descendants()? {
            pids.extend(Cgroup::open(below)?.procs()?);
        }
        let has_id = |pid: &u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            ids.split_whitespace().last() == Some(id)
        };
        Ok(pids.into_iter().find(has_id))
    }
}

/// Reports that it is ready, waits, and runs `$1`.
const TRIES: &str = "echo ready $$; read -r go
    printed=$(eval \"$1\" 2>&1) && echo did || echo failed $printed";

fn line(output: &mut BufReader<ChildStdout>) -> Result<String, Failed> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// The result of a case.
struct Played {
    findings: Vec<Value>,
    /// Its output.
    did: String,
    /// Its cgroup.
    cgroup: Cgroup,
    _process: Reaped,
}

impl Played {
    /// Compares `doctor`'s finding and the result with the case.
    #[track_caller]
    fn expect(&self, case: &Case<'_>, finding: &str, worked: bool) {
        let found = self.findings.iter().find(|found| found["what"] == finding);
        let found = found.unwrap_or_else(|| panic!("nothing of {finding}: {:?}", self.findings));
        let claimed =
            found["state"] == "less" && found["found"].as_str().is_some_and(|text| text.contains(case.says));
        assert_eq!(
            (claimed, worked),
            (case.works, case.works),
            "{} (claimed, worked): {found}; it {}",
            case.what,
            self.did
        );
    }
}
