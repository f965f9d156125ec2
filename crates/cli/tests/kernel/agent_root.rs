//! `knobgate agent` on the whole machine: knobs that are the machine's own, whoever writes them.
//!
//! These tests write such knobs, and put back what they were.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use knobgate_kernel::Cgroup;
use knobgate_testing::{Suite, eventually, root, run_in};
use libtest_mimic::Failed;

use crate::agent_machine::{AgentMachine, NAMESPACES};
use crate::agent_watches::writer_name;
use crate::readers::whole_machine;
use crate::setting::KNOBGATE;

pub(crate) fn on_the_whole_machine() -> Suite {
    Suite::default()
        .requiring(
            whole_machine,
            &[
                ("a_knob_of_the_machine_is_kept_whoever_writes_it", core_pattern),
                ("whoever_writes_a_knob_in_parts_is_said", in_parts),
            ],
        )
        .isolated(NAMESPACES)
        .in_module("whole_machine")
}

const CORE_PATTERN: &str = "/proc/sys/kernel/core_pattern";
const STRICT: &str = "/proc/sys/kernel/sysctl_writes_strict";

/// Puts back a value of this machine.
struct PutBack(&'static str, String);

impl PutBack {
    fn of(path: &'static str) -> Result<Self, Failed> {
        Ok(Self(path, fs::read_to_string(path)?))
    }
}

impl Drop for PutBack {
    fn drop(&mut self) {
        let _ = fs::write(self.0, &self.1);
    }
}

/// An agent that looks at these knobs when somebody writes them.
fn watching(knobs: &[(&str, &str)], repair: bool) -> Result<AgentMachine, Failed> {
    let mut machine = AgentMachine::whole()?;
    let mut text = "check-interval = \"1h\"\n".to_owned();
    for (name, value) in knobs {
        text += &format!("[[knob]]\nname = \"{name}\"\nvalue = \"{value}\"\nrepair = {repair}\n");
    }
    fs::write(machine.path("agent.toml"), text)?;
    machine.start()?;
    // It answers when it watches the knobs.
    eventually("it answers", || {
        Command::new(KNOBGATE).arg("status").output().is_ok_and(|output| output.status.success())
    });
    Ok(machine)
}

fn core_pattern() -> Result<(), Failed> {
    let _put_back = PutBack::of(CORE_PATTERN)?;
    fs::write(CORE_PATTERN, "kept")?;
    let machine = watching(&[("kernel.core_pattern", "kept"), ("net.ipv4.ip_default_ttl", "64")], true)?;
    let (root, below) = (root(), machine.make("x/y/z"));
    let places: [(Cgroup, PathBuf); 3] = [
        (Cgroup::open(root.path())?, root.path().to_owned()),
        (Cgroup::open(&below)?, below),
        (Cgroup::open(root.path())?, root.path().to_owned()),
    ];
    for (number, (cgroup, path)) in places.iter().enumerate() {
        let pid = run_in(cgroup, &format!("echo '|/bin/{number}' >{CORE_PATTERN}"))?;
        let changed = format!("knob-changed: kernel.core_pattern is |/bin/{number} and not kept: ");
        let wrote = format!("{}{} wrote it", writer_name(), path.display());
        machine.expect_line(&[&changed, &wrote]);
        // Before Linux 5.11, no program knows the process.
        assert!(writer_name().starts_with("a process") || machine.log().contains(&format!("process {pid} ")));
        machine.expect_count("repaired: wrote kept to kernel.core_pattern again", number + 1);
        assert_eq!(fs::read_to_string(CORE_PATTERN)?, "kept\n");
    }
    // Somebody else insists.
    run_in(&root, &format!("echo again >{CORE_PATTERN}"))?;
    machine.expect_said("repair-failed: wrote kept to kernel.core_pattern 3 times within a minute");
    assert_eq!(fs::read_to_string(CORE_PATTERN)?, "again\n");
    // Other knobs have their own count.
    run_in(&root, "echo 99 >/proc/sys/net/ipv4/ip_default_ttl")?;
    machine.expect_said("repaired: wrote 64 to net.ipv4.ip_default_ttl again");
    run_in(&root, &format!("echo kept >{CORE_PATTERN}"))?;
    machine.expect_line(&["repaired: kernel.core_pattern is kept again: ", writer_name()]);
    Ok(())
}

fn in_parts() -> Result<(), Failed> {
    const NUMBER: &str = "/proc/sys/net/core/somaxconn";
    let _put_back = (PutBack::of(STRICT)?, PutBack::of(CORE_PATTERN)?);
    for (strict, text, number) in [("1", "|/bin/x", "71"), ("0", "x", "72"), ("-1", "x", "72")] {
        fs::write(STRICT, strict)?;
        fs::write(CORE_PATTERN, "kept")?;
        fs::write(NUMBER, "64")?;
        // Nothing is written back between the two writes.
        let machine = watching(&[("kernel.core_pattern", "kept"), ("net.core.somaxconn", "64")], false)?;
        let (first, second) = (machine.make("first"), machine.make("second"));
        for (path, one, two) in [(CORE_PATTERN, "|/bin/", "x"), (NUMBER, "71", "72")] {
            let procs = second.join("cgroup.procs");
            let script = format!(
                "exec 3>{path}; printf '{one}' >&3; echo $$ >{}; printf '{two}' >&3",
                procs.display()
            );
            run_in(&Cgroup::open(&first)?, &script)?;
        }
        // A number ignores what is not written at its start.
        let by = if strict == "1" { &first } else { &second };
        for (knob, value, kept, by) in
            [("kernel.core_pattern", text, "kept", &second), ("net.core.somaxconn", number, "64", by)]
        {
            let changed = format!("knob-changed: {knob} is {value} and not {kept}: ");
            let wrote = format!("{}{} wrote it", writer_name(), by.display());
            machine.expect_line(&[&changed, &wrote]);
        }
    }
    Ok(())
}
