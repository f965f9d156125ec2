//! Events, live and from the memory of a policy.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use knobgate_events::json::StreamReader;
use knobgate_events::{EventOutcome, StreamContent, StreamItem};
use knobgate_hook::Profile;
use knobgate_kernel::{Cgroup, ProcessId, probe_cached};
use knobgate_policy::Source;
use knobgate_policy::filter::Filter;
use knobgate_testing::{Reaped, Test, eventually, scratch, shell};
use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::Value;

use crate::setting::{DetachOnDrop, KNOBGATE, attach, expect, policy, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("every_event_is_shown_suppressed_or_lost", accounted),
    ("every_event_is_shown_suppressed_lost_or_hidden_by_the_filter", filtered),
    ("a_container_cannot_leave_its_name_by_making_cgroups", renamed),
    ("only_the_events_of_the_named_attachments_are_shown", named),
    ("an_attachment_that_is_made_meanwhile_is_named", meanwhile),
    ("watch_ends_when_nobody_reads_its_output", unread),
    ("an_attachment_that_does_not_exist_is_not_watched", unknown),
    ("a_denial_of_last_night_is_explained_after_its_cgroup_is_gone", last_night),
    ("a_path_that_is_too_long_for_the_memory_is_unknown", long_path),
    ("the_memory_counts_what_it_does_not_show", counted),
];

/// These need more of the kernel: the thread, and what programs before have decided.
pub(crate) const OBSERVED: &[Test] = &[
    ("every_write_is_shown_once_beside_an_observer_above_the_policy", observed_from_above),
    ("what_a_policy_above_decides_is_not_guessed_by_an_observer", observed_from_below),
];

/// What the tests with an observer require.
pub(crate) fn tells_outcomes(profile: &Profile) -> Option<String> {
    let lacks = !knows_tasks() || !profile.features().set_retval;
    lacks.then(|| format!("programs on {profile} do not know the thread, or what others have decided"))
}

/// What these tests require.
pub(crate) fn sends_events(profile: &Profile) -> Option<String> {
    let lacks = probe_cached().event_features().is_none();
    lacks.then(|| format!("programs on {profile} can send no events"))
}

/// Whether events have the name and the id of their process on this kernel.
pub(crate) fn knows_tasks() -> bool {
    probe_cached().event_features().is_some_and(|features| features.current_pid_tgid)
}

/// `knobgate watch`, which has started to read events.
pub(crate) struct Watching {
    pub(crate) knobgate: Reaped,
    messages: BufReader<std::process::ChildStderr>,
}

impl Watching {
    /// Starts it. Other tests may have all places for readers, and those of agents that they kill stay taken until the programs go.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self, Failed> {
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            if let Some(started) = Self::try_start(arguments)? {
                return Ok(started);
            }
            assert!(Instant::now() < deadline, "there is no place for a reader");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn try_start(arguments: &[&str]) -> Result<Option<Self>, Failed> {
        let mut command = Command::new(KNOBGATE);
        command.arg("watch").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child: Child = command.spawn()?;
        let mut messages = BufReader::new(child.stderr.take().ok_or("standard error")?);
        let knobgate = Reaped(child);
        let mut line = String::new();
        messages.read_line(&mut line)?;
        let has_no_place = |line: &str| {
            line.contains("there are no more places")
                || line.contains("all places for their readers are taken")
        };
        if has_no_place(&line) {
            return Ok(None);
        }
        if line.starts_with("note: an observer is on ") {
            line.clear();
            messages.read_line(&mut line)?;
        }
        if has_no_place(&line) {
            return Ok(None);
        }
        assert!(line.starts_with("note: showing the events of "), "{line}");
        Ok(Some(Self { knobgate, messages }))
    }

