//! A machine for one agent: a bpffs, a `/run`, and a cgroup that it takes for the root of all. Or else the whole machine.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use knobgate_kernel::{Cgroup, Hierarchy, ProcessId, ScratchCgroup, Signal, start_inside};
use knobgate_testing::{
    Reaped, Suite, Test, TestNamespaces, eventually, fresh_machine, is_running, root, scratch,
};
use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::setting::KNOBGATE;

/// The namespaces of a test with an agent. Knobs are written in its own.
pub(crate) const NAMESPACES: TestNamespaces = &["--mount", "--net", "--uts", "--ipc"];

/// The same, and a cgroup namespace: the cgroups of the test are all that there are.
pub(crate) const CONTAINERD_NAMESPACES: TestNamespaces = &["--mount", "--net", "--uts", "--ipc", "--cgroup"];

/// Tests with agents.
pub(crate) fn suite(tests: &[Test]) -> Suite {
    Suite::new(tests).isolated(NAMESPACES).in_module("agent")
}

/// A policy for the cgroups whose names start so.
pub(crate) fn policy_for(name: &str, start: &str) -> String {
    format!("policy {name}\napply if cgroup starts with \"/{start}\"\ndefault write deny\n")
}

/// A machine on which an agent can run. It sees only the cgroups below one, which is in a cgroup namespace for it.
pub(crate) struct AgentMachine {
    files: TempDir,
    top: ScratchCgroup,
    agent: Option<Reaped>,
    /// How often an agent was started.
    starts: usize,
    /// Whether the namespaces of the agent are those of the test.
    shares_namespaces: bool,
}

impl AgentMachine {
    pub(crate) fn new(policies: &[(&str, &str)]) -> Result<Self, Failed> {
        mount_own()?;
        Self::prepared(policies, false)
    }

    /// A machine on which containerd runs, too, which needs the hierarchies of v1 where v2 lacks controllers. The test is in
    /// [`CONTAINERD_NAMESPACES`], and the agent sees all cgroups there.
    pub(crate) fn beside_containerd(policies: &[(&str, &str)]) -> Result<Self, Failed> {
        mount_own()?;
        let hierarchy = Hierarchy::find()?;
        let unmounted = Command::new("umount").arg(hierarchy.path()).status()?;
        assert!(unmounted.success(), "{}: {unmounted}", hierarchy.path().display());
        mount("cgroup2", hierarchy.path())?;
        Self::prepared(policies, true)
    }

    /// A machine on which an engine runs, too. The test is in
    /// [`ENGINE_AND_CGROUP_NAMESPACES`](knobgate_testing::ENGINE_AND_CGROUP_NAMESPACES), and the agent sees all cgroups there.
    pub(crate) fn beside_an_engine(policies: &[(&str, &str)]) -> Result<Self, Failed> {
        fresh_machine()?;
        Self::prepared(policies, true)
    }

    fn prepared(policies: &[(&str, &str)], shares_namespaces: bool) -> Result<Self, Failed> {
        let (files, top) = (tempfile::tempdir()?, scratch());
        let machine = Self { files, top, agent: None, starts: 0, shares_namespaces };
        fs::create_dir(machine.policies())?;
        for (name, text) in policies {
            machine.write(name, text);
        }
        machine.configure("");
        Ok(machine)
    }

    /// The whole machine, without policies: its agent sees all cgroups.
    pub(crate) fn whole() -> Result<Self, Failed> {
        mount_own()?;
        Self::prepared(&[], true)
    }

    /// With an agent that runs, and has put the policy `web` on the cgroup `g1`.
    pub(crate) fn with_a_policy() -> Result<Self, Failed> {
        let mut machine = Self::new(&[("web.knob", &policy_for("web", "g"))])?;
        machine.start()?;
        machine.make("g1");
        machine.expect_on("g1", &["web:agent"]);
        Ok(machine)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    pub(crate) fn policies(&self) -> PathBuf {
        self.path("policies.d")
    }

    /// Writes a policy, as editors do.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let new = self.policies().join(format!("{name}~"));
        fs::write(&new, text).expect("a policy");
        fs::rename(new, self.policies().join(name)).expect("a policy");
    }

