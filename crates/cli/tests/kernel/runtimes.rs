//! `knobgate runtime` as the runtime of real engines.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use knobgate_testing::{
    Docker, ENGINE_NAMESPACES, Podman, Suite, Test, fresh_machine, without_docker, without_podman,
    without_runc,
};
use libtest_mimic::Failed;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engines::{DENIED, OF_DOCKER, Parent, WRITE, printed, run};
use crate::setting::{KNOBGATE, expect, stderr, stdout};

/// The tests, each on a machine of its own.
pub(crate) fn with_engines() -> Suite {
    let suite =
        Suite::new(RUNC).with_engine(without_runc).and(Suite::new(DOCKER).with_engine(without_docker));
    suite.and(Suite::new(PODMAN).with_engine(without_podman)).isolated(ENGINE_NAMESPACES)
}

const RUNC: &[Test] = &[
    ("runtime_a_container_of_runc_starts_under_its_policy", runc_judged),
    ("runtime_says_in_the_log_why_a_container_does_not_start", errors),
];

const DOCKER: &[Test] = &[
    ("runtime_docker_starts_containers_under_their_policies", docker_judged),
    ("runtime_docker_has_a_writable_proc_sys_under_default_deny_alone", docker_writable),
    ("runtime_docker_shows_why_a_container_does_not_start", docker_errors),
];

const PODMAN: &[Test] = &[("runtime_podman_starts_containers_under_their_policies", podman_judged)];

/// A directory with these policies.
fn policies(texts: &[&str]) -> Result<TempDir, Failed> {
    let directory = tempfile::tempdir()?;
    for (number, text) in texts.iter().enumerate() {
        fs::write(directory.path().join(format!("{number}.knob")), text)?;
    }
    Ok(directory)
}

/// The policy of containers whose name begins with `web`.
fn web() -> String {
    format!(
        "policy t-web\napply if container starts with \"web\"\ndefault read allow\ndefault write deny\n\
         allow write net.ipv4.ip_default_ttl if new <= 128\n{OF_DOCKER}"
    )
}

/// `daemon.json` with knobgate as the runtime `knobgate`.
fn daemon_settings(policies: &Path, options: &[&str]) -> String {
    let mut arguments =
        vec!["runtime", "--runtime", "runc", "--policies", policies.to_str().expect("a path")];
    arguments.extend(options);
    arguments.push("--");
    json!({ "runtimes": { "knobgate": { "path": KNOBGATE, "runtimeArgs": arguments } } }).to_string()
}

const WITH_KNOBGATE: [&str; 2] = ["--runtime", "knobgate"];

fn docker_judged() -> Result<(), Failed> {
    fresh_machine()?;
    let directory = policies(&[&web()])?;
    let (parent, docker) = (Parent::create()?, Docker::start(&daemon_settings(directory.path(), &[]))?);
    let named = |name: &'static str| [&WITH_KNOBGATE[..], &["--rm", "--name", name]].concat();
    let judged = printed(&mut docker.run(&parent.name, &named("web-1"), WRITE))?;
    assert_eq!(judged.trim_end(), DENIED);
    let within = printed(&mut docker.run(&parent.name, &named("web-2"), &WRITE.replace("200", "100")))?;
    assert_eq!(within, "written\n100\n");
    assert_eq!(printed(&mut docker.run(&parent.name, &named("db"), WRITE))?, "written\n200\n");
    // Docker's own runtime is as before.
    assert_eq!(printed(&mut docker.run(&parent.name, &["--rm", "--name", "web"], WRITE))?, "written\n200\n");

    let detached = [&WITH_KNOBGATE[..], &["--detach", "--name", "web-3"]].concat();
    let id = printed(&mut docker.run(&parent.name, &detached, "sleep 1000"))?;
    let listed = stdout(&expect(0, ["list", "--container", "web-3"]));
    assert!(listed.contains(id.trim()) && listed.contains("t-web@"), "{listed}");
    let executed = printed(&mut docker.command(["exec", "web-3", "sh", "-c", WRITE]))?;
    assert_eq!(executed.trim_end(), DENIED);
    // A container that is started again has a new cgroup.
    run(&mut docker.command(["restart", "--time", "0", "web-3"]))?;
    assert_eq!(printed(&mut docker.command(["exec", "web-3", "sh", "-c", WRITE]))?.trim_end(), DENIED);
    let log = stdout(&expect(0, ["log", "t-web", "--container", "web-3"]));
    assert!(log.contains("docker/web-3: "), "{log}");
    run(&mut docker.command(["rm", "--force", "web-3"]))?;
    for (argument, gone) in [("web-1", "web-1"), ("web-3", "web-3"), ("docker/web-1", "web-1")] {
        let log = stdout(&expect(0, ["log", "t-web", "--container", argument]));
        let others = log.lines().filter(|line| line.starts_with("  docker/") && !line.contains(gone)).count();
        assert!(log.contains(&format!("docker/{gone}: ")) && others == 0, "{log}");
    }
    let left = stdout(&expect(0, ["list", "--cgroup", parent.cgroup.path().to_str().ok_or("a path")?]));
    assert_eq!(left, "");
    Ok(())
}

