//! Containers of real engines, under policies on their cgroups.

use std::path::PathBuf;
use std::process::{Command, Output};

use knobgate_kernel::{Hierarchy, ScratchCgroup};
use knobgate_testing::{
    Docker, ENGINE_NAMESPACES, Podman, Suite, Test, fresh_machine, scratch, without_docker, without_podman,
};
use libtest_mimic::Failed;

use crate::setting::{attach, expect, policy, stderr, stdout};
use crate::watching::{Watching, sends_events};

/// The tests with Docker and Podman, each on a machine of its own.
pub(crate) fn with_engines() -> Suite {
    let docker = Suite::new(DOCKER).requiring(sends_events, DOCKER_EVENTS).with_engine(without_docker);
    docker.and(Suite::new(PODMAN).with_engine(without_podman)).isolated(ENGINE_NAMESPACES)
}

const DOCKER: &[Test] = &[
    ("docker_a_policy_on_the_parent_judges_from_the_first_instruction", docker_from_the_first_instruction),
    ("docker_a_policy_that_denies_what_docker_itself_writes_starts_nothing", docker_denied_itself),
    ("docker_a_running_container_is_judged_and_so_is_exec", docker_while_it_runs),
];

const DOCKER_EVENTS: &[Test] = &[("docker_watch_and_log_have_the_name_of_the_container", docker_names)];

const PODMAN: &[Test] = &[
    ("podman_a_policy_on_the_parent_judges_from_the_first_instruction", podman_from_the_first_instruction),
    ("podman_a_running_container_is_judged_and_so_is_exec", podman_while_it_runs),
];

/// A cgroup below which an engine puts its containers.
pub(crate) struct Parent {
    pub(crate) cgroup: ScratchCgroup,
    /// Its path as engines want it.
    pub(crate) name: PathBuf,
}

impl Parent {
    pub(crate) fn create() -> Result<Self, Failed> {
        let cgroup = scratch();
        let name = Hierarchy::find()?.name(cgroup.path()).ok_or("a cgroup of the hierarchy")?;
        Ok(Self { cgroup, name })
    }
}

pub(crate) fn run(command: &mut Command) -> Result<Output, Failed> {
    Ok(command.output()?)
}

/// What a container prints.
pub(crate) fn printed(command: &mut Command) -> Result<String, Failed> {
    let output = run(command)?;
    Ok(stdout(&output) + &stderr(&output))
}

/// Writes to a knob of the container's network namespace, and says what happens.
pub(crate) const WRITE: &str =
    "echo 200 >/proc/sys/net/ipv4/ip_default_ttl && echo written; cat /proc/sys/net/ipv4/ip_default_ttl";

/// What that prints if the write is denied.
pub(crate) const DENIED: &str = "64\nsh: write error: Operation not permitted";

fn docker_from_the_first_instruction() -> Result<(), Failed> {
    fresh_machine()?;
    let (parent, docker) = (Parent::create()?, Docker::start("{}")?);
    let unjudged = printed(&mut docker.run(&parent.name, &["--rm"], WRITE))?;
    assert_eq!(unjudged, "written\n200\n");
    let text = format!("policy t-docker\nallow write net.ipv4.ip_default_ttl if new <= 128\n{OF_DOCKER}");
    attach(policy(&text).path(), &parent.cgroup, "t-docker");
    let judged = printed(&mut docker.run(&parent.name, &["--rm"], WRITE))?;
    assert_eq!(judged.trim_end(), DENIED);
    let within = WRITE.replace("200", "100");
    assert_eq!(printed(&mut docker.run(&parent.name, &["--rm"], &within))?, "written\n100\n");
    Ok(())
}

/// What Docker itself sets in each container with a network namespace.
pub(crate) const OF_DOCKER: &str = "allow write net.ipv4.ip_unprivileged_port_start if new == 0
allow write net.ipv4.ping_group_range
";

fn docker_denied_itself() -> Result<(), Failed> {
    fresh_machine()?;
    let (parent, docker) = (Parent::create()?, Docker::start("{}")?);
    let attached = |rules: &str| {
        let text = format!("policy t-docker\ndefault read allow\ndefault write deny\n{rules}");
        attach(policy(&text).path(), &parent.cgroup, "t-docker");
    };
    attached("");
    let output = run(&mut docker.run(&parent.name, &["--rm"], "echo started"))?;
    let message = stderr(&output);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("", Some(125)), "{output:?}");
    assert!(message.contains("/proc/sys/net/ipv4/"), "{message}");
    assert!(message.contains("operation not permitted"), "{message}");
    attached(OF_DOCKER);
    let judged = printed(&mut docker.run(&parent.name, &["--rm"], WRITE))?;
    assert_eq!(judged.trim_end(), DENIED);
    expect(0, ["detach", "t-docker"]);
    // The engine is as it was.
    assert_eq!(printed(&mut docker.run(&parent.name, &["--rm"], WRITE))?, "written\n200\n");
    Ok(())
}