    /// Writes agent.toml, with a short interval.
    pub(crate) fn configure(&self, text: &str) {
        let text = format!("check-interval = \"1s\"\n{text}[log]\nformat = \"text\"\nlevel = \"debug\"\n");
        fs::write(self.path("agent.toml"), text).expect("agent.toml");
    }

    /// The agent's command line, in its namespaces.
    pub(crate) fn command(&self) -> Command {
        self.command_of(&[], &["agent", "--config"])
    }

    /// The hook's command line, in the same namespaces.
    pub(crate) fn hook_command(&self) -> Command {
        self.command_of(&[], &["oci-hook", "--agent-config"])
    }

    /// The same, run by another program.
    pub(crate) fn command_through(&self, program: &[&OsStr]) -> Command {
        self.command_of(program, &["agent", "--config"])
    }

    fn command_of(&self, through: &[&OsStr], arguments: &[&str]) -> Command {
        let hierarchy = Hierarchy::find().expect("a hierarchy");
        let script = "umount \"$1\" && mount -t cgroup2 cgroup2 \"$1\" && shift && exec \"$@\"";
        let mut command = Command::new(if self.shares_namespaces { "env" } else { "unshare" });
        if !self.shares_namespaces {
            command.args(["--mount", "--cgroup", "--", "sh", "-c", script, "sh"]).arg(hierarchy.path());
            start_inside(&mut command, &self.top).expect("cgroup.procs");
        }
        command.args(through).arg(KNOBGATE).args(arguments).arg(self.path("agent.toml"));
        command.arg("--policies").arg(self.policies());
        command
    }

    /// Starts the agent, and waits until it watches.
    pub(crate) fn start(&mut self) -> Result<(), Failed> {
        let command = self.command();
        self.start_command(command)
    }

