//! Policies that a hook of runc puts on containers.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use knobgate_kernel::start_inside;
use knobgate_testing::{Bundle, Container, Reaped, Suite, Test, eventually, number};
use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::Value;

use crate::hook_machine::{
    self, Machine, TTL, WEB, attachments, error_of, expect_printed, id, mount_bpffs, mount_run, state_of,
};
use crate::setting::{KNOBGATE, expect, is_loaded, stderr, stdout};
use crate::watching::Watching;

pub(crate) fn with_their_own_bpffs() -> Suite {
    let tests: &[Test] = &[
        ("a_container_is_judged_from_its_first_write_on", judged),
        ("a_container_that_is_gone_has_its_name", named),
        ("all_policies_that_apply_are_on_the_container", several),
        ("without_a_policy_nothing_is_needed", no_policy),
        ("an_edited_policy_is_on_new_containers", edited),
        ("a_container_starts_without_the_policies_that_are_off", off),
        ("a_container_that_shares_its_cgroup_gets_its_policies_late", late),
        ("a_policy_is_found_by_its_whole_name", long_name),
        ("nothing_is_half_if_the_hook_is_killed", killed),
        ("two_hundred_containers_start_side_by_side", side_by_side),
        ("after_a_restart_of_the_machine_policies_are_compiled_again", restarted),
        ("runc_prints_what_the_page_says", documented),
    ];
    hook_machine::suite(tests)
}

fn judged() -> Result<(), Failed> {
    // No other test may have a program of this name.
    let machine = Machine::new(&[("judged.knob", &WEB.replace("policy web", "policy t-judged"))])?;
    let script = format!(
        "echo x >/proc/sys/kernel/domainname; echo 200 >{TTL}; /busybox cat {TTL}; echo ready; /busybox sleep 1000"
    );
    let container = machine.start("c1", &script)?;
    expect_printed(&container, "ready");
    assert_eq!(container.printed(), "sh: write error: Operation not permitted\n64\nready\n");
    let listed = stdout(&expect(0, ["list"]));
    let cgroup = machine.parent.path().join("c1");
    assert!(listed.contains(&cgroup.display().to_string()), "{listed}");
    let shown = stdout(&expect(0, ["show", "t-judged"]));
    assert!(
        shown.starts_with("t-judged@") && shown.contains("clamp write net.ipv4.ip_default_ttl"),
        "{shown}"
    );
    assert!(!shown.contains("apply if"), "{shown}");
    // A second one only opens the program.
    let second = machine.start("c2", &script)?;
    expect_printed(&second, "ready");
    assert_eq!(attachments().len(), 1);
    drop((container, second));
    machine.expect_no_links();
    assert!(!cgroup.exists());
    let waiting = stdout(&expect(0, ["list"]));
    assert!(waiting.contains(" is for containers, and on no cgroup now\n"), "{waiting}");
    let shown = stdout(&expect(0, ["show", "t-judged"]));
    assert!(shown.contains(" on no cgroup now; it is for containers\n"), "{shown}");
    expect(0, ["detach", "t-judged"]);
    assert_eq!(attachments(), [""; 0]);
    eventually("the program is gone", || !is_loaded("t_judged"));
    Ok(())
}

fn named() -> Result<(), Failed> {
    let machine = Machine::new(&[("web.knob", &WEB.replace("engine == runc", "namespace == \"prod\""))])?;
    let pod = [
        ("io.kubernetes.cri.container-type", "container"),
        ("io.kubernetes.cri.container-name", "nginx"),
        ("io.kubernetes.cri.sandbox-name", "web-7d4b9"),
        ("io.kubernetes.cri.sandbox-namespace", "prod"),
        ("io.kubernetes.cri.image-name", "registry.example/web/nginx:1"),
    ];
    let script = "echo x >/proc/sys/kernel/domainname; echo ready; /busybox sleep 1000";
    let container = machine.start_with("c1", script, &[], &pod)?;
    expect_printed(&container, "ready");
    let denied = || stdout(&expect(0, ["log", "web"]));
    eventually("it is denied", || denied().contains("domainname"));
    drop(container);
    let (gone, json) = (denied(), stdout(&expect(0, ["log", "web", "--recent", "--json"])));
    assert!(gone.contains("k8s/prod/web-7d4b9/nginx"), "{gone}");
    let event: Value = serde_json::from_str(json.lines().next().ok_or("an event")?)?;
    let workload = &event["workload"];
    assert_eq!((&workload["container"], &workload["image"]), (&pod[1].1.into(), &pod[4].1.into()), "{event}");
    assert_eq!(event["cgroup"]["path"], machine.parent.path().join("c1").display().to_string());
    // In another namespace, the policy does not apply.
    let other = [pod[0], pod[1], pod[2], ("io.kubernetes.cri.sandbox-namespace", "dev")];
    let container =
        machine.start_with("c2", "echo x >/proc/sys/kernel/domainname && echo ready", &[], &other)?;
    expect_printed(&container, "ready");
    machine.expect_no_links();
    Ok(())
}

