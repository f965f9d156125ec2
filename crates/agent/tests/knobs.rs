//! Watching knobs on the running kernel, with a cgroup of the test's own instead of the root.

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use knobgate::KeptKnob;
use knobgate::kernel::{Cgroup, probe_cached};
use knobgate_agent::{KnobFinding, KnobWatch};
use knobgate_testing::{PRIVATE_KNOBS, Profile, Suite, Test, run_in, scratch};
use libtest_mimic::Failed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const TESTS: &[Test] = &[
    ("a_write_of_a_kept_knob_is_said_with_its_writer", changed),
    ("a_kept_knob_is_written_back_and_somebody_else_may_do_that", repaired),
    ("writes_of_other_knobs_are_no_events", others),
    ("a_change_that_no_event_reports_is_found_by_the_check", checked),
];

fn main() -> ExitCode {
    match knobgate_testing::in_private_mount_namespace() {
        Some(ended) => ended,
        None => Suite::default().requiring(no_events, TESTS).isolated(PRIVATE_KNOBS).in_module("knobs").run(),
    }
}

fn no_events(_: &Profile) -> Option<String> {
    let lacks = probe_cached().event_features().is_none();
    lacks.then(|| "programs cannot send events".to_owned())
}

const TTL: &str = "net.ipv4.ip_default_ttl";
const TTL_FILE: &str = "/proc/sys/net/ipv4/ip_default_ttl";

fn watch(cgroup: &Cgroup, repair: bool) -> Result<KnobWatch, Failed> {
    let knob = KeptKnob::new(TTL.parse()?, "64", repair);
    let (watch, failed) = KnobWatch::new([knob], Cgroup::open(cgroup.path())?);
    match failed {
        None => Ok(watch),
        Some(error) => Err(format!("{error:?}").into()),
    }
}

/// Waits for what happens, as the agent does: until there are so many findings.
fn findings(watch: &mut KnobWatch, count: usize) -> Result<Vec<KnobFinding>, Failed> {
    let mut findings = Vec::new();
    let until = Instant::now() + Duration::from_secs(10);
    while findings.len() < count {
        assert!(Instant::now() < until, "{findings:?}");
        let pause =
            watch.next().map_or(Duration::from_secs(1), |at| at.saturating_duration_since(Instant::now()));
        let pause = Timespec::try_from(pause).map_err(|_| "a long pause")?;
        let fd = watch.fd().ok_or("writes are not seen")?;
        poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&pause))?;
        watch.attend(Instant::now(), &mut |_, finding| findings.push(finding));
    }
    Ok(findings)
}

fn changed() -> Result<(), Failed> {
    let cgroup = scratch();
    let mut watch = watch(&cgroup, false)?;
    let script = format!("echo 0x63 >{TTL_FILE}");
    let shell = run_in(&cgroup, &script)?;
    let found = findings(&mut watch, 1)?;
    let [KnobFinding::Changed { found, writer: Some(writer) }] = &found[..] else {
        return Err(format!("{found:?}").into());
    };
    assert_eq!((&**found, writer.uid, writer.cgroup_id), (&b"99"[..], Some(0), cgroup.id()));
    let knows_tasks = probe_cached().event_features().is_some_and(|features| features.current_pid_tgid);
    assert_eq!(writer.comm.as_deref(), knows_tasks.then_some(&b"sh"[..]));
    // That is the id in the initial pid namespace.
    if knows_tasks && fs::read_link("/proc/self/ns/pid")?.to_str() == Some("pid:[4026531836]") {
        assert_eq!(writer.pid, Some(shell));
    }
    assert_eq!(watch.differing().map(|knob| knob.name.to_string()).collect::<Vec<_>>(), [TTL]);
    // A value that the knob rejects changes nothing.
    run_in(&cgroup, &format!("echo 256 >{TTL_FILE}; echo 64 >{TTL_FILE}"))?;
    let found = findings(&mut watch, 1)?;
    assert!(matches!(&found[..], [KnobFinding::Restored { writer: Some(_) }]), "{found:?}");
    assert_eq!(watch.differing().count(), 0);
    Ok(())
}

fn repaired() -> Result<(), Failed> {
    let cgroup = scratch();
    let mut watch = watch(&cgroup, true)?;
    for _ in 0..3 {
        run_in(&cgroup, &format!("echo 99 >{TTL_FILE}"))?;
        let found = findings(&mut watch, 2)?;
        assert!(matches!(&found[..], [KnobFinding::Changed { .. }, KnobFinding::Repaired]), "{found:?}");
        assert_eq!(fs::read_to_string(TTL_FILE)?, "64\n");
    }
    run_in(&cgroup, &format!("echo 99 >{TTL_FILE}"))?;
    let found = findings(&mut watch, 2)?;
    assert!(
        matches!(&found[..], [KnobFinding::Changed { .. }, KnobFinding::GaveUp { repairs: 3 }]),
        "{found:?}"
    );
    assert_eq!(fs::read_to_string(TTL_FILE)?, "99\n");
    Ok(())
}

fn others() -> Result<(), Failed> {
    let cgroup = scratch();
    let mut watch = watch(&cgroup, false)?;
    run_in(
        &cgroup,
        "cd /proc/sys/net/ipv4; echo 1 >ip_forward; cat ip_default_ttl >/dev/null; echo x >/proc/sys/kernel/domainname",
    )?;
    let fd = watch.fd().ok_or("writes are not seen")?;
    let soon = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    assert_eq!(poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&soon))?, 0);
    assert_eq!(watch.next(), None);
    watch.check(Instant::now(), &mut |_, finding| panic!("{finding:?}"));
    Ok(())
}

fn checked() -> Result<(), Failed> {
    let cgroup = scratch();
    let mut watch = watch(&cgroup, false)?;
    // This process is not in the cgroup.
    fs::write(TTL_FILE, "99")?;
    let mut found = Vec::new();
    watch.check(Instant::now(), &mut |_, finding| found.push(finding));
    watch.check(Instant::now(), &mut |_, finding| found.push(finding));
    assert_eq!(found, [KnobFinding::Changed { found: b"99".to_vec(), writer: None }]);
    Ok(())
}