    pub(crate) fn start_command(&mut self, command: Command) -> Result<(), Failed> {
        self.start_unready(command)?;
        // On a slow machine, it takes a while to find out what the kernel can do.
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.is_running() && !self.log().contains("started: ") {
            assert!(Instant::now() < deadline, "it has not started: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(self.is_running(), "{}", self.log());
        Ok(())
    }

    /// Starts the agent, and does not wait.
    pub(crate) fn start_unready(&mut self, mut command: Command) -> io::Result<()> {
        assert!(self.agent.is_none(), "one at a time");
        self.starts += 1;
        let log = File::create(self.log_path())?;
        self.agent = Some(Reaped(command.stderr(log).spawn()?));
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        self.path(&format!("log.{}", self.starts))
    }

    /// What the agent that was started last has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Waits until it has said this.
    pub(crate) fn expect_said(&self, text: &str) {
        self.expect_count(text, 1);
    }

    /// Waits until it has said this so often.
    pub(crate) fn expect_count(&self, text: &str, count: usize) {
        self.expect_log(&format!("{text:?}, {count} times"), |log| log.matches(text).count() >= count);
    }

    /// Waits until a line has all of these.
    pub(crate) fn expect_line(&self, parts: &[&str]) {
        let has_all = |line: &str| parts.iter().all(|part| line.contains(part));
        self.expect_log(&format!("{parts:?} in one line"), |log| log.lines().any(has_all));
    }

    fn expect_log(&self, what: &str, is_said: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_said(&self.log()) {
            assert!(Instant::now() < deadline, "not said: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.agent.as_ref().map_or(0, |agent| agent.0.id())
    }

    pub(crate) fn is_running(&self) -> bool {
        is_running(self.pid())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let agent = self.agent.as_ref().expect("an agent");
        ProcessId::of_child(&agent.0).send(signal).expect("a signal");
    }

    /// Stops all its threads, and waits for that.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let is_stopped = |task: &Path| {
            let status = fs::read_to_string(task.join("status")).unwrap_or_default();
            status.contains("\nState:\tT")
        };
        eventually("the agent is stopped", || {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("its threads");
            tasks.map(|task| task.expect("a thread").path()).all(|task| is_stopped(&task))
        });
    }

    /// Sends it a signal that ends it, and waits for that.
    pub(crate) fn end(&mut self, signal: Signal) -> Result<ExitStatus, Failed> {
        self.signal(signal);
        Ok(self.agent.take().ok_or("an agent")?.ended())
    }

    /// The directory of a cgroup.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    /// Makes a cgroup, and those above it.
    pub(crate) fn make(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(&path).expect("a cgroup");
        path
    }

    pub(crate) fn open(&self, name: &str) -> Cgroup {
        Cgroup::open(self.at(name)).expect("a cgroup")
    }

    /// The pins of links on a cgroup: each attachment, with what the name of the pin says after the cgroup's id.
    pub(crate) fn on(&self, name: &str) -> Vec<(String, String)> {
        let Ok(found) = fs::metadata(self.at(name)) else { return Vec::new() };
        let of_cgroup = |(attachment, pin): (String, String)| {
            let (id, origin) = split(&pin)?;
            (id == found.ino()).then(|| (attachment, origin.to_owned()))
        };
        pins().into_iter().filter_map(of_cgroup).collect()
    }

    /// Waits until these policies, and no others, are on a cgroup: each as `NAME` and the origin, such as `web:agent`.
    pub(crate) fn expect_on(&self, name: &str, expected: &[&str]) {
        let on = || {
            let on = self.on(name).into_iter();
            let mut on: Vec<String> = on
                .map(|(attachment, origin)| {
                    format!("{}{origin}", attachment.split('@').next().unwrap_or_default())
                })
                .collect();
            on.sort();
            on
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while on() != expected {
            assert!(Instant::now() < deadline, "{name} has {:?}, not {expected:?}\n{}", on(), self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Fails unless each link is on a cgroup that is there, runs there, and is the only one of its policy there.
    pub(crate) fn expect_whole(&self) {
        let top = if self.shares_namespaces { &root() } else { &*self.top };
        let ids: std::collections::BTreeMap<u64, PathBuf> =
            top.descendants().expect("cgroups").into_iter().collect();
        let mut seen = std::collections::BTreeSet::new();
        for (attachment, pin) in pins() {
            assert!(!attachment.starts_with('+'), "half an attachment: {attachment}");
            let Some((id, origin)) = split(&pin) else { continue };
            let path = ids.get(&id).unwrap_or_else(|| panic!("{attachment}/{pin} is left over"));
            let policy = attachment.split('@').next().unwrap_or_default().to_owned();
            assert!(seen.insert((policy, id)), "{attachment}{origin}: twice on {}", path.display());
            let attached = Cgroup::open(path).and_then(|cgroup| {
                cgroup.attached().map_err(|error| knobgate_kernel::CgroupError::Io {
                    doing: "query",
                    path: path.clone(),
                    error: io::Error::other(error),
                })
            });
            assert!(!attached.expect("programs").program_ids.is_empty(), "{} has no program", path.display());
        }
    }
}

fn mount(fs_type: &str, point: &Path) -> Result<(), Failed> {
    let mounted = Command::new("mount").args(["-t", fs_type, fs_type]).arg(point).status()?;
    assert!(mounted.success(), "{}: {mounted}", point.display());
    Ok(())
}

/// Mounts what the test has for itself.
fn mount_own() -> Result<(), Failed> {
    let own = [("bpf", "/sys/fs/bpf"), ("tmpfs", "/run"), ("tmpfs", "/var/lib")];
    own.into_iter().try_for_each(|(fs_type, point)| mount(fs_type, Path::new(point)))
}

/// The pins below each attachment.
pub(crate) fn pins() -> Vec<(String, String)> {
    let entries = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let top = Path::new("/sys/fs/bpf/knobgate");
    let attachments = entries(top).into_iter().filter(|name| !name.starts_with('_'));
    attachments
        .flat_map(|name| {
            let pins = entries(&top.join(&name)).into_iter();
            pins.map(|pin| (name.clone(), pin)).collect::<Vec<_>>()
        })
        .collect()
}

/// The names of the attachments.
pub(crate) fn attachments() -> Vec<String> {
    let mut names: Vec<String> = pins().into_iter().map(|(attachment, _)| attachment).collect();
    names.sort();
    names.dedup();
    names
}

/// The id of the cgroup and the origin of a pinned link.
fn split(pin: &str) -> Option<(u64, &str)> {
    let rest = pin.strip_prefix("cgroup-")?;
    let (id, origin) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    Some((id.parse().ok()?, origin))
}