/// The process that an engine names as the container's.
fn entry_process(inspect: &mut Command) -> Result<String, Failed> {
    Ok(stdout(&run(inspect)?).trim().to_owned())
}

/// A policy that is attached to a running container, which `targets` name, judges what is executed there from then on.
fn judged_while_it_runs(targets: &[[&str; 2]], exec: impl Fn(&str) -> Command) -> Result<(), Failed> {
    let file = policy("policy t-engine\nallow write net.ipv4.ip_default_ttl if new <= 128\n");
    let path = file.path().to_str().ok_or("a path")?;
    for target in targets {
        assert_eq!(printed(&mut exec(WRITE))?, "written\n200\n");
        expect(0, [&["attach", "--policy", path], &target[..]].concat());
        let judged = printed(&mut exec(WRITE))?;
        assert_eq!(judged.trim_end(), DENIED.replace("64", "200"), "{target:?}");
        expect(0, ["detach", "t-engine", target[0], target[1]]);
    }
    assert_eq!(printed(&mut exec(WRITE))?, "written\n200\n");
    Ok(())
}

fn docker_while_it_runs() -> Result<(), Failed> {
    fresh_machine()?;
    let (parent, docker) = (Parent::create()?, Docker::start("{}")?);
    let id = docker.start_container("web", &parent.name, "exec sleep 1000")?;
    let pid = entry_process(&mut docker.command(["inspect", "--format", "{{.State.Pid}}", "web"]))?;
    let targets =
        [["--pid", &pid], ["--container", "web"], ["--container", &id[..7]], ["--container", "docker/web"]];
    judged_while_it_runs(&targets, |script| docker.command(["exec", "web", "sh", "-c", script]))
}

fn docker_names() -> Result<(), Failed> {
    fresh_machine()?;
    let (parent, docker) = (Parent::create()?, Docker::start("{}")?);
    let id = docker.start_container("web", &parent.name, "exec sleep 1000")?;
    let _other = docker.start_container("db", &parent.name, "exec sleep 1000")?;
    attach(policy("policy t-names\n").path(), &parent.cgroup, "t-names");
    // Without a name, it also shows the events of other tests, whose containers this machine does not know.
    let watching = Watching::start(&["t-names", "--json", "--container", "web"])?;
    let _ = printed(&mut docker.command(["exec", "db", "sh", "-c", WRITE]))?;
    let _ = printed(&mut docker.command(["exec", "web", "sh", "-c", WRITE]))?;
    let item = watching.until(|item| item.event().is_some_and(|event| event.event.new.is_some()))?;
    let workload = item.context.workload.as_ref().ok_or("a workload")?;
    assert_eq!(
        (workload.engine.as_deref(), workload.container.as_deref(), workload.container_id.as_deref()),
        (Some("docker"), Some("web"), Some(&*id))
    );
    for (container, other) in [("web", "db"), (&id[..12], "db"), ("db", "web")] {
        let log = stdout(&expect(0, ["log", "t-names", "--container", container]));
        let name = if other == "db" { "web" } else { "db" };
        assert!(log.contains(&format!("  docker/{name}: ")), "{log}");
        assert!(!log.contains(&format!("docker/{other}")), "{log}");
    }
    Ok(())
}

fn podman_from_the_first_instruction() -> Result<(), Failed> {
    fresh_machine()?;
    let (parent, podman) = (Parent::create()?, Podman::start("runc")?);
    assert_eq!(printed(&mut podman.run(&parent.name, &["--rm"], WRITE))?, "written\n200\n");
    attach(
        policy("policy t-podman\ndefault read allow\ndefault write deny\n").path(),
        &parent.cgroup,
        "t-podman",
    );
    let judged = printed(&mut podman.run(&parent.name, &["--rm"], WRITE))?;
    assert_eq!(judged.trim_end(), DENIED);
    expect(0, ["detach", "t-podman"]);
    assert_eq!(printed(&mut podman.run(&parent.name, &["--rm"], WRITE))?, "written\n200\n");
    Ok(())
}

fn podman_while_it_runs() -> Result<(), Failed> {
    fresh_machine()?;
    let (parent, podman) = (Parent::create()?, Podman::start("runc")?);
    let id = podman.start_container("web", &parent.name, "exec sleep 1000")?;
    let pid = entry_process(&mut podman.command(["inspect", "--format", "{{.State.Pid}}", "web"]))?;
    let targets =
        [["--pid", &pid], ["--container", "web"], ["--container", &id[..7]], ["--container", "podman/web"]];
    judged_while_it_runs(&targets, |script| podman.command(["exec", "web", "sh", "-c", script]))
}