    /// The first item for which this holds. Others may be the events of other tests.
    pub(crate) fn until(
        mut self,
        mut holds: impl FnMut(&StreamItem) -> bool + Send + 'static,
    ) -> Result<StreamItem, Failed> {
        let stdout = self.knobgate.0.stdout.take().ok_or("standard output")?;
        let reading = std::thread::spawn(move || {
            let mut items = StreamReader::new(BufReader::new(stdout)).filter_map(Result::ok);
            items.find(|item| holds(item))
        });
        eventually("there is such an item", || reading.is_finished());
        Ok(reading.join().ok().flatten().ok_or("it has ended without such an item")?)
    }

    /// Ends it with a signal. Returns what it printed, and its summary.
    pub(crate) fn end(mut self, signal: Signal) -> Result<(Vec<StreamItem>, String), Failed> {
        ProcessId::of_child(&self.knobgate.0).send(signal)?;
        let (mut output, mut summary) = (String::new(), String::new());
        self.knobgate.0.stdout.take().ok_or("standard output")?.read_to_string(&mut output)?;
        self.messages.read_to_string(&mut summary)?;
        let status = self.knobgate.0.wait()?;
        assert!(status.success(), "{status}: {summary}");
        let items = StreamReader::new(output.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        Ok((items, summary))
    }
}

/// Runs a script in a cgroup. The writes of it may fail.
pub(crate) fn run(cgroup: &Cgroup, script: &str) -> Result<(), Failed> {
    let output = shell(cgroup, script).stderr(Stdio::null()).output()?;
    output.status.code().ok_or_else(|| format!("{output:?}"))?;
    Ok(())
}

/// How many accesses an attachment has had, other than reads, which send no events.
pub(crate) fn produced(name: &str) -> Result<u64, Failed> {
    let shown: Value = serde_json::from_slice(&expect(0, ["show", "--json", name]).stdout)?;
    let rules = shown["rules"].as_array().ok_or("rules")?;
    let logged =
        rules.iter().filter(|rule| !rule["rule"].as_str().is_some_and(|text| text.contains("default read")));
    let accesses = |rule: &Value| {
        let counters = ["decided", "eval_errors"].map(|counter| rule[counter].as_u64().unwrap_or_default());
        counters.iter().sum::<u64>()
    };
    Ok(logged.map(accesses).sum())
}

const POLICY: &str = "policy t-watch
allow write net.ipv4.ip_default_ttl if new < 100 log(all)
deny(EACCES) write net.ipv4.ip_forward, net.ipv4.ip_default_ttl
clamp write net.core.somaxconn to 128..65535
";

fn accounted() -> Result<(), Failed> {
    let (cgroup, other) = (scratch(), scratch());
    let _detached = DetachOnDrop("t-accounted");
    let file = policy(POLICY);
    attach(file.path(), &cgroup, "t-accounted");
    let path = other.path().to_str().ok_or("a path")?;
    let file = file.path().to_str().ok_or("a path")?;
    let both = ["attach", "--policy", file, "--name", "t-accounted", "--cgroup", path, "--cgroup"];
    expect(0, both.iter().copied().chain([cgroup.path().to_str().ok_or("a path")?]));

    let watching = Watching::start(&["--json", "t-accounted"])?;
    let burst = "cd /proc/sys/net; i=0; while [ $i -lt 60 ]; do i=$((i + 1))
        echo 1 >ipv4/ip_forward; echo $i >ipv4/ip_default_ttl; echo many >core/somaxconn; done";
    run(&cgroup, &format!("{burst}; sleep 1.2; {burst}"))?;
    run(&other, burst)?;
    let (items, summary) = watching.end(Signal::INT)?;

    let (mut events, mut suppressed, mut lost) = (0, 0, 0);
    for (index, item) in items.iter().enumerate() {
        assert_eq!(item.sequence, index as u64 + 1);
        assert!(item.time.is_some() && item.boot_id.is_some());
        match &item.content {
            StreamContent::Event(event) => {
                events += 1;
                assert_eq!(event.eval_error.is_some(), event.event.rule.eval_error, "{event:?}");
            }
            StreamContent::Suppressed(more) => {
                suppressed += more.count;
                assert!(more.count > 0 && more.rule.is_some() && more.policy.as_deref() == Some("t-watch"));
            }
            StreamContent::Lost(more) => lost += more.count,
        }
        if !matches!(item.content, StreamContent::Lost(_)) {
            assert_eq!(item.context.attachment.as_deref(), Some("t-accounted"));
            let path = item.context.cgroup_path.as_deref().ok_or("a path")?;
            let paths = [&cgroup, &other].map(|cgroup| cgroup.path().as_os_str().as_encoded_bytes());
            assert!(paths.contains(&path), "{item:?}");
        }
    }
    assert_eq!(events + suppressed + lost, produced("t-accounted")?, "{summary}");
    assert!(events >= 3 * 60 && suppressed > 200, "{summary}");
    assert!(
        summary.ends_with(&format!("{events} events shown, {suppressed} suppressed, {lost} lost\n")),
        "{summary}"
    );
    let denied = |item: &&StreamItem| {
        let outcome = item.event().map(|event| event.event.outcome());
        matches!(outcome, Some(EventOutcome::Denied(_)))
    };
    assert!(items.iter().filter(denied).count() > 20, "{summary}");
    Ok(())
}

/// The numbers of a summary: how many events were shown, suppressed, lost and hidden.
fn numbers(summary: &str) -> Vec<u64> {
    let last = summary.lines().last().unwrap_or_default();
    last.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// Writes of which most are suppressed: 180 in all, and 120 of them are denied.
const BURST: &str = "cd /proc/sys/net; i=0; while [ $i -lt 60 ]; do i=$((i + 1))
    echo 1 >ipv4/ip_forward; echo $i >ipv4/ip_default_ttl; echo many >core/somaxconn; done";

fn filtered() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-filtered");
    attach(policy(POLICY).path(), &cgroup, "t-filtered");
    let watch = |filter| Watching::start(&["--json", "t-filtered", "--filter", filter]);
    let filters =
        ["verdict == allow", "type == event and verdict == deny", "outcome == denied", "rule contains \"t\""];
    let watching = filters.map(watch);
    run(&cgroup, BURST)?;
    let produced = produced("t-filtered")?;
    assert_eq!(produced, 180);
    for (watching, filter) in watching.into_iter().zip(filters) {
        let (items, summary) = watching?.end(Signal::INT)?;
        let events = items.iter().filter(|item| item.event().is_some()).count() as u64;
        let suppressed = items.iter().map(|item| match &item.content {
            StreamContent::Suppressed(more) => more.count,
            _ => 0,
        });
        let suppressed = suppressed.sum::<u64>();
        let [events_said, suppressed_said, lost, hidden] = numbers(&summary)[..] else {
            return Err(format!("{filter}: {summary}").into());
        };
        assert_eq!((events, suppressed), (events_said, suppressed_said), "{filter}: {summary}");
        assert_eq!(events + suppressed + lost + hidden, produced, "{filter}: {summary}");
        assert!(events > 0, "{filter}: {summary}");
        assert_eq!(suppressed > 0, !filter.contains("type"), "{filter}: {summary}");
        assert_eq!(hidden > 0, !filter.starts_with("rule"), "{filter}: {summary}");
    }
    Ok(())
}

/// Watches a cgroup and those below it with an observer, while `during` runs. Returns what was shown of the cgroups, and how many
/// events of them were suppressed and lost.
fn observe(
    observed: &Cgroup,
    during: impl FnOnce() -> Result<(), Failed>,
) -> Result<(Vec<StreamItem>, u64, u64), Failed> {
    let path = observed.path().to_str().ok_or("a path")?;
    // Other tests have attachments, too.
    let filter = format!("type == lost or cgroup starts with \"{path}\"");
    let watching = Watching::start(&["--json", "--all", "--cgroup", path, "--filter", &filter])?;
    during()?;
    let (items, summary) = watching.end(Signal::INT)?;
    let [events, suppressed, lost, _hidden] = numbers(&summary)[..] else { return Err(summary.into()) };
    let items: Vec<_> = items.into_iter().filter(|item| item.event().is_some()).collect();
    assert_eq!(items.len() as u64, events, "{summary}");
    Ok((items, suppressed, lost))
}

fn observed_from_above() -> Result<(), Failed> {
    let cgroup = scratch();
    let below = cgroup.create("below")?;
    let _detached = DetachOnDrop("t-observed");
    attach(policy(POLICY).path(), &below, "t-observed");
    let (items, suppressed, lost) = observe(&cgroup, || run(&below, BURST))?;
    // The observer has those that the policy suppressed.
    assert_eq!(items.len() as u64 + suppressed + lost, produced("t-observed")?, "{suppressed} {lost}");
    assert_eq!(suppressed, 0);
    let events = || items.iter().filter_map(StreamItem::event).map(|event| &event.event);
    let reported = events().filter(|event| !event.observer).count();
    assert!((80..180).contains(&reported), "{reported}");
    let denied = events().filter(|event| matches!(event.outcome(), EventOutcome::Denied(_))).count();
    if items.len() == 180 {
        assert_eq!(denied, 120);
    }
    Ok(())
}

fn observed_from_below() -> Result<(), Failed> {
    let cgroup = scratch();
    let below = cgroup.create("below")?;
    let _detached = DetachOnDrop("t-above");
    let text = "policy t-above
deny write net.ipv4.ip_forward log(all)
deny write net.core.somaxconn nolog
clamp write net.ipv4.ip_default_ttl to 1..30
";
    attach(policy(text).path(), &cgroup, "t-above");
    let (items, suppressed, lost) = observe(&below, || run(&below, BURST))?;
    assert_eq!(items.len() as u64 + suppressed + lost, 180, "{suppressed} {lost}");
    for event in items.iter().filter_map(StreamItem::event).map(|event| &event.event) {
        let outcome = event.outcome();
        match &*event.knob.bytes {
            // The policy reports all of these.
            b"net/ipv4/ip_forward" => assert!(matches!(outcome, EventOutcome::Denied(_)), "{event:?}"),
            // And none of these.
            b"net/core/somaxconn" => assert_eq!(outcome, EventOutcome::Unknown, "{event:?}"),
            _ if event.observer => assert_eq!(outcome, EventOutcome::Unknown, "{event:?}"),
            _ => assert_eq!(outcome, EventOutcome::Rewritten, "{event:?}"),
        }
    }
    Ok(())
}

fn renamed() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-renamed");
    attach(policy(POLICY).path(), &cgroup, "t-renamed");
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let container = cgroup.create(format!("docker-{a}.scope"))?;
    let filter = format!("type == event and container == \"{a}\"");
    let watching = Watching::start(&["--json", "t-renamed", "--filter", &filter])?;
    run(&container, "echo 1 >/proc/sys/net/ipv4/ip_forward")?;
    for name in [&*format!("docker-{b}.scope"), "nginx.service", "lxc.payload.web", "nested"] {
        run(&container.create(name)?, "echo 1 >/proc/sys/net/ipv4/ip_forward")?;
    }
    let (items, summary) = watching.end(Signal::INT)?;
    assert_eq!(items.len(), 5, "{summary}");

