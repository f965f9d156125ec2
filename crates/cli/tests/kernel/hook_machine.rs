//! A machine on which runc runs the hook.

use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use knobgate_hook::Profile;
use knobgate_kernel::{Cgroup, Hierarchy, ScratchCgroup, start_inside};
use knobgate_testing::{
    Bundle, Container, Reaped, Suite, Test, eventually, remove_cgroups_of_v1, scratch, without_runc,
};
use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::TempDir;

use crate::setting::{KNOBGATE, expect, rewriting, stdout};
use crate::watching::sends_events;

/// Tests that look at all attachments of a bpffs, so each has one of its own.
pub(crate) fn suite(tests: &[Test]) -> Suite {
    let lacks = |profile: &Profile| sends_events(profile).or_else(|| rewriting(profile));
    Suite::default().requiring(lacks, tests).with_engine(without_runc).isolated(&["--mount"])
}

pub(crate) const TTL: &str = "/proc/sys/net/ipv4/ip_default_ttl";

/// A directory of policies, a place for bundles, and the cgroup below which the containers are.
pub(crate) struct Machine {
    pub(crate) files: TempDir,
    pub(crate) parent: ScratchCgroup,
    pub(crate) options: Vec<String>,
}

impl Machine {
    /// With a bpffs of its own.
    pub(crate) fn new(policies: &[(&str, &str)]) -> Result<Self, Failed> {
        mount_bpffs()?;
        let machine = Self { files: tempfile::tempdir()?, parent: scratch(), options: Vec::new() };
        fs::create_dir(machine.policies())?;
        for (name, text) in policies {
            machine.write(name, text);
        }
        fs::write(machine.files.path().join("agent.toml"), "")?;
        Ok(machine)
    }

    pub(crate) fn policies(&self) -> PathBuf {
        self.files.path().join("policies.d")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.policies().join(name), text).expect("a policy");
    }

    /// The command line of the hook.
    pub(crate) fn hook(&self) -> Vec<String> {
        let policies = self.policies().display().to_string();
        let config = self.files.path().join("agent.toml").display().to_string();
        let own = [KNOBGATE, "oci-hook", "--policies", &policies, "--agent-config", &config];
        own.iter().map(|&argument| argument.to_owned()).chain(self.options.clone()).collect()
    }

    /// The name of a container's cgroup.
    pub(crate) fn cgroup(&self, name: &str) -> PathBuf {
        Hierarchy::find().expect("a hierarchy").name(self.parent.path()).expect("a name").join(name)
    }

    pub(crate) fn start(&self, name: &str, script: &str) -> io::Result<Container> {
        self.start_with(name, script, &[], &[])
    }

    pub(crate) fn start_with(
        &self,
        name: &str,
        script: &str,
        sysctls: &[(&str, &str)],
        annotations: &[(&str, &str)],
    ) -> io::Result<Container> {
        let (cgroup, hook) = (self.cgroup(name), self.hook());
        let hook: Vec<&str> = hook.iter().map(String::as_str).collect();
        let bundle = Bundle { cgroup: &cgroup, script, sysctls, annotations, hook: &hook };
        Container::start_bundle(&id(name), &bundle, &self.files.path().join(name), &self.state())
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.files.path().join("state")
    }

    /// Runs the hook itself, with this state.
    pub(crate) fn run_hook(&self, state: &str) -> Result<Output, Failed> {
        let hook = self.hook();
        let mut child = Command::new(&hook[0])
            .args(&hook[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // It may have read enough.
        let _ = child.stdin.take().ok_or("standard input")?.write_all(state.as_bytes());
        Ok(child.wait_with_output()?)
    }

    /// Fails unless nothing is on any cgroup.
    pub(crate) fn expect_no_links(&self) {
        let listed = stdout(&expect(0, ["list", "--json"]));
        let of_ours = |line: &Value| line["attachment"].is_string() && !line["cgroup"].is_null();
        let lines = listed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        assert_eq!(lines.filter(of_ours).collect::<Vec<_>>(), [Value::Null; 0], "{listed}");
        let others = ["\"for_containers\"", "\"off\""];
        let is_dead = |line: &&str| {
            line.contains("\"cgroup\":null") && !others.iter().any(|other| line.contains(other))
        };
        let dead = listed.lines().filter(is_dead);
        assert_eq!(dead.count(), 0, "{listed}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        remove_cgroups_of_v1(&self.cgroup(""));
    }
}

pub(crate) fn mount_bpffs() -> Result<(), Failed> {
    let mounted = Command::new("mount").args(["-t", "bpf", "bpf", "/sys/fs/bpf"]).status()?;
    assert!(mounted.success(), "{mounted}");
    Ok(())
}

/// A `/run/knobgate` of this test alone.
pub(crate) fn mount_run() -> Result<(), Failed> {
    fs::create_dir_all("/run/knobgate")?;
    let tmpfs = ["-t", "tmpfs", "-o", "mode=700", "tmpfs", "/run/knobgate"];
    assert!(Command::new("mount").args(tmpfs).status()?.success());
    Ok(())
}

/// The id of a container.
pub(crate) fn id(name: &str) -> String {
    format!("knobgate-test-{}-{name}", std::process::id())
}

/// What runc says if the container does not start.
pub(crate) fn error_of(started: io::Result<Container>) -> String {
    match started {
        Ok(container) => panic!("{container:?} has started"),
        Err(error) => error.to_string(),
    }
}

/// Waits until the container has printed this.
pub(crate) fn expect_printed(container: &Container, expected: &str) {
    eventually(&format!("{:?} prints {expected:?}", container.printed()), || {
        container.printed().contains(expected)
    });
}

/// The names of all attachments.
pub(crate) fn attachments() -> Vec<String> {
    let directories = fs::read_dir("/sys/fs/bpf/knobgate").into_iter().flatten().flatten();
    let names = directories.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with('_')).collect()
}

pub(crate) const WEB: &str = "policy web
apply if engine == runc
default write deny
clamp write net.ipv4.ip_default_ttl to 10..64
";

/// The journal of systemd, which has no other.
pub(crate) struct Journal(UnixDatagram);

impl Journal {
    pub(crate) fn new() -> Result<Self, Failed> {
        // Other tests have theirs at the same path.
        fs::create_dir_all("/run/systemd")?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run/systemd"]).status()?;
        assert!(mounted.success(), "{mounted}");
        fs::create_dir("/run/systemd/journal")?;
        let socket = UnixDatagram::bind("/run/systemd/journal/socket")?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self(socket))
    }

    /// The next message, with its fields.
    pub(crate) fn next(&self) -> Result<String, Failed> {
        let mut buffer = vec![0; 1 << 16];
        let length = self.0.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}

/// The state of a container, as a runtime gives it to hooks.
pub(crate) fn state_of(name: &str, status: &str, pid: u32, bundle: &Path) -> String {
    let state = serde_json::json!({
        "ociVersion": "1.0.2", "id": id(name), "status": status, "pid": pid, "bundle": bundle
    });
    state.to_string()
}

/// A process in a cgroup.
pub(crate) fn process_in(cgroup: &Cgroup) -> Result<Reaped, Failed> {
    let mut process = Command::new("sleep");
    process.arg("1000");
    start_inside(&mut process, cgroup)?;
    Ok(Reaped(process.spawn()?))
}
