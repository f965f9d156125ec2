//! Engines that restart, and that are as they were once knobgate is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use knobgate_testing::{
    Docker, ENGINE_NAMESPACES, Podman, Suite, Test, eventually, fresh_machine, without_docker, without_podman,
};
use libtest_mimic::Failed;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine_documents::machine;
use crate::engines::{DENIED, OF_DOCKER, Parent, WRITE, printed, run};
use crate::setting::{KNOBGATE, expect, stderr, stdout};

/// The tests, each on a machine of its own.
pub(crate) fn with_engines() -> Suite {
    let docker = Suite::new(DOCKER).with_engine(without_docker);
    docker.and(Suite::new(PODMAN).with_engine(without_podman)).isolated(ENGINE_NAMESPACES)
}

const DOCKER: &[Test] = &[
    ("docker_that_is_killed_leaves_containers_under_their_policies", || docker_restarts(true)),
    ("docker_without_live_restore_starts_containers_again_under_their_policies", || docker_restarts(false)),
    ("docker_is_as_it_was_without_knobgate", docker_without_knobgate),
];

const PODMAN: &[Test] = &[("podman_starts_containers_under_their_policies_with_the_packaged_hook", podman)];

/// The policy of containers whose name begins with `web`.
fn policy() -> String {
    format!(
        "policy t-web\napply if container starts with \"web\"\ndefault read allow\ndefault write deny\n\
         allow write net.ipv4.ip_default_ttl if new <= 128\n{OF_DOCKER}"
    )
}

/// A Docker whose default runtime is knobgate.
struct Machine {
    /// It goes first. Otherwise it would start its containers again in a parent that is gone, and so make that again.
    docker: Docker,
    parent: Parent,
    policies: TempDir,
}

impl Machine {
    fn start(live_restore: bool) -> Result<Self, Failed> {
        fresh_machine()?;
        let policies = tempfile::tempdir()?;
        fs::write(policies.path().join("web.knob"), policy())?;
        let docker = Docker::start(&settings(policies.path(), live_restore).to_string())?;
        Ok(Self { policies, parent: Parent::create()?, docker })
    }

    /// Starts a container in the background that is started again whenever Docker is.
    fn start_container(&self, name: &str, script: &str) -> Result<(), Failed> {
        let options = ["--detach", "--name", name, "--restart", "always", "--stop-signal", "KILL"];
        let output = run(&mut self.docker.run(&self.parent.name, &options, script))?;
        if output.status.success() { Ok(()) } else { Err(stderr(&output).into()) }
    }

    /// Writes to a knob in a container.
    fn write_in(&self, name: &str) -> Result<String, Failed> {
        Ok(printed(&mut self.docker.command(["exec", name, "sh", "-c", WRITE]))?.trim_end().to_owned())
    }

    fn pid(&self, name: &str) -> Result<String, Failed> {
        let mut inspect = self.docker.command(["inspect", "--format", "{{.State.Pid}}", name]);
        Ok(printed(&mut inspect)?.trim().to_owned())
    }
}

/// `daemon.json`.
fn settings(policies: &Path, live_restore: bool) -> Value {
    let arguments = ["runtime", "--runtime", "runc", "--policies", policies.to_str().expect("a path"), "--"];
    json!({
        "runtimes": { "knobgate": { "path": KNOBGATE, "runtimeArgs": arguments } },
        "default-runtime": "knobgate",
        "live-restore": live_restore,
    })
}

/// Writes again and again, and to `/result` what happens.
const WRITING: &str = "while true; do (echo 200 >/proc/sys/net/ipv4/ip_default_ttl) 2>/dev/null && echo written || echo denied; \
                       sleep 0.1; done >/result";

fn docker_restarts(live_restore: bool) -> Result<(), Failed> {
    let mut machine = Machine::start(live_restore)?;
    machine.start_container("web-1", WRITING)?;
    let pid = machine.pid("web-1")?;
    let results = || fs::read_to_string(format!("/proc/{pid}/root/result")).unwrap_or_default();
    eventually("it writes", || !results().is_empty());

    machine.docker.kill();
    let before = results().len();
    eventually("it writes without the daemon", || results().len() > before + 20);
    assert!(!results().contains("written"), "{}", results());

    machine.docker.start_again(&settings(machine.policies.path(), live_restore).to_string())?;
    // Otherwise, Docker kills what still runs, and starts it again.
    eventually("it runs", || {
        machine.pid("web-1").is_ok_and(|now| now != "0" && (now == pid) == live_restore)
    });
    assert_eq!(machine.write_in("web-1")?, DENIED);
    if live_restore {
        let before = results().len();
        eventually("it writes under the new daemon", || results().len() > before + 20);
        assert!(!results().contains("written"), "{}", results());
    }
    machine.start_container("web-2", "exec sleep 1000")?;
    assert_eq!(machine.write_in("web-2")?, DENIED);
    machine.start_container("db", "exec sleep 1000")?;
    assert_eq!(machine.write_in("db")?, "written\n200");
    let (cgroups, listed) = (links("t-web")?, stdout(&expect(0, ["list"])));
    assert_eq!(cgroups.len(), 2, "{cgroups:?}: {listed}");
    Ok(())
}

