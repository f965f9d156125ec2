//! Containers: who they are.

use std::fs;
use std::path::Path;

use knobgate_events::{EventOutcome, StreamItem};
use knobgate_kernel::Hierarchy;
use knobgate_testing::{Container, Suite, Test, eventually, profile, scratch, without_runc};
use libtest_mimic::Failed;
use rustix::process::Signal;

use crate::setting::{DetachOnDrop, attach, expect, policy, stderr, stdout};
use crate::watching::{Watching, sends_events};

const TESTS: &[Test] = &[
    ("without_a_policy_watch_says_which_container_writes", observed),
    ("a_container_can_be_named_instead_of_its_cgroup", addressed),
    ("a_denial_has_the_name_of_its_container_after_that_is_gone", denied),
    ("explain_says_whether_a_policy_applies_to_the_container_of_a_process", explained),
];

/// These tests.
pub(crate) fn with_runc() -> Suite {
    Suite::default().requiring(sends_events, TESTS).with_engine(without_runc)
}

/// Where runc keeps its state unless it is told otherwise, which is where knobgate looks.
const STATE: &str = "/run/runc";

const SCRIPT: &str = "echo 70 >/proc/sys/net/ipv4/ip_default_ttl; sleep 1000";

fn observed() -> Result<(), Failed> {
    let (parent, files) = (scratch(), tempfile::tempdir()?);
    let hierarchy = Hierarchy::find()?;
    let path = parent.path().to_str().ok_or("a path")?;
    let name = hierarchy.name(parent.path()).ok_or("a name")?.join("web");
    let watching = Watching::start(&["--all", "--cgroup", path, "--json"])?;
    let _container = Container::start("t-web-1", &name, SCRIPT, files.path(), Path::new(STATE))?;
    let of_observer = |item: &StreamItem| item.event().is_some_and(|event| event.event.observer);
    let item = watching.until(of_observer)?;
    let event = item.event().ok_or("an event")?;
    let outcome = if profile().features().set_retval { EventOutcome::Allowed } else { EventOutcome::Unknown };
    assert_eq!((event.event.outcome(), event.event.observer), (outcome, true));
    assert_eq!(event.event.new.as_ref().map(|new| &*new.bytes), Some(&b"70\n"[..]));
    assert_eq!(event.event.knob.bytes, b"net/ipv4/ip_default_ttl");
    let workload = item.context.workload.as_ref().ok_or("a workload")?;
    assert_eq!(
        (workload.engine.as_deref(), workload.container_id.as_deref()),
        (Some("runc"), Some("t-web-1"))
    );
    Ok(())
}

fn explained() -> Result<(), Failed> {
    let (parent, files) = (scratch(), tempfile::tempdir()?);
    let cgroup = parent.path().join("web");
    let name = Hierarchy::find()?.name(&cgroup).ok_or("a name")?;
    let _container = Container::start("t-web-3", &name, "sleep 1000", files.path(), Path::new(STATE))?;
    let pids = fs::read_to_string(cgroup.join("cgroup.procs"))?;
    let pid = pids.lines().next().ok_or("a process")?;
    let of = |selector: &str, more: &[&str]| -> String {
        let policy = policy(&format!("policy t\napply if {selector}\n"));
        let file = policy.path().to_str().expect("a path");
        let printed = stdout(&expect(0, [&["explain", "--policy", file, "--pid", pid], more].concat()));
        printed
            .replace(file, "x.knob")
            .replace(&format!("process {pid}"), "process PID")
            .replace(&name.display().to_string(), "/CGROUP")
    };
    assert_eq!(
        of("container == \"t-web-3\" and engine == runc", &[]),
        "process PID in runc/t-web-3\n  applies   yes, by x.knob:2\n  engine    runc\n  cgroup    /CGROUP\n\
         x.knob:2, holds:\n    apply if container == \"t-web-3\" and engine == runc\n\
         \u{20}   `container == \"t-web-3\"`: it is \"t-web-3\"\n\
         \u{20}     `container` is not trusted: chosen by whoever starts it\n\
         \u{20}   `engine == runc`: it is \"runc\"\n\
         \u{20}     `engine` is not trusted: chosen by whoever makes the bundle\n"
    );
    let printed = of("container starts with \"t-web-3\" and namespace == \"prod\"", &[]);
    let names = [("PID", "4711"), ("t-web-3", "web"), ("x.knob", "web.knob"), ("/CGROUP", "/web")];
    let quoted = names.iter().fold(printed, |text, (from, to)| text.replace(from, to));
    assert!(
        include_str!("../../../../docs/language.md").contains(&quoted),
        "docs/language.md has not:\n{quoted}"
    );
    let nobody = expect(
        2,
        ["explain", "--policy", policy("policy t\n").path().to_str().ok_or("a path")?, "--pid", "4194305"],
    );
    assert_eq!(stderr(&nobody), "error: cannot use this cgroup: there is no process 4194305\n");
    let applying = policy("policy t\napply if container == \"t-web-3\"\n");
    let file = applying.path().to_str().ok_or("a path")?;
    let named = stdout(&expect(0, ["explain", "--policy", file, "--container", "t-web-3"]));
    assert!(named.starts_with("runc/t-web-3\n  applies   yes, by "), "{named}");
    let json: serde_json::Value = serde_json::from_str(&of("cgroup matches \"/x/*\"", &["--json"]))?;
    assert_eq!(
        (&json["applies"], &json["engine"], &json["cgroup"]),
        (&false.into(), &"runc".into(), &"/CGROUP".into())
    );
    let because = &json["selectors"][0]["because"][0];
    assert_eq!((&because["value"], &because["trust"]), (&"/CGROUP".into(), &"chosen".into()));
    Ok(())
}