fn docker_writable() -> Result<(), Failed> {
    fresh_machine()?;
    let audit = "policy t-audit\napply if container == \"audited\"\nmode audit\ndefault write deny\n";
    let directory = policies(&[&web(), audit])?;
    let settings = daemon_settings(directory.path(), &["--writable-proc-sys"]);
    let (parent, docker) = (Parent::create()?, Docker::start(&settings)?);
    let path = parent.name.to_str().ok_or("a path")?;
    let in_container = |name: &str, script: &str| {
        let plain = ["run", "--rm", "--network", "none", "--cgroup-parent", path, "--name", name];
        let image = [knobgate_testing::IMAGE, "sh", "-c", script];
        printed(&mut docker.command([&plain[..], &WITH_KNOBGATE, &image].concat()))
    };
    assert_eq!(in_container("web", &WRITE.replace("200", "100"))?, "written\n100\n");
    assert_eq!(in_container("web", WRITE)?.trim_end(), DENIED);
    // The machine's knobs are denied, and the rest of /proc is as Docker wants it.
    let others = in_container("web", "echo 1 >/proc/sys/kernel/msgmni; cat /proc/mounts")?;
    assert!(others.contains("write error: Operation not permitted"), "{others}");
    assert!(others.contains("proc /proc/bus proc ro,") && !others.contains("/proc/sys "), "{others}");
    for name in ["db", "audited"] {
        let printed = in_container(name, WRITE)?;
        assert!(printed.contains("ip_default_ttl: Read-only file system"), "{name}: {printed}");
    }
    Ok(())
}

fn docker_errors() -> Result<(), Failed> {
    fresh_machine()?;
    let strict =
        "policy t-strict\napply if container == \"strict\"\ndefault read allow\ndefault write deny\n";
    let directory = policies(&[strict])?;
    let settings = daemon_settings(directory.path(), &["--writable-proc-sys"]);
    let (parent, docker) = (Parent::create()?, Docker::start(&settings)?);
    let start = |name: &str| {
        let options = [&WITH_KNOBGATE[..], &["--rm", "--name", name]].concat();
        let output = run(&mut docker.run(&parent.name, &options, "echo started"))?;
        assert_eq!((stdout(&output).as_str(), output.status.success()), ("", false), "{output:?}");
        Ok::<_, Failed>(stderr(&output))
    };
    let denied = start("strict")?;
    assert!(
        denied.contains("t-strict") && denied.contains("net.ipv4.ip_unprivileged_port_start"),
        "{denied}"
    );
    fs::write(directory.path().join("1.knob"), "policy t-wrong\nallow write\n")?;
    let wrong = start("any")?;
    assert!(
        wrong.contains("knobgate: cannot make /proc/sys writable") && wrong.contains("1.knob:2"),
        "{wrong}"
    );
    Ok(())
}

/// A program that executes knobgate as a runtime, for engines that give a runtime no arguments of its own. Podman has runtimes of this
/// name log as JSON.
fn script(directory: &Path, policies: &Path) -> Result<String, Failed> {
    let path = directory.join("runc");
    let policies = policies.display();
    fs::write(
        &path,
        format!("#!/bin/sh\nexec {KNOBGATE} runtime --runtime runc --policies {policies} -- \"$@\"\n"),
    )?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path.to_str().ok_or("a path")?.to_owned())
}

fn podman_judged() -> Result<(), Failed> {
    fresh_machine()?;
    let directory = policies(&[&web()])?;
    let files = tempfile::tempdir()?;
    let script = script(files.path(), directory.path())?;
    let (parent, podman) = (Parent::create()?, Podman::start(&script)?);
    let judged = printed(&mut podman.run(&parent.name, &["--rm", "--name", "web-1"], WRITE))?;
    assert_eq!(judged.trim_end(), DENIED);
    assert_eq!(printed(&mut podman.run(&parent.name, &["--rm", "--name", "db"], WRITE))?, "written\n200\n");
    podman.start_container("web-2", &parent.name, "exec sleep 1000")?;
    assert_eq!(printed(&mut podman.command(["exec", "web-2", "sh", "-c", WRITE]))?.trim_end(), DENIED);
    fs::write(directory.path().join("1.knob"), "policy t-wrong\nallow write\n")?;
    let output = run(&mut podman.run(&parent.name, &["--rm", "--name", "web-3"], "echo started"))?;
    assert!(!output.status.success() && stdout(&output).is_empty(), "{output:?}");
    assert!(stderr(&output).contains("1.knob:2"), "{output:?}");
    Ok(())
}