/// The directory of knobgate on the bpffs.
const PINS: &str = "/sys/fs/bpf/knobgate";

/// What there is in a directory.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, Failed> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    entries.collect()
}

/// The pins of a policy's links.
fn links(policy: &str) -> Result<Vec<PathBuf>, Failed> {
    let mut links = Vec::new();
    for version in entries(Path::new(PINS))? {
        let name = version.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(&format!("{policy}@")) {
            links.extend(entries(&version)?);
        }
    }
    links.retain(|pin| pin.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cgroup-")));
    Ok(links)
}

fn docker_without_knobgate() -> Result<(), Failed> {
    let mut machine = Machine::start(false)?;
    machine.start_container("web", "exec sleep 1000")?;
    assert_eq!(machine.write_in("web")?, DENIED);
    let start = |machine: &mut Machine, settings: &Value| {
        machine.docker.stop();
        machine.docker.start_again(&settings.to_string())?;
        let start = run(&mut machine.docker.command(["start", "web"]))?;
        Ok::<_, Failed>((start.status.success(), stderr(&start)))
    };
    // Docker keeps the name of the runtime that a container was created with.
    let (started, message) = start(&mut machine, &json!({}))?;
    assert!(!started && message.contains("knobgate"), "{message}");
    let plain = json!({ "runtimes": { "knobgate": { "path": "runc" } } });
    let (started, message) = start(&mut machine, &plain)?;
    assert!(started, "{message}");
    assert_eq!(machine.write_in("web")?, "written\n200");
    machine.start_container("web-2", "exec sleep 1000")?;
    assert_eq!(machine.write_in("web-2")?, "written\n200");

    expect(0, ["detach", "t-web"]);
    // What docs/oci-hook.md says is left.
    let mut left = entries(Path::new(PINS))?;
    left.sort();
    assert_eq!(left, ["_readers", "_workloads"].map(|name| Path::new(PINS).join(name)));
    fs::remove_dir_all(PINS)?;
    for name in ["web", "web-2"] {
        assert_eq!(machine.write_in(name)?, "written\n200");
    }
    let parent = machine.parent.cgroup.path().to_str().ok_or("a path")?;
    assert_eq!(stdout(&expect(0, ["list", "--cgroup", parent])), "");
    Ok(())
}

fn podman() -> Result<(), Failed> {
    machine()?;
    let (parent, podman) = (Parent::create()?, Podman::start("runc")?);
    let packaged = include_str!("../../../../packaging/oci/hooks.d/knobgate.json");
    let hook = packaged.replace("/usr/bin/knobgate", KNOBGATE);
    assert_ne!(hook, packaged);
    fs::write(podman.hooks().join("knobgate.json"), hook)?;
    let policies = Path::new("/etc/knobgate/policies.d");
    fs::create_dir_all(policies)?;
    fs::write(policies.join("web.knob"), policy())?;

    let run_named = |name: &str| podman.run(&parent.name, &["--rm", "--name", name], WRITE);
    assert_eq!(printed(&mut run_named("web-1"))?.trim_end(), DENIED);
    assert_eq!(printed(&mut run_named("db"))?, "written\n200\n");
    podman.start_container("web-2", &parent.name, "exec sleep 1000")?;
    let execute = || -> Command { podman.command(["exec", "web-2", "sh", "-c", WRITE]) };
    assert_eq!(printed(&mut execute())?.trim_end(), DENIED);
    assert_eq!(links("t-web")?.len(), 1);
    // It ends, and runs again in another cgroup.
    run(&mut podman.command(["restart", "--time", "0", "web-2"]))?;
    assert_eq!(printed(&mut execute())?.trim_end(), DENIED);
    assert_eq!(links("t-web")?.len(), 1);
    run(&mut podman.command(["rm", "--force", "--time", "0", "web-2"]))?;
    assert_eq!(links("t-web")?, Vec::<PathBuf>::new());

    fs::write(
        policies.join("more.knob"),
        "policy t-more\napply if engine == docker\nalow write vm.swappiness\n",
    )?;
    for name in ["web-3", "db"] {
        let output = run(&mut run_named(name))?;
        assert_eq!((stdout(&output).as_str(), output.status.success()), ("", false), "{output:?}");
        let expected = "knobgate: /etc/knobgate/policies.d/more.knob:3:1: there is no action `alow`";
        assert!(stderr(&output).contains(expected), "{output:?}");
    }
    assert_eq!(links("t-web")?, Vec::<PathBuf>::new());

    // Without the file, containers start as before.
    fs::remove_file(podman.hooks().join("knobgate.json"))?;
    assert_eq!(printed(&mut run_named("web-3"))?, "written\n200\n");
    Ok(())
}
