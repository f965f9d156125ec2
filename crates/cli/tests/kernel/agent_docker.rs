//! `knobgate agent` beside Docker: containers, the daemon and the agent restart.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use knobgate_kernel::Signal;
use knobgate_testing::{
    Docker, ENGINE_AND_CGROUP_NAMESPACES, Random, Suite, Test, eventually, root, seed, without_docker,
};
use libtest_mimic::Failed;
use serde_json::json;

use crate::agent_machine::{AgentMachine, pins};
use crate::engines::{OF_DOCKER, run};
use crate::setting::{KNOBGATE, expect, stderr, stdout};

/// The tests, each on a machine of its own.
pub(crate) fn with_docker() -> Suite {
    Suite::new(TESTS).with_engine(without_docker).isolated(ENGINE_AND_CGROUP_NAMESPACES)
}

const TESTS: &[Test] = &[
    ("docker_restart_of_all_while_the_agent_is_killed_leaves_each_container_its_policies", restarts),
    ("docker_that_is_killed_under_the_agent_takes_no_policy_away", || daemon_killed(true)),
    ("docker_that_starts_its_containers_again_under_the_agent_takes_no_policy_away", || daemon_killed(false)),
];

/// The policies: one of all containers but `db`, and one of two of them.
fn policies() -> [(&'static str, String); 2] {
    let rules = format!("default write deny\nallow write net.ipv4.ip_default_ttl if new <= 128\n{OF_DOCKER}");
    let web =
        "policy t-web\napply if container starts with \"hooked\"\napply if container starts with \"plain\"\n";
    let more = "policy t-more\napply if container == \"hooked-1\"\napply if container == \"plain-1\"\n";
    [("web.knob", format!("{web}{rules}")), ("more.knob", format!("{more}{rules}"))]
}

/// How many of the policies a container is to have.
fn count_of(container: &str) -> usize {
    match container {
        "db" => 0,
        name if name.ends_with("-1") => 2,
        _ => 1,
    }
}

/// A Docker and an agent.
struct Machine {
    docker: Docker,
    agent: AgentMachine,
    /// The cgroup above its containers.
    parent: &'static str,
    live_restore: bool,
    /// The containers by their names, each with its id.
    ids: BTreeMap<String, String>,
}

impl Machine {
    fn start(parent: &'static str, live_restore: bool) -> Result<Self, Failed> {
        let policies = policies();
        let agent =
            AgentMachine::beside_an_engine(&policies.each_ref().map(|(name, text)| (*name, &**text)))?;
        fs::create_dir(RESULTS)?;
        let docker = Docker::start(&settings(&agent, live_restore))?;
        Ok(Self { docker, agent, parent, live_restore, ids: BTreeMap::new() })
    }

    /// Starts a container in the background, which writes what is denied again and again. Those with the hook are called so.
    fn start_container(&mut self, name: &str) -> Result<(), Failed> {
        let runtime = if name.starts_with("hooked") { "knobgate" } else { "runc" };
        let volume = format!("{RESULTS}:/results");
        let mut options = vec!["--detach", "--name", name, "--runtime", runtime, "--volume", &volume];
        options.extend(["--restart", "always", "--stop-signal", "KILL"]);
        let script = format!("{{ echo start; {WRITING} }} >>/results/{name}");
        let output = run(&mut self.docker.run(Path::new(self.parent), &options, &script))?;
        if !output.status.success() {
            return Err(format!("{name}: {}", stderr(&output)).into());
        }
        self.ids.insert(name.to_owned(), stdout(&output).trim().to_owned());
        Ok(())
    }

    /// The process of a container: "0" if it does not run.
    fn pid(&self, name: &str) -> Result<String, Failed> {
        let mut inspect = self.docker.command(["inspect", "--format", "{{.State.Pid}}", name]);
        Ok(stdout(&run(&mut inspect)?).trim().to_owned())
    }

    /// The cgroup of a container, which is at the same place each time that it is started.
    fn cgroup(&self, name: &str) -> PathBuf {
        root().path().join(&self.parent[1..]).join(&self.ids[name])
    }

    /// Waits until each of these containers has exactly the policies that it is to have.
    fn expect_policies(&self) -> Result<(), Failed> {
        for container in self.ids.keys() {
            let cgroup = self.cgroup(container);
            let cgroup = cgroup.to_str().ok_or("a path")?;
            let on = || {
                let on = self.agent.on(cgroup).into_iter();
                let mut on: Vec<_> = on
                    .map(|(name, origin)| (name.split('@').next().unwrap_or_default().to_owned(), origin))
                    .collect();
                on.sort();
                on
            };
            let expected = ["t-more", "t-web"].into_iter().skip(2 - count_of(container));
            let names = || on().into_iter().map(|(name, _)| name);
            eventually(&format!("{container} has {:?}\n{}", on(), self.agent.log()), || {
                names().eq(expected.clone().map(str::to_owned))
            });
            for (name, origin) in on() {
                assert!(
                    !container.starts_with("hooked") || !origin.contains("late"),
                    "{name} on {container}: {origin}"
                );
            }
        }
        self.agent.expect_whole();
        Ok(())
    }

    /// Waits until each container sees what it is to see, again and again.
    fn expect_writing(&self) {
        for container in self.ids.keys() {
            let seen = || results(container).last().map_or(0, Vec::len);
            let before = seen();
            eventually(&format!("{container} writes on"), || seen() > before + 5);
        }
        expect_never_without(self.ids.keys());
    }

    /// Waits until the agent that runs has said the names of containers with a policy: in what they are denied.
    fn expect_named(&self) {
        for container in self.ids.keys().filter(|name| count_of(name) > 0) {
            self.agent.expect_said(&format!(" docker/{container} sh["));
        }
    }
}

/// `daemon.json`, with knobgate as the runtime `knobgate`.
fn settings(machine: &AgentMachine, live_restore: bool) -> String {
    let policies = machine.policies();
    let arguments = ["runtime", "--runtime", "runc", "--policies", policies.to_str().expect("a path"), "--"];
    let runtimes = json!({ "knobgate": { "path": KNOBGATE, "runtimeArgs": arguments } });
    json!({ "runtimes": runtimes, "live-restore": live_restore }).to_string()
}

/// Where Docker has its containers, unless it is told otherwise. The agent knows that whatever is there is Docker's, and elsewhere it waits
/// until the runtime has said so.
const DEFAULT_PARENT: &str = "/docker";

/// Where each container has a file with what it saw.
const RESULTS: &str = "/run/results";
const WRITING: &str = "while :; do (echo 200 >/proc/sys/net/ipv4/ip_default_ttl) 2>/dev/null && echo written || echo denied; \
                       sleep 0.1; done";

/// What a container saw, of each of its starts.
fn results(container: &str) -> Vec<Vec<bool>> {
    let text = fs::read_to_string(Path::new(RESULTS).join(container)).unwrap_or_default();
    let mut starts = Vec::new();
    for line in text.lines() {
        match (line, starts.last_mut()) {
            ("start", _) => starts.push(Vec::new()),
            ("denied", Some(last)) => last.push(true),
            ("written", Some(last)) => last.push(false),
            _ => panic!("{container}: {line:?}"),
        }
    }
    starts
}

/// Waits until each of [`CONTAINERS`] has done something in as many starts. One that is killed before leaves nothing to see of its start.
fn expect_started(starts: usize) {
    for container in CONTAINERS {
        eventually(&format!("{container} has been started {starts} times"), || {
            results(container).len() == starts
        });
    }
}

/// Checks that no container was without a policy that it had, and those with the hook never were. Returns how many writes were denied.
fn expect_never_without(containers: impl IntoIterator<Item = impl AsRef<str>>) -> usize {
    let mut denied = 0;
    for container in containers {
        let container = container.as_ref();
        for (number, start) in results(container).into_iter().enumerate() {
            let until = start.iter().position(|&denied| denied).unwrap_or(start.len());
            let (before, since) = start.split_at(until);
            assert!(since.iter().all(|&denied| denied), "start {number} of {container}: {start:?}");
            assert!(
                before.is_empty() || !container.starts_with("hooked"),
                "start {number} of {container}: {start:?}"
            );
            assert!(since.is_empty() || container != "db", "start {number} of {container}: {start:?}");
            denied += since.len();
        }
    }
    denied
}

const CONTAINERS: [&str; 7] = ["hooked-1", "hooked-2", "hooked-3", "plain-1", "plain-2", "plain-3", "db"];

fn restarts() -> Result<(), Failed> {
    const ROUNDS: usize = 4;
    let seed = seed()?;
    println!("KNOBGATE_SEED={seed}");
    let mut random = Random(seed);
    let mut machine = Machine::start(DEFAULT_PARENT, false)?;
    machine.agent.start()?;
    for container in CONTAINERS {
        machine.start_container(container)?;
    }
    machine.expect_policies()?;
    expect_started(1);
    let mut kills = 0;
    for round in 0..ROUNDS {
        let mut running: Vec<Child> = Vec::new();
        for container in CONTAINERS {
            let mut restart = machine.docker.command(["restart", "--time", "0", container]);
            running.push(restart.stdout(Stdio::null()).spawn()?);
        }
        while !running.is_empty() {
            if machine.agent.pid() != 0 {
                machine.agent.end(Signal::KILL)?;
                kills += 1;
            }
            let command = machine.agent.command();
            machine.agent.start_unready(command)?;
            // In some of the rounds, it is killed while it starts.
            std::thread::sleep(Duration::from_millis(random.below(1000)));
            assert!(machine.agent.is_running(), "in round {round}: {}", machine.agent.log());
            running.retain_mut(|restart| match restart.try_wait().expect("docker") {
                None => true,
                Some(status) => {
                    assert!(status.success(), "docker restart: {status}");
                    false
                }
            });
        }
        machine.expect_policies()?;
        expect_started(round + 2);
        expect_never_without(CONTAINERS);
    }
    for container in CONTAINERS {
        let seen = || results(container).last().and_then(|last| last.last().copied());
        eventually(&format!("{container} sees its policy"), || seen() == Some(container != "db"));
    }
    let denied = expect_never_without(CONTAINERS);
    println!("{} restarts, {kills} killed agents, {denied} denied writes", ROUNDS * CONTAINERS.len());
    let remove = ["rm", "--force"].into_iter().chain(CONTAINERS);
    run(&mut machine.docker.command(remove))?;
    eventually("no pin is left over", || !pins().iter().any(|(_, pin)| pin.starts_with("cgroup-")));
    expect(0, ["status"]);
    Ok(())
}

fn daemon_killed(live_restore: bool) -> Result<(), Failed> {
    let mut machine = Machine::start("/somebody", live_restore)?;
    machine.agent.start()?;
    for container in ["hooked-1", "plain-1", "plain-2", "db"] {
        machine.start_container(container)?;
    }
    machine.expect_policies()?;
    machine.expect_writing();
    let pids = |machine: &Machine| -> Result<Vec<String>, Failed> {
        machine.ids.keys().map(|container| machine.pid(container)).collect()
    };
    let before = pids(&machine)?;
    machine.docker.kill();
    machine.expect_writing();
    machine.expect_policies()?;
    // Without the daemon, another agent knows what it has to know.
    machine.agent.end(Signal::KILL)?;
    machine.agent.start()?;
    machine.expect_writing();
    machine.expect_policies()?;
    machine.expect_named();

    machine.docker.start_again(&settings(&machine.agent, machine.live_restore))?;
    // Otherwise, Docker kills what still runs, and starts it again.
    eventually("all run", || {
        let is_as_expected =
            |(now, before): (&String, &String)| now != "0" && (now == before) == live_restore;
        pids(&machine).is_ok_and(|now| now.iter().zip(&before).all(is_as_expected))
    });
    machine.expect_policies()?;
    for container in ["hooked-2", "plain-3"] {
        machine.start_container(container)?;
    }
    machine.expect_policies()?;
    machine.expect_writing();
    machine.expect_named();
    for container in machine.ids.keys().filter(|name| name.starts_with("plain")) {
        let seen = results(container).last().and_then(|last| last.last().copied());
        assert_eq!(seen, Some(true), "{container}");
    }
    Ok(())
}
