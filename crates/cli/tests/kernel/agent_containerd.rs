//! `knobgate agent` beside containerd, with the NRI plugin and without: pods come before, while and after policies do, and containerd
//! is killed.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use knobgate_cri_client::messages::ContainerState;
use knobgate_kernel::Signal;
use knobgate_testing::{Containerd, Pod, Random, Reaped, Suite, Test, eventually, seed, without_containerd};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::agent_machine::{AgentMachine, CONTAINERD_NAMESPACES, pins};
use crate::nri::{plugin_command, registrations};
use crate::setting::expect;

/// The tests, each on a machine of its own.
pub(crate) fn with_containerd() -> Suite {
    Suite::new(TESTS).with_engine(without_containerd).isolated(CONTAINERD_NAMESPACES)
}

const TESTS: &[Test] = &[
    ("pods_get_a_policy_from_the_agent_whether_they_come_before_or_after_it", || pods(false)),
    ("pods_get_a_policy_from_the_agent_or_the_plugin_whether_they_come_before_or_after_it", || pods(true)),
    ("containerd_that_is_killed_under_the_agent_takes_no_policy_away", || daemon_killed(false)),
    ("containerd_that_is_killed_under_the_agent_and_the_plugin_takes_no_policy_away", || daemon_killed(true)),
];

/// A policy of the init containers, and one of those that run on.
pub(crate) const POLICIES: [(&str, &str); 2] = [
    (
        "init.knob",
        "policy t-init\napply if container == \"init\" and namespace == \"test\"\ndefault write deny\n",
    ),
    (
        "app.knob",
        "policy t-app\napply if container starts with \"app\" and namespace == \"test\"\ndefault write deny\n",
    ),
];

/// Writes a knob until that is denied.
const INIT: &str = "while (echo 200 >/proc/sys/net/ipv4/ip_default_ttl) 2>/dev/null; do echo written; /bin/busybox sleep 0.1; done; \
                    echo denied";
/// Writes a knob again and again, and to a file what happens.
pub(crate) const APP: &str = "while :; do (echo 200 >/proc/sys/net/ipv4/ip_default_ttl) 2>/dev/null && echo written || echo denied; \
                              /bin/busybox sleep 0.1; done >/result";

/// A containerd and an agent.
pub(crate) struct Machine {
    /// It goes first, with its containers.
    pub(crate) containerd: Containerd,
    pub(crate) agent: AgentMachine,
}

impl Machine {
    pub(crate) fn new(policies: &[(&str, &str)]) -> Result<Self, Failed> {
        let agent = AgentMachine::beside_containerd(policies)?;
        let containerd = Containerd::start()?;
        containerd.show_state()?;
        Ok(Self { containerd, agent })
    }

    /// Starts the plugin, if there is to be one, and waits until it is registered.
    fn plugin(&self, with_plugin: bool) -> Result<Option<Reaped>, Failed> {
        let plugin = with_plugin.then(|| start_plugin(&self.containerd, &self.agent)).transpose()?;
        self.expect_registered(with_plugin.into());
        Ok(plugin)
    }

    /// Waits until containerd has registered plugins so often.
    fn expect_registered(&self, times: usize) {
        eventually("the plugin is registered", || registrations(&self.containerd) == times);
    }

    /// The cgroup of a container or sandbox.
    pub(crate) fn cgroup(&self, id: &str) -> String {
        self.containerd.cgroup_of(id).to_string_lossy().into_owned()
    }

    /// The policies that are on a container or sandbox, each with who put it there.
    pub(crate) fn on(&self, id: &str) -> Vec<String> {
        let on = self.agent.on(&self.cgroup(id)).into_iter();
        let mut on: Vec<_> = on
            .map(|(name, origin)| format!("{}{origin}", name.split('@').next().unwrap_or_default()))
            .collect();
        on.sort();
        on
    }

    /// Waits until a container has its policy once, and returns who put it there.
    pub(crate) fn expect_once(&self, id: &str) -> String {
        eventually(&format!("{id} has a policy"), || !self.on(id).is_empty());
        let on = self.on(id);
        let [one] = &on[..] else { panic!("{on:?} on {id}: {}", self.agent.log()) };
        one.strip_prefix("t-app:").unwrap_or_else(|| panic!("{one} on {id}")).to_owned()
    }