fn several() -> Result<(), Failed> {
    let other = "policy hostname\napply if container starts with \"knobgate-test-\"\ndefault write allow\n\
                 deny write kernel.hostname\n";
    let absent = "policy absent\napply if engine == docker\n";
    let policies = [("a.knob", other), ("b.knob", absent), ("web.knob", WEB.replace("deny", "allow").leak())];
    let machine = Machine::new(&policies)?;
    let script = format!(
        "echo x >/proc/sys/kernel/hostname; echo 200 >{TTL}; /busybox cat {TTL}; echo ready; /busybox sleep 1000"
    );
    let container = machine.start("c1", &script)?;
    expect_printed(&container, "ready");
    assert_eq!(container.printed(), "sh: write error: Operation not permitted\n64\nready\n");
    let mut names = attachments();
    names.sort();
    assert!(names[0].starts_with("hostname@") && names[1].starts_with("web@"), "{names:?}");
    assert_eq!(names.len(), 2, "{names:?}");
    let c1 = machine.parent.path().join("c1");
    let detach = ["detach", "hostname", "--cgroup", c1.to_str().ok_or("a path")?];
    let message = stderr(&expect(2, detach));
    assert!(message.contains("was attached by a hook on 1 cgroup, not by hand"), "{message}");
    assert!(message.contains("knobgate off hostname") && message.contains("--source hook"), "{message}");
    expect(0, detach.into_iter().chain(["--source", "hook"]));
    assert!(stdout(&expect(0, ["show", "hostname"])).contains("on no cgroup now"));
    Ok(())
}

