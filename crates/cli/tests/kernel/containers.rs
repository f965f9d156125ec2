//! Containers: who they are.

use std::path::Path;

use knobgate_events::{EventOutcome, StreamItem};
use knobgate_hook::Profile;
use knobgate_kernel::Hierarchy;
use knobgate_testing::{Container, Test, eventually, profile, scratch, without_runc};
use libtest_mimic::Failed;
use rustix::process::Signal;

use crate::setting::{DetachOnDrop, attach, expect, policy, stdout};
use crate::watching::{Watching, sends_events};

pub(crate) const TESTS: &[Test] = &[
    ("without_a_policy_watch_says_which_container_writes", observed),
    ("a_denial_has_the_name_of_its_container_after_that_is_gone", denied),
];

/// What these tests require.
pub(crate) fn can_be_watched(profile: &Profile) -> Option<String> {
    without_runc(profile).or_else(|| sends_events(profile))
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
