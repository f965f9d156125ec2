use std::process::Command;

use knobgate_kernel::{Namespaces, with_private_namespaces};
use knobgate_testing::{Profile, Reaped, Test, eventually, scratch, shell};
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

/// Tests with BPF tokens.
pub(crate) const TOKENS: &[Test] =
    &[("doctor_sees_a_bpffs_that_delegates_programs_to_a_user_namespace", delegated)];

/// What they require.
pub(crate) fn tokens(profile: &Profile) -> Option<String> {
    (profile.version < (6, 9)).then(|| format!("{profile} has no BPF tokens"))
}

fn delegated() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-delegated");
    let cgroup = scratch();
    attach(policy("policy t-delegated\n").path(), &cgroup, "t-delegated");
    let directory = tempfile::tempdir()?;
    let overruling = |options: &str| -> Result<Value, Failed> {
        // It is mounted where only this process sees it.
        let script = format!(
            "mount -t bpf -o {options} bpf {} && exec unshare --user --map-root-user sleep 1000",
            directory.path().display()
        );
        let mut command = shell(&cgroup, &script);
        with_private_namespaces(&mut command, Namespaces { mount: true, ..Namespaces::default() });
        let sleeper = Reaped(command.spawn()?);
        let pid = sleeper.0.id();
        eventually("it sleeps", || {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
        });
        let mut findings = findings(&["doctor", "--json", "--pid", &pid.to_string()]);
        findings.retain(|finding| finding["what"] == "overruling");
        findings.pop().ok_or_else(|| "nothing about overruling".into())
    };
    let found = overruling("delegate_cmds=any,delegate_progs=any,delegate_attachs=any")?;
    let place = format!("with a token of the bpffs at {}", directory.path().display());
    assert_eq!(found["state"], "less", "{found}");
    assert!(found["found"].as_str().is_some_and(|found| found.contains(&place)), "{found}");
    for options in ["delegate_cmds=any,delegate_attachs=any", "mode=755"] {
        let found = overruling(options)?;
        assert_eq!(found["state"], "ok", "{options}: {found}");
    }
    // Only these three together: loading a program (5) for this hook (23), and attaching it (18).
    let exact = overruling("delegate_cmds=0x20,delegate_progs=0x800000,delegate_attachs=0x40000")?;
    assert_eq!(exact["state"], "less", "{exact}");
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
