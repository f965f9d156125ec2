//! What `knobgate agent` notices of others.

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

use knobgate_kernel::start_inside;
use knobgate_testing::{Reaped, Suite, Test};
use libtest_mimic::Failed;

use crate::agent_machine::{AgentMachine, policy_for, suite};
use crate::watching::knows_tasks;

pub(crate) fn with_agents() -> Suite {
    let tests: &[Test] = &[
        ("a_process_that_leaves_a_guarded_cgroup_is_said", left),
        ("a_kept_knob_is_written_back_and_its_writer_said", knobs),
    ];
    suite(tests)
}

fn machine(config: &str) -> Result<AgentMachine, Failed> {
    let mut machine = AgentMachine::new(&[("web.knob", &policy_for("web", "g"))])?;
    fs::write(machine.path("agent.toml"), config)?;
    machine.start()?;
    machine.make("g1");
    machine.expect_on("g1", &["web:agent"]);
    Ok(machine)
}

const NEVER: &str = "check-interval = \"1h\"\n";

/// A process in a cgroup.
fn sleeper(machine: &AgentMachine, cgroup: &str) -> Result<Reaped, Failed> {
    let mut command = Command::new("sleep");
    start_inside(command.arg("1000"), &machine.open(cgroup))?;
    Ok(Reaped(command.spawn()?))
}

fn enter(machine: &AgentMachine, cgroup: &str, process: &Child) -> Result<(), Failed> {
    Ok(fs::write(machine.at(cgroup).join("cgroup.procs"), process.id().to_string())?)
}

fn left() -> Result<(), Failed> {
    let machine = machine(NEVER)?;
    machine.make("g2");
    machine.expect_on("g2", &["web:agent"]);
    machine.make("other");
    let process = sleeper(&machine, "g1")?;
    // There, the same policy is in force.
    enter(&machine, "g2", &process.0)?;
    enter(&machine, "other", &process.0)?;
    machine.expect_said(&format!(
        "process-left: process {} (sleep) has left the guarded cgroup ",
        process.0.id()
    ));
    machine.expect_said("/g2 for ");
    machine.expect_said(&format!("/other: process {} (", std::process::id()));
    machine.expect_said(", user 0) moved it");
    enter(&machine, "g1", &process.0)?;
    enter(&machine, "other", &process.0)?;
    machine.expect_said("/g1 for ");
    assert_eq!(machine.log().matches("process-left").count(), 2, "{}", machine.log());
    Ok(())
}

/// How the writer of a knob is called: as far as programs on this kernel know it.
pub(crate) fn writer_name() -> &'static str {
    if knows_tasks() { " (sh, user 0) in " } else { "a process (user 0) in " }
}

fn knobs() -> Result<(), Failed> {
    const FILE: &str = "/proc/sys/kernel/domainname";
    fs::write(FILE, "kept")?;
    let knob = |name: &str, value: &str, repair: bool| {
        format!("[[knob]]\nname = \"{name}\"\nvalue = \"{value}\"\nrepair = {repair}\n")
    };
    let machine = machine(&format!("{NEVER}{}", knob("kernel.domainname", "kept", true)))?;
    machine.make("other");
    let mut command = Command::new("sh");
    start_inside(command.args(["-c", &format!("echo changed >{FILE}")]), &machine.open("other"))?;
    let mut writer = command.spawn()?;
    assert!(writer.wait()?.success());
    let by = writer_name();
    machine.expect_line(&[
        "knob-changed: kernel.domainname is changed and not kept: ",
        by,
        "/other wrote it",
    ]);
    machine.expect_said("repaired: wrote kept to kernel.domainname again");
    assert_eq!(fs::read_to_string(FILE)?, "kept\n");
    // A reload takes other knobs.
    let text = format!("{NEVER}{}", knob("kernel.hostname", "no-such-name", false));
    fs::write(machine.path("agent.toml"), text)?;
    machine.expect_said("knob-changed: kernel.hostname is ");
    machine.expect_said("and not no-such-name: no event tells who wrote it");
    fs::write(FILE, "other")?;
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(fs::read_to_string(FILE)?, "other\n");
    Ok(())
}