fn denied() -> Result<(), Failed> {
    let (parent, files) = (scratch(), tempfile::tempdir()?);
    let _detached = DetachOnDrop("t-container");
    attach(policy("policy t-container\n").path(), &parent, "t-container");
    let name = Hierarchy::find()?.name(parent.path()).ok_or("a name")?.join("web");
    let watching = Watching::start(&["--json", "t-container"])?;
    let container = Container::start("t-web-2", &name, SCRIPT, files.path(), Path::new(STATE))?;
    eventually("it is denied", || stdout(&expect(0, ["log", "t-container"])).contains("ip_default_ttl"));
    drop(container);
    let (items, messages) = watching.end(Signal::INT)?;
    let of_container = items.iter().filter_map(|item| item.context.workload.as_ref());
    let names: Vec<_> = of_container.map(|workload| workload.container_id.as_deref()).collect();
    assert!(names.contains(&Some("t-web-2")), "{items:?}: {messages}");
    Ok(())
}

fn addressed() -> Result<(), Failed> {
    let (parent, files) = (scratch(), tempfile::tempdir()?);
    let _detached = DetachOnDrop("t-addressed");
    let name = Hierarchy::find()?.name(parent.path()).ok_or("a name")?.join("web");
    let script = "sleep 1000 & while :; do echo 70 >/proc/sys/net/ipv4/ip_default_ttl; sleep 1; done";
    let _container = Container::start("t-named-1", &name, script, files.path(), Path::new(STATE))?;
    let web = parent.path().join("web");
    let place = web.to_str().ok_or("a path")?;
    let file = policy("policy t-addressed\n");
    let path = file.path().to_str().ok_or("a path")?;

    let typo = stderr(&expect(2, ["attach", "--policy", path, "--container", "t-naemd-1"]));
    assert_eq!(typo, "error: cannot find the container \"t-naemd-1\": did you mean t-named-1?\n");
    let attached = stdout(&expect(0, ["attach", "--policy", path, "--container", "t-named-1"]));
    assert!(attached.contains(&format!("to {place};")), "{attached}");
    let listed = stdout(&expect(0, ["list", "--container", "runc/t-named-1"]));
    assert!(listed.starts_with(&format!("{place}\n")) && listed.contains("t-addressed"), "{listed}");
    assert_eq!(listed.lines().filter(|line| line.starts_with('/')).count(), 1, "{listed}");
    let nothing = parent.create("other")?;
    let elsewhere = expect(0, ["list".as_ref(), "--cgroup".as_ref(), nothing.path().as_os_str()]);
    assert!(!stdout(&elsewhere).contains("t-addressed"), "{elsewhere:?}");
    nothing.remove()?;
    let examined = expect(0, ["doctor", "--container", "t-named-1"]);
    let pid = stderr(&examined).strip_prefix("note: examining process ").map(|pid| pid.trim().to_owned());
    let command = std::fs::read(format!("/proc/{}/cmdline", pid.ok_or("a process")?))?;
    assert!(command.starts_with(b"/busybox\0sh\0"), "{}", command.escape_ascii());

    eventually("it writes", || {
        let log = stdout(&expect(0, ["log", "t-addressed", "--container", "t-named-1"]));
        let events =
            stdout(&expect(0, ["log", "t-addressed", "--container", "t-named-1", "--recent", "--json"]));
        if !log.contains("ip_default_ttl") {
            return false;
        }
        assert!(log.contains("\n  runc/t-named-1: "), "{log}");
        assert!(
            events.lines().count() > 0 && events.lines().all(|line| line.contains("t-named-1")),
            "{events}"
        );
        true
    });
    let others = expect(0, ["log", "t-addressed", "--container", "another-one"]);
    assert_eq!(stderr(&others), "t-addressed has had no events of what was named, but of others\n");
    let detached = stdout(&expect(0, ["detach", "t-addressed", "--container", "t-named-1"]));
    assert_eq!(detached, format!("t-addressed: detached from {place}\n"));
    Ok(())
}
