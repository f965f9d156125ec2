//! What a hook of runc does not put a policy on, and what it says then.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use knobgate_kernel::start_inside;
use knobgate_testing::{Bundle, Suite, Test, root, scratch};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::hook_machine::{
    self, Journal, Machine, TTL, WEB, attachments, error_of, expect_printed, id, process_in, state_of,
};
use crate::setting::{expect, stderr, stdout};

pub(crate) fn with_their_own_bpffs() -> Suite {
    let tests: &[Test] = &[
        ("a_knob_that_the_runtime_may_not_write_is_named", runtime_denied),
        ("a_policy_with_an_error_lets_no_container_start", wrong_policy),
        ("without_a_bpffs_a_container_starts_only_if_the_hook_fails_open", no_bpffs),
        ("a_runtime_can_require_that_writes_are_denied", required),
        ("a_program_of_another_policy_is_not_put_on_a_container", foreign),
        ("a_policy_is_on_the_topmost_cgroup_of_the_container", topmost),
        ("a_container_without_a_cgroup_of_its_own_is_rejected", shared),
        ("a_cgroup_that_the_container_shares_is_said", others),
        ("what_is_not_a_state_is_rejected_in_one_line", not_a_state),
        ("an_attachment_for_containers_cannot_be_replaced", not_replaced),
    ];
    hook_machine::suite(tests)
}

fn runtime_denied() -> Result<(), Failed> {
    let machine = Machine::new(&[("web.knob", WEB)])?;
    let denied = [("net.ipv4.ip_forward", "1")];
    let error = error_of(machine.start_with("c1", "echo started", &denied, &[]));
    let place = format!("({}:3: default write deny)", machine.policies().join("web.knob").display());
    for expected in ["the policy \\\"web\\\" denies", "net.ipv4.ip_forward = 1", &place] {
        assert!(error.contains(expected), "{error}");
    }
    assert!(!error.contains("preset") && !error.contains("started\n"), "{error}");
    let of_engines = [("net.ipv4.ip_unprivileged_port_start", "0")];
    let error = error_of(machine.start_with("c2", "echo started", &of_engines, &[]));
    assert!(error.contains("include preset \\\"docker-runtime@1\\\""), "{error}");
    machine.expect_no_links();
    assert_eq!(attachments(), [""; 0]);
    machine.write("web.knob", &format!("{WEB}include preset \"docker-runtime@1\"\n"));
    let container = machine.start_with("c2", "echo started", &of_engines, &[])?;
    expect_printed(&container, "started");
    machine.write("web.knob", WEB);

    // What is allowed or clamped is written.
    let allowed = [("net.ipv4.ip_default_ttl", "60")];
    let container = machine.start_with("c3", &format!("/busybox cat {TTL}"), &allowed, &[])?;
    expect_printed(&container, "60\n");
    // An audit policy lets everything pass.
    fs::write(machine.files.path().join("agent.toml"), "[[policy]]\nname = \"web\"\nmode = \"audit\"\n")?;
    let container = machine.start_with("c4", "/busybox cat /proc/sys/net/ipv4/ip_forward", &denied, &[])?;
    expect_printed(&container, "1\n");
    let shown = stdout(&expect(0, ["show", "web"]));
    assert!(shown.contains("audit mode") && shown.contains("mode audit"), "{shown}");
    Ok(())
}

fn wrong_policy() -> Result<(), Failed> {
    let machine =
        Machine::new(&[("web.knob", WEB), ("wrong.knob", "policy wrong\nalow write kernel.panic\n")])?;
    let error = error_of(machine.start("c1", "echo started"));
    let place = machine.policies().join("wrong.knob").display().to_string();
    assert!(error.contains(&format!("{place}:2:1: there is no action `alow`")), "{error}");
    machine.expect_no_links();
    Ok(())
}