fn off() -> Result<(), Failed> {
    mount_run()?;
    let other = "policy other\napply if engine == runc\ndefault write allow\ndeny write kernel.hostname\n";
    let mut machine = Machine::new(&[("web.knob", WEB), ("other.knob", other)])?;
    let script = format!("echo x >{TTL}; echo x >/proc/sys/kernel/hostname; echo ready; /busybox sleep 1000");
    let running = machine.start("running", &script)?;
    expect_printed(&running, "ready");
    let listed = stdout(&expect(0, ["list"]));
    assert!(listed.contains(" by a hook, loaded by "), "{listed}");
    // One of its policies is off: the container that runs loses it, and the next one does not get it.
    expect(0, ["off", "web"]);
    let next = machine.start("next", &script)?;
    expect_printed(&next, "ready");
    let listed = stdout(&expect(0, ["list"]));
    assert_eq!(listed.matches("other@").count(), 2, "{listed}");
    assert_eq!(listed.matches("web@").count(), 1, "waiting: {listed}");
    // All are off: it starts although a policy is wrong, but not if its runtime relies on one.
    expect(0, ["off"]);
    machine.write("wrong.knob", "policy wrong\nalow write kernel.panic\n");
    let unjudged = machine.start("unjudged", &script)?;
    expect_printed(&unjudged, "ready");
    machine.expect_no_links();
    machine.options = vec!["--require-default-deny".to_owned()];
    let error = error_of(machine.start("required", "echo started"));
    assert!(error.contains("these apply: none, because all policies are off"), "{error}");
    machine.options.clear();
    expect(0, ["on"]);
    let error = error_of(machine.start("wrong", "echo started"));
    assert!(error.contains("wrong.knob:2:1"), "{error}");
    fs::remove_file(machine.policies().join("wrong.knob"))?;
    let judged = machine.start("judged", &script)?;
    expect_printed(&judged, "ready");
    assert_eq!(judged.printed().matches("write error").count(), 2, "{}", judged.printed());
    // Others may have put something off, so what is off is not known: only containers without policies start.
    fs::set_permissions("/run/knobgate/off", std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let error = error_of(machine.start("unknown", "echo started"));
    assert!(error.contains("cannot find out which policies are off: /run/knobgate/off says"), "{error}");
    machine.write("web.knob", &WEB.replace("engine == runc", "namespace == \"prod\""));
    machine.write("other.knob", &other.replace("engine == runc", "namespace == \"prod\""));
    expect_printed(&machine.start("without", &script)?, "ready");
    Ok(())
}

fn late() -> Result<(), Failed> {
    let machine = Machine::new(&[("web.knob", WEB)])?;
    let alone = machine.start("alone", "echo ready; /busybox sleep 1000")?;
    expect_printed(&alone, "ready");
    let shared = machine.parent.create("shared")?;
    let mut other = Command::new("sleep");
    other.arg("1000");
    start_inside(&mut other, &shared)?;
    let _other = Reaped(other.spawn()?);
    let container = machine.start("shared", "echo ready; /busybox sleep 1000")?;
    expect_printed(&container, "ready");
    let shown: Value = serde_json::from_str(&stdout(&expect(0, ["show", "web", "--json"])))?;
    let cgroups = shown["cgroups"].as_array().ok_or("cgroups")?;
    let late = |name: &str| {
        let ends = |cgroup: &&Value| cgroup["cgroup"].as_str().is_some_and(|path| path.ends_with(name));
        cgroups.iter().find(ends).map(|cgroup| (cgroup["source"].clone(), cgroup["late"].clone()))
    };
    assert_eq!(late("/alone"), Some(("hook".into(), false.into())), "{shown}");
    assert_eq!(late("/shared"), Some(("hook".into(), true.into())), "{shown}");
    Ok(())
}

fn no_policy() -> Result<(), Failed> {
    let machine = Machine::new(&[])?;
    let unmounted = Command::new("umount").args(["-a", "-t", "bpf"]).status()?;
    assert!(unmounted.success());
    let started = |name: &str| {
        let container = machine.start(name, "echo ready")?;
        expect_printed(&container, "ready");
        Ok::<_, io::Error>(())
    };
    started("none")?;
    machine.write("web.knob", &WEB.replace("runc", "docker"));
    started("absent")?;
    fs::remove_dir_all(machine.policies())?;
    let error = error_of(machine.start("nowhere", "echo started"));
    assert!(
        error.contains(&format!("cannot read {}: No such file", machine.policies().display())),
        "{error}"
    );
    Ok(())
}

fn edited() -> Result<(), Failed> {
    let machine = Machine::new(&[("web.knob", WEB)])?;
    let script = |wait: &str| {
        format!(
            "{wait} echo 1 >/proc/sys/net/ipv4/ip_forward; echo 200 >{TTL}; /busybox cat {TTL}; echo ready; /busybox sleep 1000"
        )
    };
    let old = machine.start("old", &script(""))?;
    expect_printed(&old, "64\nready");
    let first = attachments();
    machine.write("web.knob", &WEB.replace("10..64", "10..32"));
    let watching = Watching::start(&["--json", "web"])?;
    let new = machine.start("new", &script(""))?;
    expect_printed(&new, "32\nready");
    // Who watches the policy sees its new version, too.
    let (items, messages) = watching.end(Signal::INT)?;
    let mut ids = items.iter().filter_map(|item| item.context.workload.as_ref()?.container_id.clone());
    assert!(ids.any(|container| container == id("new")), "{items:?}: {messages}");
    // Each keeps its own. None of them is on another cgroup.
    let elsewhere = machine.parent.path().to_str().ok_or("a path")?;
    let message = stderr(&expect(2, ["detach", "web", "--cgroup", elsewhere]));
    assert!(message.contains("\"web\" is not on ") && message.contains("/old"), "{message}");
    assert_eq!(attachments().len(), 2, "{:?}", attachments());
    let shown = stdout(&expect(0, ["show", "web", "--json"]));
    let shown: Vec<Value> = shown.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let on = |index: usize| shown[index]["cgroups"][0]["cgroup"].as_str().unwrap_or_default().to_owned();
    assert!(on(0).ends_with("/new") && on(1).ends_with("/old"), "the newest comes first: {shown:?}");

    // An older version that nobody needs goes with its last container, and what it remembers stays.
    drop(old);
    assert_eq!(attachments().len(), 1);
    assert!(!attachments().contains(&first[0]));
    let log = stdout(&expect(0, ["log", "web"]));
    assert_eq!(log.matches("net.ipv4.ip_forward").count(), 2, "of both containers: {log}");
    let events = stdout(&expect(0, ["log", "web", "--recent", "--json"]));
    for name in ["old", "new"] {
        assert!(events.contains(&id(name)), "{name}: {events}");
    }
    drop(new);
    // One that is edited back is another program.
    machine.write("web.knob", WEB);
    let again = machine.start("again", &script(""))?;
    expect_printed(&again, "64\nready");
    assert_eq!(attachments(), first);
    let log = stdout(&expect(0, ["log", "web"]));
    assert_eq!(log.matches("net.ipv4.ip_forward").count(), 3, "{log}");
    Ok(())
}

/// The names of its versions have only a part of it.
fn long_name() -> Result<(), Failed> {
    let name = "x".repeat(63);
    let machine = Machine::new(&[("long.knob", &WEB.replace("policy web", &format!("policy {name}")))])?;
    let container = machine.start("c1", &format!("echo x >{TTL}; echo ready; /busybox sleep 1000"))?;
    expect_printed(&container, "ready");
    let shown = stdout(&expect(0, ["show", &name]));
    assert!(shown.contains(&format!("policy {name}")), "{shown}");
    eventually("it is denied", || stdout(&expect(0, ["log", &name])).contains("ip_default_ttl"));
    expect(0, ["detach", &name, "--source", "hook"]);
    assert_eq!(attachments(), [""; 0]);
    Ok(())
}

fn killed() -> Result<(), Failed> {
    let times = number("KNOBGATE_KILLED_HOOKS", 50)?;
    let machine =
        Machine::new(&[("web.knob", WEB), ("other.knob", "policy other\napply if engine == runc\n")])?;
    let hook = machine.hook();
    // How long it takes when nobody kills it, so that the moments are spread over that.
    let inside = machine.parent.create("timed")?;
    let mut sleeper = Command::new("sleep");
    sleeper.arg("1000");
    start_inside(&mut sleeper, &inside)?;
    let sleeper = Reaped(sleeper.spawn()?);
    let bundle = machine.files.path().join("b");
    Bundle::new(&machine.cgroup("timed"), "").write(&bundle)?;
    let state = |status: &str| state_of("timed", status, sleeper.0.id(), &bundle);
    let started = std::time::Instant::now();
    let output = machine.run_hook(&state("creating"))?;
    assert!(output.status.success(), "{output:?}");
    let took = started.elapsed();
    for time in 0..times {
        // An edited policy is compiled, an old one is opened.
        if time % 2 == 0 {
            machine.write("web.knob", &format!("{WEB}# {time}\n"));
        }
        let mut child =
            Command::new(&hook[0]).args(&hook[1..]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let _ = child.stdin.take().ok_or("standard input")?.write_all(state("creating").as_bytes());
        // Twice as long as usual: this machine may be busy.
        std::thread::sleep(took * (time as u32 * 37 % 100) / 50);
        child.kill()?;
        child.wait()?;
        // Nothing is half: each attachment has its program, and every command understands it.
        for name in attachments().iter().filter(|name| !name.starts_with('+')) {
            let directory = Path::new("/sys/fs/bpf/knobgate").join(name);
            assert!(directory.join("program").exists(), "{name} after {time} times");
            expect(0, ["show", name]);
            expect(0, ["log", name]);
        }
        expect(0, ["list"]);
        let output = machine.run_hook(&state("stopped"))?;
        assert!(output.status.success(), "{output:?}");
    }
    drop(sleeper);
    inside.kill_and_remove()?;
    let container = machine.start("c1", &format!("echo 200 >{TTL}; echo ready"))?;
    expect_printed(&container, "sh: write error: Operation not permitted\nready\n");
    drop(container);
    machine.expect_no_links();
    let mut left = attachments();
    left.sort();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].starts_with("other@") && left[1].starts_with("web@"), "{left:?}");
    Ok(())
}

