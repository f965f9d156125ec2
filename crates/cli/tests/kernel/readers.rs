//! Many commands that read events at the same time, and one that reads those of the whole machine.

use std::process::Command;

use knobgate_events::{StreamContent, StreamItem};
use knobgate_hook::Profile;
use knobgate_kernel::ProcessId;
use knobgate_testing::{Suite, Test, scratch};
use libtest_mimic::Failed;
use rustix::process::Signal;

use crate::setting::{DetachOnDrop, attach, policy};
use crate::watching::{Watching, produced, run, sends_events};

/// Readers have lost events of any program on the same bpffs, so these tests mount one of their own.
pub(crate) fn with_their_own_bpffs() -> Suite {
    let tests: &[Test] = &[("readers_see_every_event_or_how_many_they_missed", all_see_everything)];
    Suite::default().requiring(sends_events, tests).isolated(&["--mount"])
}

/// These attach a program to the root of the hierarchy.
pub(crate) const ON_THE_ROOT: &[Test] = &[("who_changes_this_hosts_sysctls", observed_from_the_root)];

/// What the tests on the root require.
pub(crate) fn whole_machine(profile: &Profile) -> Option<String> {
    const WHOLE_MACHINE: &str = "KNOBGATE_WHOLE_MACHINE";
    let is_given = std::env::var_os(WHOLE_MACHINE).is_some();
    let needs = || {
        format!(
            "attaches a program to the root of the hierarchy: set {WHOLE_MACHINE}=1 on a machine for that"
        )
    };
    (!is_given).then(needs).or_else(|| sends_events(profile))
}

/// Events that were shown, suppressed and lost.
fn counted(items: &[StreamItem]) -> (u64, u64, u64) {
    items.iter().fold((0, 0, 0), |(shown, suppressed, lost), item| match &item.content {
        StreamContent::Event(_) => (shown + 1, suppressed, lost),
        StreamContent::Suppressed(more) => (shown, suppressed + more.count, lost),
        StreamContent::Lost(more) => (shown, suppressed, lost + more.count),
    })
}

fn all_see_everything() -> Result<(), Failed> {
    // More than fits into a reader's buffer.
    const WRITES: u32 = 40_000;
    const READERS: usize = 8;
    let mounted = Command::new("mount").args(["-t", "bpf", "bpf", "/sys/fs/bpf"]).status()?;
    assert!(mounted.success(), "{mounted}");
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-readers");
    attach(
        policy("policy t-readers\ndefault read allow\ndefault write deny log(all)\n").path(),
        &cgroup,
        "t-readers",
    );
    let start = || Watching::start(&["--json", "t-readers"]);
    let mut readers = (0..READERS).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
    let (mut killed, stopped) = (readers.pop().ok_or("one")?, readers.pop().ok_or("one")?);
    let stopped_id = ProcessId::of_child(&stopped.knobgate.0);
    stopped_id.send(Signal::STOP)?;

    let write = |times: u32| {
        run(
            &cgroup,
            &format!(
                "i=0; while [ $i -lt {times} ]; do i=$((i + 1)); echo $i; done >/proc/sys/net/ipv4/ip_forward"
            ),
        )
    };
    write(WRITES / 2)?;
    killed.knobgate.0.kill()?;
    killed.knobgate.0.wait()?;
    // Its place is free again.
    readers.push(start()?);
    let before = produced("t-readers")?;
    write(WRITES / 2)?;
    stopped_id.send(Signal::CONT)?;
    let produced = produced("t-readers")?;
    assert!(produced >= u64::from(WRITES), "{produced}");

    let newcomer = readers.len() - 1;
    for (index, reader) in readers.into_iter().enumerate() {
        let (items, summary) = reader.end(Signal::INT)?;
        let (shown, suppressed, lost) = counted(&items);
        let expected = if index == newcomer { produced - before } else { produced };
        assert_eq!((shown + lost, suppressed), (expected, 0), "reader {index}: {summary}");
        assert!(summary.contains(&format!("{shown} events shown, 0 suppressed, {lost} lost")), "{summary}");
    }
    let (items, summary) = stopped.end(Signal::INT)?;
    let (shown, suppressed, lost) = counted(&items);
    assert_eq!((shown + lost, suppressed), (produced, 0), "the stopped reader: {summary}");
    assert!(shown > 1000 && lost > 1000, "{summary}");
    Ok(())
}

fn observed_from_the_root() -> Result<(), Failed> {
    let cgroup = scratch();
    let [in_cgroup, outside] = [(), ()].map(|()| Watching::start(&["--all", "--json"]));
    run(&cgroup, "echo 71 >/proc/sys/net/ipv4/ip_default_ttl")?;
    // This process is in a cgroup outside of that one.
    std::fs::write("/proc/sys/net/ipv4/ip_default_ttl", "72\n")?;
    let writes = |value: &'static [u8]| {
        move |item: &StreamItem| {
            let event = item.event().map(|event| &event.event);
            event.is_some_and(|event| event.new.as_ref().is_some_and(|new| &*new.bytes == value))
        }
    };
    let item = in_cgroup?.until(writes(b"71\n"))?;
    assert_eq!(item.context.cgroup_path.as_deref(), Some(cgroup.path().as_os_str().as_encoded_bytes()));
    let item = outside?.until(writes(b"72\n"))?;
    assert_eq!(item.event().ok_or("an event")?.event.knob.bytes, b"net/ipv4/ip_default_ttl");
    Ok(())
}