fn no_bpffs() -> Result<(), Failed> {
    let mut machine = Machine::new(&[("web.knob", WEB)])?;
    let unmounted = Command::new("umount").args(["-a", "-t", "bpf"]).status()?;
    assert!(unmounted.success());
    let error = error_of(machine.start("c1", "echo started"));
    assert!(error.contains("no bpffs is mounted here"), "{error}");

    let journal = Journal::new()?;
    let said = || journal.next();
    error_of(machine.start("c2", "echo started"));
    let message = said()?;
    assert!(message.contains("does not start: ") && message.contains("no bpffs"), "{message}");
    machine.options = vec!["--fail-open".to_owned()];
    let container = machine.start("c3", "echo started")?;
    expect_printed(&container, "started");
    let message = said()?;
    assert!(message.contains("starts unjudged, because knobgate fails open: "), "{message}");
    assert!(message.contains(&id("c3")) && message.contains("no bpffs"), "{message}");

    machine.options = vec!["--fail-open-namespace".to_owned(), "kube-system".to_owned()];
    let in_namespace = |namespace| {
        [
            ("io.kubernetes.cri.container-type", "container"),
            ("io.kubernetes.cri.sandbox-namespace", namespace),
        ]
    };
    machine.write("web.knob", &WEB.replace("engine == runc", "engine == containerd"));
    let container = machine.start_with("c4", "echo started", &[], &in_namespace("kube-system"))?;
    expect_printed(&container, "started");
    error_of(machine.start_with("c5", "echo started", &[], &in_namespace("prod")));
    // Also if the policies cannot be read.
    machine.write("wrong.knob", "policy");
    let container = machine.start_with("c6", "echo started", &[], &in_namespace("kube-system"))?;
    expect_printed(&container, "started");
    Ok(())
}

fn required() -> Result<(), Failed> {
    let mut machine =
        Machine::new(&[("web.knob", &WEB.replace("default write deny", "default write allow"))])?;
    machine.options = vec!["--require-default-deny".to_owned()];
    let error = error_of(machine.start("c1", "echo started"));
    assert!(error.contains("has `default write deny` and is enforced"), "{error}");
    assert!(error.contains("these apply: web"), "{error}");
    machine.expect_no_links();
    machine.write("strict.knob", "policy strict\napply if engine == runc\n");
    let container = machine.start("c2", "echo ready")?;
    expect_printed(&container, "ready");
    fs::write(machine.files.path().join("agent.toml"), "[[policy]]\nname = \"strict\"\nmode = \"audit\"\n")?;
    error_of(machine.start("c3", "echo started"));
    for file in ["web.knob", "strict.knob"] {
        fs::remove_file(machine.policies().join(file))?;
    }
    fs::write(machine.files.path().join("agent.toml"), "")?;
    assert!(error_of(machine.start("c4", "echo started")).contains("these apply: none"));
    // That would be a writable /proc/sys without a policy.
    machine.options.push("--fail-open".to_owned());
    assert!(error_of(machine.start("c5", "echo started")).contains("cannot be used with"));
    Ok(())
}

/// Names have only a part of a hash, so two texts can have one name.
fn foreign() -> Result<(), Failed> {
    let machine = Machine::new(&[("web.knob", WEB)])?;
    let made = |text: &str| -> Result<String, Failed> {
        machine.write("web.knob", text);
        drop(machine.start("c1", "true")?);
        attachments().pop().ok_or_else(|| "an attachment".into())
    };
    let name = made(WEB)?;
    expect(0, ["detach", "web"]);
    let other = made(&WEB.replace("deny", "allow"))?;
    let pins = Path::new("/sys/fs/bpf/knobgate");
    fs::rename(pins.join(&other), pins.join(&name))?;
    machine.write("web.knob", WEB);
    let error = error_of(machine.start("c2", "echo started"));
    assert!(error.contains(&name) && error.contains("is not that version; detach it"), "{error}");
    expect(0, ["detach", &name]);
    let container = machine.start("c3", "echo x >/proc/sys/kernel/domainname")?;
    expect_printed(&container, "Operation not permitted");
    Ok(())
}

fn topmost() -> Result<(), Failed> {
    let machine = Machine::new(&[("web.knob", WEB)])?;
    let bundle = machine.files.path().join("b");
    Bundle::new(&machine.cgroup("c1"), "").write(&bundle)?;
    let top = machine.parent.create("c1")?;
    let leaf = top.create("init")?;
    let process = process_in(&leaf)?;
    let output = machine.run_hook(&state_of("c1", "creating", process.0.id(), &bundle))?;
    assert!(output.status.success(), "{output:?}");
    let shown: Value = serde_json::from_slice(&expect(0, ["show", "web", "--json"]).stdout)?;
    let on: Vec<_> =
        shown["cgroups"].as_array().ok_or("cgroups")?.iter().map(|one| one["cgroup_id"].as_u64()).collect();
    assert_eq!(on, [Some(top.id())], "{shown}");
    // The hook of another mechanism does nothing again.
    let output = machine.run_hook(&state_of("c1", "created", process.0.id(), &bundle))?;
    assert!(output.status.success(), "{output:?}");
    let again: Value = serde_json::from_slice(&expect(0, ["show", "web", "--json"]).stdout)?;
    assert_eq!(again["cgroups"], shown["cgroups"]);
    Ok(())
}