    let printed = stdout(&expect(0, ["log", "t-renamed"]));
    for label in [
        "docker/aaaaaaaaaaaa",
        "docker/bbbbbbbbbbbb in docker/aaaaaaaaaaaa",
        "unit nginx.service in docker/aaaaaaaaaaaa",
        "lxc/web in docker/aaaaaaaaaaaa",
    ] {
        assert!(printed.contains(&format!("\n  {label}: ")), "{label}: {printed}");
    }
    Ok(())
}

fn named() -> Result<(), Failed> {
    let (cgroup, other) = (scratch(), scratch());
    let (_detached, _other_detached) = (DetachOnDrop("t-named"), DetachOnDrop("t-not-named"));
    attach(policy(POLICY).path(), &cgroup, "t-named");
    attach(policy(&POLICY.replace("t-watch", "t-other")).path(), &other, "t-not-named");
    let (one, all) = (Watching::start(&["--json", "t-named"])?, Watching::start(&["--json"])?);
    let filter = "policy == \"t-other\" and type == event";
    let filtered = Watching::start(&["--json", "--filter", filter])?;
    for cgroup in [&cgroup, &other] {
        run(cgroup, "for i in 1 2 3; do echo 1 >/proc/sys/net/ipv4/ip_forward; done")?;
    }
    for (watching, expected) in
        [(one, &["t-named"][..]), (all, &["t-named", "t-not-named"]), (filtered, &["t-not-named"])]
    {
        let (items, summary) = watching.end(Signal::TERM)?;
        for name in ["t-named", "t-not-named"] {
            let count = items.iter().filter(|item| item.context.attachment.as_deref() == Some(name)).count();
            assert_eq!(
                count,
                if expected.contains(&name) { 3 } else { 0 },
                "{name}, {expected:?}: {summary}"
            );
        }
    }
    Ok(())
}

