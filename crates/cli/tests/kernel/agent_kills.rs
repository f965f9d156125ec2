//! The agent and the hook are killed at random moments, while cgroups come and go and policies change.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use knobgate_kernel::{Signal, start_inside};
use knobgate_testing::{Random, Reaped, Suite, Test, number, seed};
use libtest_mimic::Failed;

use crate::agent_machine::{AgentMachine, policy_for, suite};

pub(crate) fn with_agents() -> Suite {
    let tests: &[Test] = &[("nothing_is_half_whenever_the_agent_and_the_hook_are_killed", killed)];
    suite(tests)
}

/// How many cgroups there are at the same time.
const CGROUPS: u64 = 30;

fn killed() -> Result<(), Failed> {
    let (cycles, seed) = (number("KNOBGATE_KILL_CYCLES", 30)?, seed()?);
    println!("KNOBGATE_SEED={seed} KNOBGATE_KILL_CYCLES={cycles}");
    let mut random = Random(seed);
    let mut machine = AgentMachine::new(&[("web.knob", &policy_for("web", "g"))])?;
    let mut version = 0;
    // A container has its hook run once. A second one, with an edited policy, would add that version.
    let mut hooked = BTreeSet::new();
    for cycle in 0..cycles {
        let command = machine.command();
        machine.start_unready(command)?;
        let mut hooks = Vec::new();
        for _ in 0..random.below(40) {
            match random.below(10) {
                0 => {
                    version += 1;
                    let text = format!("{}allow write vm.version_{version}\n", policy_for("web", "g"));
                    machine.write("web.knob", &text);
                    if machine.log().contains("started: ") {
                        machine.signal(Signal::HUP);
                    }
                }
                1 => {
                    let name = format!("g-{}", random.below(CGROUPS));
                    if hooked.insert(name.clone()) {
                        hooks.push(run_hook(&machine, &name)?);
                    }
                }
                2..=5 => drop(machine.make(&format!("g-{}", random.below(CGROUPS)))),
                6..=7 => {
                    let name = format!("g-{}", random.below(CGROUPS));
                    if fs::remove_dir(machine.at(&name)).is_ok() {
                        hooked.remove(&name);
                    }
                }
                _ => std::thread::sleep(Duration::from_micros(random.below(20_000))),
            }
        }
        let guarded = guarded(&machine);
        for hook in &mut hooks {
            hook.kill();
        }
        // In half of the cycles, it is killed while it starts.
        if machine.is_running() {
            machine.end(Signal::KILL)?;
        } else {
            panic!("in cycle {cycle}: {}", machine.log());
        }
        drop(hooks);
        for name in &guarded {
            assert!(!machine.on(name).is_empty(), "{name} had a policy before cycle {cycle} ended");
        }
        if random.below(4) == 0 {
            settled(&mut machine, cycle)?;
        }
    }
    settled(&mut machine, cycles)
}

/// The cgroups that have a policy.
fn guarded(machine: &AgentMachine) -> BTreeSet<String> {
    let names = (0..CGROUPS).map(|number| format!("g-{number}"));
    names.filter(|name| !machine.on(name).is_empty()).collect()
}

/// Lets the next agent finish everything, and checks that all is whole.
fn settled(machine: &mut AgentMachine, cycle: u64) -> Result<(), Failed> {
    machine.start()?;
    for number in 0..CGROUPS {
        let name = format!("g-{number}");
        if machine.at(&name).exists() {
            let on = machine.on(&name);
            assert_eq!(on.len(), 1, "{on:?} on {name} after cycle {cycle}:\n{}", machine.log());
        }
    }
    machine.expect_whole();
    machine.end(Signal::KILL)?;
    Ok(())
}

/// A hook that runs for a container in a cgroup, with the process that waits there.
struct RunningHook {
    hook: Reaped,
    _process: Reaped,
}

impl RunningHook {
    fn kill(&mut self) {
        let _ = self.hook.0.kill();
        let _ = self.hook.0.wait();
    }
}

fn run_hook(machine: &AgentMachine, name: &str) -> Result<RunningHook, Failed> {
    machine.make(name);
    let mut process = Command::new("sleep");
    process.arg("1000");
    start_inside(&mut process, &machine.open(name))?;
    let process = Reaped(process.spawn()?);
    let bundle: PathBuf = machine.path("bundle");
    fs::create_dir_all(&bundle)?;
    fs::write(bundle.join("config.json"), "{\"ociVersion\":\"1.0.2\"}")?;
    let mut hook = machine.hook_command();
    let mut hook = Reaped(hook.stdin(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let state = format!(
        "{{\"ociVersion\":\"1.0.2\",\"id\":\"{name}\",\"status\":\"created\",\"pid\":{},\"bundle\":\"{}\"}}",
        process.0.id(),
        bundle.display()
    );
    // It may be gone already.
    let _ = hook.0.stdin.take().ok_or("standard input")?.write_all(state.as_bytes());
    Ok(RunningHook { hook, _process: process })
}