fn shared() -> Result<(), Failed> {
    let machine = Machine::new(&[("web.knob", WEB)])?;
    let bundle = machine.files.path().join("b");
    Bundle::new(Path::new("/"), "").write(&bundle)?;
    let in_root = process_in(&root())?;
    let output = machine.run_hook(&state_of("c1", "creating", in_root.0.id(), &bundle))?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let message = stderr(&output);
    assert!(
        message.contains("has no cgroup of its own: it is in ")
            && message.contains("the root of all cgroups"),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1, "{message}");

    // The runtime's own cgroup.
    let cgroup = machine.parent.create("runtime")?;
    let process = process_in(&cgroup)?;
    let hook = machine.hook();
    let file = machine.files.path().join("state.json");
    fs::write(&file, state_of("c1", "creating", process.0.id(), &bundle))?;
    let mut command = Command::new(&hook[0]);
    command.args(&hook[1..]).stdin(fs::File::open(&file)?).stderr(Stdio::piped());
    start_inside(&mut command, &cgroup)?;
    let output = command.output()?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("in which its runtime runs"), "{output:?}");
    assert_eq!(attachments(), [""; 0]);
    // To a policy that does not apply, that does not matter.
    machine.write("web.knob", &WEB.replace("runc", "docker"));
    let output = machine.run_hook(&state_of("c1", "creating", in_root.0.id(), &bundle))?;
    assert!(output.status.success(), "{output:?}");
    Ok(())
}

fn others() -> Result<(), Failed> {
    let machine = Machine::new(&[("web.knob", WEB)])?;
    let (journal, cgroup) = (Journal::new()?, machine.parent.create("c1")?);
    let bundle = machine.files.path().join("b");
    Bundle::new(&machine.cgroup("c1"), "").write(&bundle)?;
    let (other, process) = (process_in(&cgroup)?, process_in(&cgroup)?);
    let said = || -> Result<String, Failed> {
        let output = machine.run_hook(&state_of("c1", "creating", process.0.id(), &bundle))?;
        assert!(output.status.success(), "{output:?}");
        journal.next()
    };
    let message = said()?;
    assert!(message.contains("with another process, judged by its policies, too"), "{message}");
    drop(other);
    let _below = [process_in(&cgroup.create("a")?)?, process_in(&cgroup.create("b")?)?];
    let message = said()?;
    assert!(message.contains("with 2 other processes, judged by its policies, too"), "{message}");
    Ok(())
}

fn not_a_state() -> Result<(), Failed> {
    let machine = Machine::new(&[("web.knob", WEB)])?;
    let bundle = machine.files.path().join("b");
    let without_pid = state_of("c1", "creating", 0, &bundle);
    let running = state_of("c1", "running", 1, &bundle);
    let without_bundle = state_of("c1", "creating", std::process::id(), &bundle);
    let hostile = state_of("c\u{1b}[2J\n", "creating", 0, &bundle);
    let huge = " ".repeat(5 << 20);
    for (state, expected) in [
        ("", "there is none"),
        ("{\n\n", "EOF while parsing"),
        ("null", "invalid type: null"),
        (&*huge, "it has more than 4 MiB"),
        (&without_pid, "has no process"),
        (&running, "this hook belongs to the stage createRuntime"),
        (&without_bundle, "config.json: No such file or directory"),
        (&hostile, "c\\x1b[2J\\n has no process"),
    ] {
        let output = machine.run_hook(state)?;
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.starts_with("knobgate: ") && message.contains(expected), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert_eq!(stdout(&output), "");
    }
    // The end of a container cannot be prevented.
    let output = machine.run_hook(&state_of("c1", "stopped", 0, &bundle))?;
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Ok(())
}

fn not_replaced() -> Result<(), Failed> {
    let machine = Machine::new(&[("web.knob", WEB)])?;
    let container = machine.start("c1", "echo ready; /busybox sleep 1000")?;
    expect_printed(&container, "ready");
    let [name] = &attachments()[..] else { return Err("one attachment".into()) };
    let (cgroup, other) = (scratch(), machine.policies().join("other.knob"));
    fs::write(&other, "policy other\n")?;
    let place = cgroup.path().to_str().ok_or("a path")?;
    let attach = |file: &Path, status| {
        let file = file.to_str().expect("a path");
        stderr(&expect(status, ["attach", "--policy", file, "--cgroup", place, "--name", name]))
    };
    assert!(attach(&other, 2).contains("is that of a policy for containers, and is not replaced"));
    // The same policy is attached to more cgroups.
    attach(&machine.policies().join("web.knob"), 0);
    let shown: Value = serde_json::from_slice(&expect(0, ["show", name, "--json"]).stdout)?;
    assert_eq!(shown["cgroups"].as_array().map(Vec::len), Some(2), "{shown}");
    Ok(())
}