/// A bundle with busybox, whose container runs a script.
fn bundle(directory: &Path, cgroup: &Path, script: &str) -> Result<(), Failed> {
    let root = directory.join("rootfs");
    fs::create_dir_all(root.join("proc"))?;
    fs::copy("/bin/busybox", root.join("busybox"))?;
    let namespaces = ["pid", "mount", "network", "uts", "ipc"].map(|kind| json!({ "type": kind }));
    let config = json!({
        "ociVersion": "1.0.2",
        "process": { "args": ["/busybox", "sh", "-c", script], "cwd": "/", "user": { "uid": 0, "gid": 0 } },
        "root": { "path": "rootfs" },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": { "cgroupsPath": cgroup, "namespaces": namespaces, "readonlyPaths": ["/proc/sys"] },
    });
    fs::write(directory.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
    Ok(())
}

/// `knobgate runtime` for runc.
fn runtime(policies: &Path, options: &[&str], arguments: &[&str]) -> Command {
    let mut command = Command::new(KNOBGATE);
    command.args(["runtime", "--runtime", "runc", "--policies"]).arg(policies).args(options).arg("--");
    command.args(arguments);
    command
}

const FOR_RUNC: &str = "policy t-runc\napply if engine == runc\ndefault read allow\ndefault write deny\n\
                        allow write net.ipv4.ip_default_ttl if new <= 128\n";

fn runc_judged() -> Result<(), Failed> {
    fresh_machine()?;
    let (parent, directory, files) = (Parent::create()?, policies(&[FOR_RUNC])?, tempfile::tempdir()?);
    let script = WRITE.replace("cat", "/busybox cat");
    bundle(files.path(), &parent.name.join("c"), &script)?;
    let config = files.path().join("config.json");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o640))?;
    std::os::unix::fs::chown(&config, Some(65534), Some(65533))?;
    let path = files.path().to_str().ok_or("a path")?;
    let readonly = printed(&mut runtime(directory.path(), &[], &["run", "--bundle", path, "t-1"]))?;
    assert!(readonly.contains("Read-only file system"), "{readonly}");
    for round in ["t-2", "t-3"] {
        let options = ["--writable-proc-sys"];
        let judged = printed(&mut runtime(directory.path(), &options, &["run", "-b", path, round]))?;
        assert_eq!(judged.trim_end(), DENIED, "{round}");
    }
    let changed: Value = serde_json::from_slice(&fs::read(&config)?)?;
    for stage in ["createRuntime", "poststop"] {
        assert_eq!(changed["hooks"][stage].as_array().map(Vec::len), Some(1), "{changed}");
    }
    let metadata = config.metadata()?;
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o640, 65534, 65533));
    // It is read-only again if no policy makes it writable.
    let readonly = printed(&mut runtime(directory.path(), &[], &["run", "--bundle", path, "t-5"]))?;
    assert!(readonly.contains("Read-only file system"), "{readonly}");
    // The bundle in the current directory, and the status of the container.
    let mut command = runtime(directory.path(), &[], &["run", "t-4"]);
    bundle(files.path(), &parent.name.join("c"), "exit 7")?;
    assert_eq!(command.current_dir(files.path()).status()?.code(), Some(7));
    let version = printed(&mut runtime(directory.path(), &[], &["--version"]))?;
    assert!(version.starts_with("runc version "), "{version}");
    Ok(())
}

fn errors() -> Result<(), Failed> {
    fresh_machine()?;
    let (directory, files) = (policies(&[FOR_RUNC])?, tempfile::tempdir()?);
    let log = files.path().join("log.json");
    let log_path = log.to_str().ok_or("a path")?;
    let missing = files.path().join("missing").display().to_string();
    fs::write(files.path().join("config.json"), "{\"hooks\": 3}")?;
    let path = files.path().to_str().ok_or("a path")?;
    for (bundle, expected) in
        [(missing.as_str(), "No such file or directory"), (path, "invalid type: integer `3`")]
    {
        let arguments = ["--log", log_path, "--log-format", "json", "create", "--bundle", bundle, "t-error"];
        let output = run(&mut runtime(directory.path(), &[], &arguments))?;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let message = stderr(&output);
        assert!(message.starts_with("error: ") && message.contains(expected), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        let logged = fs::read_to_string(&log)?;
        let last: Value = serde_json::from_str(logged.lines().last().ok_or("a line")?)?;
        assert_eq!(last["level"], "error");
        assert!(last["msg"].as_str().is_some_and(|text| text.contains(expected)), "{last}");
    }
    let mut absent = Command::new(KNOBGATE);
    absent.args(["runtime", "--runtime", "knobgate-test-no-runtime", "--", "state", "x"]);
    let output = run(&mut absent)?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("cannot execute the runtime knobgate-test-no-runtime"), "{output:?}");
    Ok(())
}