fn meanwhile() -> Result<(), Failed> {
    let watching = Watching::start(&["--json"])?;
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-newcomer");
    attach(policy(POLICY).path(), &cgroup, "t-newcomer");
    let script = "while :; do echo 1 >/proc/sys/net/ipv4/ip_forward; sleep 0.2; done";
    let _writer = Reaped(shell(&cgroup, script).stderr(Stdio::null()).spawn()?);
    let path = cgroup.path().as_os_str().as_encoded_bytes().to_vec();
    watching.until(move |item| {
        let context = &item.context;
        context.cgroup_path.as_deref() == Some(&path) && context.attachment.as_deref() == Some("t-newcomer")
    })?;
    Ok(())
}

fn unread() -> Result<(), Failed> {
    let mut watching = Watching::start(&["--json"])?;
    drop(watching.knobgate.0.stdout.take());
    let status = watching.knobgate.0.wait()?;
    let mut messages = String::new();
    watching.messages.read_to_string(&mut messages)?;
    assert_eq!((status.code(), status.signal(), messages.as_str()), (Some(141), None, ""));
    Ok(())
}

fn unknown() -> Result<(), Failed> {
    for arguments in [["watch", "t-no-such"], ["watch", "a/b"]] {
        let output = expect(2, arguments);
        assert!(stdout(&output).is_empty() && stderr(&output).starts_with("error: "), "{output:?}");
    }
    Ok(())
}

