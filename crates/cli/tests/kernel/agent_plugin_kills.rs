//! The agent, the NRI plugin and its hooks are killed at random moments, while pods and containers come and go.

use std::fs;
use std::thread;
use std::time::Duration;

use knobgate_kernel::{ProcessFd, ProcessId, Signal};
use knobgate_testing::{
    Containerd, Pod, Random, Reaped, Suite, Test, eventually, number, seed, without_containerd,
};
use libtest_mimic::Failed;

use crate::agent_containerd::{APP, Machine, POLICIES, start_plugin};
use crate::agent_machine::{CONTAINERD_NAMESPACES, pins};

pub(crate) fn with_containerd() -> Suite {
    Suite::new(TESTS).with_engine(without_containerd).isolated(CONTAINERD_NAMESPACES)
}

const TESTS: &[Test] =
    &[("no_container_loses_its_policy_whenever_the_agent_the_plugin_and_its_hooks_are_killed", killed)];

/// How many pods there are, and how many containers at most.
const PODS: u64 = 3;
const CONTAINERS: usize = 8;

/// Pods with their containers, which come and go.
struct Pods {
    random: Random,
    pods: Vec<(Pod, Vec<String>)>,
    /// How many pods and containers there have been.
    started: usize,
    /// How many containers did not start.
    refused: usize,
}

impl Pods {
    fn running(&self) -> impl Iterator<Item = &String> {
        self.pods.iter().flat_map(|(_, containers)| containers)
    }

    /// Does something with one of them.
    fn step(&mut self, containerd: &Containerd) -> Result<(), Failed> {
        let place = self.random.below(PODS) as usize;
        match self.random.below(10) {
            0 if place < self.pods.len() => {
                let pod = self.pods.swap_remove(place);
                remove(containerd, pod)?;
            }
            1..=3 if place < self.pods.len() && !self.pods[place].1.is_empty() => {
                let id = self.pods[place].1.swap_remove(0);
                containerd.cri().stop_container(&id, 0)?;
                containerd.cri().remove_container(&id)?;
            }
            _ if place >= self.pods.len() => {
                self.started += 1;
                let pod = containerd.pod(&format!("pod-{}", self.started), &[])?;
                self.pods.push((pod, Vec::new()));
            }
            _ if self.running().count() < CONTAINERS => {
                self.started += 1;
                let (pod, containers) = &mut self.pods[place];
                let id = pod.create(&format!("app-{}", self.started), APP, &[])?;
                match containerd.cri().start_container(&id) {
                    Ok(()) => containers.push(id),
                    // Its hook was killed, or it was created without one and the plugin came back.
                    Err(error) => {
                        let why = error.to_string();
                        assert!(why.contains("hook") || why.contains("is not on it"), "{why}");
                        self.refused += 1;
                        containerd.cri().remove_container(&id)?;
                        assert!(!containerd.cgroup_of(&id).exists(), "{id} has not started: {why}");
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Removes a pod as the kubelet does. With containers in it, containerd can wait for itself without end (docs/containerd.md).
fn remove(containerd: &Containerd, (pod, containers): (Pod, Vec<String>)) -> Result<(), Failed> {
    let cri = containerd.cri();
    for id in containers {
        cri.stop_container(&id, 0)?;
        cri.remove_container(&id)?;
    }
    cri.stop_pod_sandbox(&pod.id)?;
    cri.remove_pod_sandbox(&pod.id)?;
    Ok(())
}

/// Kills a hook, if one runs before this is over.
fn kill_hook(containerd: &Containerd, random: &mut Random, is_over: impl Fn() -> bool) -> bool {
    for _ in 0..200 {
        if is_over() {
            break;
        }
        for pid in containerd.helpers() {
            let Some(Ok(hook)) = ProcessId::new(pid).map(ProcessFd::open) else { continue };
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if command.split(|&byte| byte == 0).any(|argument| argument == b"oci-hook") {
                thread::sleep(Duration::from_micros(random.below(15_000)));
                return hook.send(Signal::KILL).is_ok();
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

/// How many of each were killed.
#[derive(Debug, Default)]
struct Kills {
    agents: usize,
    plugins: usize,
    hooks: usize,
    /// How often a policy was edited meanwhile.
    edits: usize,
}

fn killed() -> Result<(), Failed> {
    let (cycles, seed) = (number("KNOBGATE_KILL_CYCLES", 12)?, seed()?);
    println!("KNOBGATE_SEED={seed} KNOBGATE_KILL_CYCLES={cycles}");
    let mut random = Random(seed);
    let mut machine = Machine::new(&POLICIES)?;
    let mut kills = Kills::default();
    let mut plugin: Option<Reaped> = None;
    let mut pods = Pods { random: Random(random.next_u64()), pods: Vec::new(), started: 0, refused: 0 };
    for cycle in 0..cycles {
        let steps = 2 + random.below(6);
        thread::scope(|scope| -> Result<(), Failed> {
            let (pods, Machine { containerd, agent }) = (&mut pods, &mut machine);
            let containerd = &*containerd;
            let worker = scope.spawn(move || (0..steps).try_for_each(|_| pods.step(containerd)));
            while !worker.is_finished() {
                if agent.pid() == 0 {
                    let command = agent.command();
                    agent.start_unready(command)?;
                }
                if plugin.is_none() {
                    plugin = Some(start_plugin(containerd, agent)?);
                }
                thread::sleep(Duration::from_millis(random.below(300)));
                match random.below(8) {
                    0 => {
                        plugin = None;
                        kills.plugins += 1;
                    }
                    1 => {
                        let [_, (name, text)] = POLICIES;
                        kills.edits += 1;
                        agent.write(name, &format!("{text}allow write vm.version_{}\n", kills.edits));
                    }
                    2 | 3 => {
                        assert!(agent.is_running(), "in cycle {cycle}: {}", agent.log());
                        agent.end(Signal::KILL)?;
                        kills.agents += 1;
                    }
                    _ => {
                        let is_over = || worker.is_finished();
                        kills.hooks += usize::from(kill_hook(containerd, &mut random, is_over));
                    }
                }
            }
            worker.join().expect("no panic")
        })?;
        for id in pods.running() {
            machine.expect_kept(id);
        }
        if random.below(4) == 0 || cycle + 1 == cycles {
            settled(&mut machine, &pods)?;
        }
    }
    println!(
        "{} pods and containers, of which {} did not start; killed: {kills:?}",
        pods.started, pods.refused
    );
    for pod in std::mem::take(&mut pods.pods) {
        remove(&machine.containerd, pod)?;
    }
    eventually("no pin is left over", || !pins().iter().any(|(_, pin)| pin.starts_with("cgroup-")));
    Ok(())
}

/// Lets the next agent finish everything, and checks that all is whole.
fn settled(machine: &mut Machine, pods: &Pods) -> Result<(), Failed> {
    if machine.agent.pid() != 0 {
        machine.agent.end(Signal::KILL)?;
    }
    machine.agent.start()?;
    for id in pods.running() {
        machine.expect_once(id);
        eventually("it is denied", || machine.expect_kept(id).last() == Some(&true));
    }
    machine.agent.expect_whole();
    Ok(())
}
