use std::process::Command;

use knobgate_kernel::{Namespaces, with_private_namespaces};
use knobgate_testing::{Reaped, Test, eventually, scratch, shell};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::setting::{DetachOnDrop, KNOBGATE, attach, expect, policy, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("doctor_reports_what_the_machine_can_do", machine),
    ("doctor_reports_what_a_workload_could_do", workload),
    ("explain_reads_a_long_list_as_the_hook_does", long_list),
];

fn findings(arguments: &[&str]) -> Vec<Value> {
    let output = stdout(&expect(0, arguments));
    output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn state<'a>(findings: &'a [Value], what: &str) -> &'a str {
    let finding = findings.iter().find(|finding| finding["what"] == what);
    finding.and_then(|finding| finding["state"].as_str()).unwrap_or_else(|| panic!("{what}: {findings:?}"))
}

fn machine() -> Result<(), Failed> {
    let findings = findings(&["doctor", "--json"]);
    for what in ["kernel", "cgroup v2", "bpffs", "hook", "links"] {
        assert_eq!(state(&findings, what), "ok");
    }
    for finding in findings.iter().filter(|finding| finding["state"] != "ok") {
        assert!(finding["consequence"].is_string(), "{finding}");
    }
    Ok(())
}

fn workload() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-doctor");
    let cgroup = scratch();
    attach(policy("policy t-doctor\n").path(), &cgroup, "t-doctor");
    let examined = |script: &str| -> Result<Vec<Value>, Failed> {
        let sleeper = Reaped(shell(&cgroup, script).spawn()?);
        let pid = sleeper.0.id();
        eventually("it sleeps", || {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
        });
        Ok(findings(&["doctor", "--json", "--pid", &pid.to_string()]))
    };
    let root = examined("exec sleep 1000")?;
    assert_eq!(state(&root, "policies"), "ok");
    for what in ["leaving its cgroup", "detaching", "overruling", "other processes"] {
        assert_eq!(state(&root, what), "less", "{what}");
    }
    // Not every kernel has it.
    let trigger = if std::path::Path::new("/proc/sysrq-trigger").exists() { "less" } else { "ok" };
    assert_eq!(state(&root, "/proc/sysrq-trigger"), trigger);
    let nobody =
        examined("exec setpriv --reuid=65534 --clear-groups --inh-caps=-all --bounding-set=-all sleep 1000")?;
    for what in
        ["policies", "leaving its cgroup", "detaching", "overruling", "/proc/sysrq-trigger", "other means"]
    {
        assert_eq!(state(&nobody, what), "ok", "{what}");
    }
    Ok(())
}

fn long_list() -> Result<(), Failed> {
    const SEM: &str = "2147483647\t2147483647\t2147483647\t32767";
    let file = policy("policy t-long\nallow write kernel.sem if old[3] == 32767\n");
    let script = "echo \"$1\" >/proc/sys/kernel/sem && shift && exec \"$0\" explain --policy \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, KNOBGATE, SEM]).arg(file.path());
    command.args(["write", "kernel.sem", "1 1 1 1", "--json"]);
    with_private_namespaces(&mut command, Namespaces { ipc: true, ..Namespaces::default() });
    let output = command.output()?;
    let explained: Value = serde_json::from_slice(&output.stdout).map_err(|_| format!("{output:?}"))?;
    assert_eq!(explained["verdict"], "allow", "{explained}");
    assert_eq!(explained["access"]["old"], format!("{SEM}\n"), "{explained}");
    Ok(())
}