fn last_night() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-last-night");
    let gone = cgroup.create("batch.service")?;
    attach(policy(POLICY).path(), &gone, "t-last-night");
    assert_eq!(stdout(&expect(0, ["log", "t-last-night"])), "");
    run(&gone, "echo 1 >/proc/sys/net/ipv4/ip_forward; echo many >/proc/sys/net/core/somaxconn")?;
    let path = gone.path().display().to_string();
    eventually("its processes are gone", || gone.procs().is_ok_and(|pids| pids.is_empty()));
    gone.remove()?;

    let printed = stdout(&expect(0, ["log", "t-last-night"]));
    let lines: Vec<&str> = printed.lines().collect();
    let denied = lines
        .iter()
        .position(|line| line.starts_with("deny(EACCES) write net.ipv4.ip_forward"))
        .ok_or("it")?;
    let place = "net.ipv4.ip_default_ttl (t-last-night/t-watch:3)";
    assert!(lines[denied].ends_with(place), "{printed}");
    assert_eq!(lines[denied + 1], "  unit batch.service: 1 event", "{printed}");
    let what = ["  first 20", " DENY ", r#"write net.ipv4.ip_forward "1\n" was "0\n""#, " uid=0"];
    let who: &[&str] = if knows_tasks() { &[" sh[", "] uid=0"] } else { &[] };
    for part in what.iter().chain(who) {
        assert!(lines[denied + 2].contains(part), "{part}: {printed}");
    }
    assert!(printed.contains("(cannot be evaluated: the new value is not a number"), "{printed}");

    let shown: Value = serde_json::from_slice(&expect(0, ["log", "--json", "t-last-night"]).stdout)?;
    let entries = shown["entries"].as_array().ok_or("entries")?;
    assert_eq!(entries.len(), 2, "{shown}");
    for entry in entries {
        assert_eq!((&entry["cgroup"]["path"], &entry["sent"]), (&Value::from(path.clone()), &Value::from(1)));
        assert_eq!(entry["first"], entry["last"], "{shown}");
    }
    let recent = expect(0, ["log", "--recent", "--json", "t-last-night"]).stdout;
    let recent = StreamReader::new(&recent[..]).collect::<Result<Vec<_>, _>>()?;
    // It is in a cgroup that is no unit, and that could have chosen the name.
    let innermost = |item: &StreamItem| item.context.workload.as_ref()?.levels().last()?.unit.clone();
    assert_eq!(recent.iter().map(innermost).collect::<Vec<_>>(), vec![Some("batch.service".to_owned()); 2]);
    assert_eq!(recent.iter().map(|item| item.sequence).collect::<Vec<_>>(), [1, 2]);
    Ok(())
}