fn side_by_side() -> Result<(), Failed> {
    const AT_ONCE: u64 = 20;
    let containers = number("KNOBGATE_CONTAINERS", 200)?;
    let machine = Machine::new(&[("web.knob", WEB)])?;
    let bundle = |name: &str| -> io::Result<Container> {
        let (cgroup, hook) = (machine.cgroup(name), machine.hook());
        let hook: Vec<&str> = hook.iter().map(String::as_str).collect();
        let bundle = Bundle { hook: &hook, ..Bundle::new(&cgroup, "true") };
        Container::create(&id(name), &bundle, &machine.files.path().join(name), &machine.state())
    };
    let mut created: Vec<Container> = Vec::new();
    while (created.len() as u64) < containers {
        let batch = std::thread::scope(|threads| {
            let first = created.len() as u64;
            let create = |number: u64| {
                let bundle = &bundle;
                threads.spawn(move || bundle(&format!("c{number}")))
            };
            let threads: Vec<_> = (first..containers.min(first + AT_ONCE)).map(create).collect();
            threads.into_iter().map(|thread| thread.join().expect("a thread")).collect::<io::Result<Vec<_>>>()
        })?;
        created.extend(batch);
    }
    assert_eq!(attachments().len(), 1, "{:?}", attachments());
    let shown: Value = serde_json::from_slice(&expect(0, ["show", "web", "--json"]).stdout)?;
    let on: Vec<&str> = shown["cgroups"]
        .as_array()
        .ok_or("cgroups")?
        .iter()
        .filter_map(|one| one["cgroup"].as_str())
        .collect();
    assert_eq!(on.len() as u64, containers);
    for number in 0..containers {
        let cgroup = machine.parent.path().join(format!("c{number}")).display().to_string();
        assert!(on.contains(&&*cgroup), "{cgroup}");
    }
    std::thread::scope(|threads| {
        let mut rest = created.into_iter().peekable();
        while rest.peek().is_some() {
            let batch: Vec<_> = rest.by_ref().take(20).collect();
            let running: Vec<_> = batch.into_iter().map(|one| threads.spawn(move || drop(one))).collect();
            running.into_iter().for_each(|thread| thread.join().expect("a thread"));
        }
    });
    machine.expect_no_links();
    Ok(())
}