    /// What a container has seen of its writes: whether each was denied.
    pub(crate) fn seen(&self, id: &str) -> Vec<bool> {
        let procs =
            fs::read_to_string(self.containerd.cgroup_of(id).join("cgroup.procs")).unwrap_or_default();
        let mut files = procs.lines().map(|pid| fs::read_to_string(format!("/proc/{pid}/root/result")));
        let text = files.find_map(Result::ok).unwrap_or_default();
        // The last line may be half.
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| line == "denied\n")
            .collect()
    }

    /// Waits until a container is denied its writes, and checks that it has been since it was for the first time.
    pub(crate) fn expect_denied(&self, id: &str, from_the_first: bool) {
        let before = self.seen(id).len();
        eventually("it writes on", || self.seen(id).len() > before + 3);
        eventually("it is denied", || self.seen(id).last() == Some(&true));
        let seen = self.expect_kept(id);
        assert!(seen[0] || !from_the_first, "{id}: {seen:?}");
    }

    /// Checks that a container has kept its policy since it has one. Returns what it has seen.
    pub(crate) fn expect_kept(&self, id: &str) -> Vec<bool> {
        let seen = self.seen(id);
        let kept = seen.iter().skip_while(|&&denied| !denied).all(|&denied| denied);
        assert!(kept, "{id}: {seen:?}\n{}", self.agent.log());
        seen
    }

    /// Creates a container and starts it. A container that does not start because its policy came in between is created again, as the
    /// kubelet does.
    fn start(&self, pod: &Pod, name: &str, script: &str) -> Result<String, Failed> {
        loop {
            let id = pod.create(name, script, &[])?;
            match self.containerd.cri().start_container(&id) {
                Ok(()) => return Ok(id),
                Err(error) if error.to_string().contains("is not on it: either it was created") => {
                    self.containerd.cri().remove_container(&id)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Starts a pod as the kubelet does: its init container, and when that has ended, the others, one after the other.
    fn start_pod(&self, name: &str, init: &str) -> Result<RunningPod, Failed> {
        let pod = self.containerd.pod(name, &[])?;
        let id = self.start(&pod, "init", init)?;
        let status = || self.containerd.cri().container_status(&id);
        eventually(&format!("the init container of {name} ends:\n{}", self.agent.log()), || {
            status().is_ok_and(|status| status.state() == ContainerState::Exited)
        });
        assert_eq!(status()?.exit_code, 0);
        let apps = [self.start(&pod, "app-1", APP)?, self.start(&pod, "app-2", APP)?];
        Ok(RunningPod { init: pod.output("init"), pod, apps })
    }
}

/// Starts the plugin, and does not wait.
pub(crate) fn start_plugin(containerd: &Containerd, agent: &AgentMachine) -> Result<Reaped, Failed> {
    let config = agent.path("agent.toml");
    let mut plugin = plugin_command("--bounding-set=+all", containerd, &agent.policies(), &config);
    Ok(Reaped(plugin.stderr(Stdio::null()).spawn()?))
}

/// A pod whose init container has ended.
struct RunningPod {
    pod: Pod,
    /// What the init container has written.
    init: String,
    /// The ids of the others.
    apps: [String; 2],
}

/// The workloads that are late, as `knobgate status` says.
fn late() -> Result<Vec<String>, Failed> {
    let status: Value = serde_json::from_slice(&expect(0, ["status", "--json"]).stdout)?;
    let late = status["agent"]["late"].as_array().ok_or("a list")?;
    Ok(late.iter().filter_map(|one| Some(one["workload"].as_str()?.to_owned())).collect())
}

fn pods(with_plugin: bool) -> Result<(), Failed> {
    let seed = seed()?;
    println!("KNOBGATE_SEED={seed}");
    let mut random = Random(seed);
    let mut machine = Machine::new(&[])?;
    let _plugin = machine.plugin(with_plugin)?;
    machine.agent.start()?;
    let before = machine.start_pod("before", "echo ran")?;
    let during = thread::scope(|scope| -> Result<_, Failed> {
        let machine = &machine;
        let pods = ["during-1", "during-2"].map(|name| scope.spawn(move || machine.start_pod(name, INIT)));
        for (name, text) in POLICIES {
            thread::sleep(Duration::from_millis(random.below(700)));
            machine.agent.write(name, text);
        }
        let [one, other] = pods.map(|pod| pod.join().expect("a pod"));
        Ok([one?, other?])
    })?;
    machine.agent.expect_said("read 2 policies");
    let after = machine.start_pod("after", INIT)?;

    for app in &before.apps {
        assert_eq!(machine.expect_once(app), "agent+late");
        machine.expect_denied(app, false);
    }
    for app in during.iter().flat_map(|pod| &pod.apps) {
        machine.expect_once(app);
        machine.expect_denied(app, false);
    }
    for app in &after.apps {
        machine.expect_once(app);
        machine.expect_denied(app, with_plugin);
    }
    let late = late()?;
    for name in ["app-1", "app-2"] {
        assert!(late.contains(&format!("k8s/test/before/{name}")), "{late:?}");
    }
    assert!(before.init.ends_with(" ran\n"), "{}", before.init);
    assert!(after.init.ends_with(" denied\n"), "{}", after.init);
    if with_plugin {
        assert!(!after.init.contains("written"), "{}", after.init);
    } else {
        let said = "put the policy \"t-init\" on k8s/test/after/init";
        assert!(machine.agent.log().contains(said), "{}", machine.agent.log());
    }
    for pod in during.iter().chain([&before, &after]) {
        assert_eq!(machine.on(&pod.pod.id), [""; 0], "the sandbox");
    }
    eventually("nothing is left of init containers", || {
        !pins().iter().any(|(name, pin)| name.starts_with("t-init@") && pin.starts_with("cgroup-"))
    });
    machine.agent.expect_whole();
    Ok(())
}

fn daemon_killed(with_plugin: bool) -> Result<(), Failed> {
    let mut machine = Machine::new(&POLICIES)?;
    let _plugin = machine.plugin(with_plugin)?;
    machine.agent.start()?;
    let RunningPod { pod, apps, .. } = machine.start_pod("web", INIT)?;
    let check = |machine: &Machine, apps: &[String]| {
        for app in apps {
            machine.expect_once(app);
            machine.expect_denied(app, with_plugin);
        }
        machine.agent.expect_whole();
    };
    check(&machine, &apps);
    machine.containerd.stop();
    check(&machine, &apps);
    // Without containerd, another agent knows what it has to know.
    machine.agent.end(Signal::KILL)?;
    machine.agent.start()?;
    check(&machine, &apps);
    machine.containerd.start_again()?;
    machine.expect_registered(2 * usize::from(with_plugin));
    check(&machine, &apps);
    let later = machine.start_pod("later", INIT)?;
    let more = machine.start(&pod, "app-3", APP)?;
    check(&machine, &[&apps[..], &later.apps, &[more]].concat());
    for name in ["web/app-1", "web/app-2", "web/app-3", "later/app-1", "later/app-2"] {
        machine.agent.expect_said(&format!(" k8s/test/{name} busybox["));
    }
    Ok(())
}