fn long_path() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-long-path");
    let outer = cgroup.create("O".repeat(200))?;
    let gone = outer.create("L".repeat(200))?;
    attach(policy(POLICY).path(), &gone, "t-long-path");
    run(&gone, "echo 1 >/proc/sys/net/ipv4/ip_forward")?;
    eventually("its processes are gone", || gone.procs().is_ok_and(|pids| pids.is_empty()));
    let id = gone.id();
    gone.remove()?;
    outer.remove()?;
    let printed = stdout(&expect(0, ["log", "t-long-path"]));
    assert!(printed.contains(&format!("\n  cgroup {id}: 1 event\n")), "{printed}");
    let recent = expect(0, ["log", "--recent", "--json", "t-long-path"]).stdout;
    let recent = StreamReader::new(&recent[..]).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(recent.iter().map(|item| &item.context.cgroup_path).collect::<Vec<_>>(), [&None]);
    // Nor is it known that no container is there.
    let filter = Filter::parse(Source::new("filter", "container == \"web\""))?;
    assert_eq!(filter.matches(&recent[0]), None);
    Ok(())
}

fn counted() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-counted");
    let file = policy(POLICY);
    attach(file.path(), &cgroup, "t-counted");
    let burst = "i=0; while [ $i -lt 50 ]; do i=$((i + 1)); echo 1 >/proc/sys/net/ipv4/ip_forward; done";
    run(&cgroup, burst)?;
    let decided = produced("t-counted")?;
    assert_eq!(decided, 50);
    // A policy that replaces another one keeps its memory.
    attach(file.path(), &cgroup, "t-counted");
    let printed = stdout(&expect(0, ["log", "t-counted"]));
    let heading = printed.lines().nth(1).ok_or("a heading")?;
    assert!(
        heading.contains(": 50 events, ") && heading.contains(" of them suppressed, the last one at 20"),
        "{printed}"
    );
    let shown: Value = serde_json::from_slice(&expect(0, ["log", "--json", "t-counted"]).stdout)?;
    let (sent, suppressed) = (&shown["entries"][0]["sent"], &shown["entries"][0]["suppressed"]);
    assert_eq!(
        sent.as_u64().zip(suppressed.as_u64()).map(|(sent, suppressed)| sent + suppressed),
        Some(decided)
    );
    Ok(())
}