fn restarted() -> Result<(), Failed> {
    let machine = Machine::new(&[("web.knob", WEB)])?;
    let script = format!("echo 200 >{TTL}; /busybox cat {TTL}");
    expect_printed(&machine.start("c1", &script)?, "64\n");
    let unmounted = Command::new("umount").arg("/sys/fs/bpf").status()?;
    assert!(unmounted.success());
    mount_bpffs()?;
    assert_eq!(attachments(), [""; 0]);
    expect_printed(&machine.start("c2", &script)?, "64\n");
    assert_eq!(attachments().len(), 1);
    Ok(())
}

/// The commands in docs/oci-hook.md, and what they print. Numbers and hashes may differ. `SNAPSHOTS=overwrite` writes them.
fn documented() -> Result<(), Failed> {
    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/oci-hook.md");
    let machine = Machine::new(&[])?;
    let directory = machine.files.path().to_owned();
    Bundle::new(Path::new("/"), "").write(&directory)?;
    let hook = serde_json::to_string(&machine.hook()[1..])?;
    // What the page calls these.
    let here = directory.display().to_string();
    let cgroup = machine.cgroup("").display().to_string();
    let real = |text: &str| {
        text.replace("[\"knobgate\", \"oci-hook\"]", &hook.replacen('[', "[\"knobgate\",", 1))
            .replace("\"/usr/bin/knobgate\"", &format!("\"{KNOBGATE}\""))
            .replace("/demo/", &cgroup)
    };
    let shown = |text: &str| text.replace(&here, "/etc/knobgate").replace(&cgroup, "/demo/");
    let path = std::env::join_paths(
        std::iter::once(Path::new(KNOBGATE).parent().ok_or("a directory")?.to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )?;
    let run = |script: &str| -> Result<String, Failed> {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec 2>&1; {script}")]).current_dir(&directory).env("PATH", &path);
        Ok(String::from_utf8(command.output()?.stdout)?)
    };
    let page = fs::read_to_string(PAGE)?;
    let mut actual = String::new();
    for (index, block) in page.split("```").enumerate() {
        let (info, content) = block.split_once('\n').unwrap_or((block, ""));
        actual += if index == 0 { "" } else { "```" };
        if index % 2 == 0 {
            actual += block;
        } else if info == "console" {
            actual += "console\n";
            for command in content.lines().filter_map(|line| line.strip_prefix("$ ")) {
                actual += &format!("$ {command}\n{}", shown(&run(command)?));
            }
        } else {
            if info == "sh" {
                assert_eq!(run(content)?, "");
            } else if let Some((_, name)) = info.split_once(",file=") {
                fs::write(directory.join(name), real(content))?;
            }
            actual += block;
        }
    }
    if std::env::var_os("SNAPSHOTS").is_some_and(|action| action == "overwrite") {
        fs::write(PAGE, &actual)?;
    } else {
        assert_eq!(without_numbers(&actual), without_numbers(&page));
    }
    Ok(())
}

/// The same text without what differs from run to run: digits, the hashes of attachments, and how wide columns are.
fn without_numbers(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in text.split([' ', '\n']).filter(|word| !word.is_empty()) {
        let word: String = word.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
        let hash = word.split_once('@').map(|(name, rest)| {
            let rest = rest.trim_start_matches(|char: char| char.is_ascii_hexdigit());
            format!("{name}@{rest}")
        });
        let mut word = hash.unwrap_or(word);
        while word.contains("00") {
            word = word.replace("00", "0");
        }
        words.push(word);
    }
    words.join(" ")
}
