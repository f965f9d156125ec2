//! `knobgate agent` while somebody sets the clock of the machine.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use knobgate_kernel::{Link, Signal};
use knobgate_testing::{Reaped, Suite, shell};
use libtest_mimic::Failed;
use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, Timespec, clock_settime};
use serde_json::Value;

use crate::agent_machine::{AgentMachine, NAMESPACES, pins, policy_for};
use crate::agent_service::metrics;
use crate::readers::whole_machine;
use crate::setting::{expect, stdout};

/// These tests set the machine's clock, and put it back.
pub(crate) fn on_the_whole_machine() -> Suite {
    Suite::default()
        .requiring(whole_machine, &[("the_agent_goes_on_when_the_clock_is_set", set)])
        .isolated(NAMESPACES)
        .in_module("whole_machine")
}

/// The clock of the machine, which is right again at the end.
struct Clock {
    began: (SystemTime, Instant),
}

impl Clock {
    fn new() -> Self {
        Self { began: (SystemTime::now(), Instant::now()) }
    }

    fn set(&self, hours: i64) {
        let (time, at) = self.began;
        let right = (time + at.elapsed()).duration_since(UNIX_EPOCH).expect("after 1970");
        let time =
            Timespec { tv_sec: right.as_secs() as i64 + hours * 3600, tv_nsec: right.subsec_nanos().into() };
        clock_settime(ClockId::Realtime, time).expect("the clock can be set");
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.set(0);
    }
}

const SHOP: &str = "policy shop\napply if container starts with \"shop-\"\ndefault write deny\n";

fn set() -> Result<(), Failed> {
    let clock = Clock::new();
    let mut machine = AgentMachine::new(&[("web.knob", &policy_for("web", "g")), ("shop.knob", SHOP)])?;
    machine.make("g-late");
    let _process = Reaped(shell(&machine.open("g-late"), "exec sleep 1000").spawn()?);
    let socket = machine.path("notify");
    let systemd = UnixDatagram::bind(&socket)?;
    systemd.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut command = machine.command();
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "1000000");
    machine.start_command(command)?;
    machine.make("g1");
    machine.expect_on("g1", &["web:agent"]);
    assert!(!shell(&machine.open("g1"), "echo x >/proc/sys/kernel/domainname").status()?.success());
    expect(0, ["off", "shop", "--reason", "the shop is shut"]);
    machine.expect_said("off: \"shop\" is off");
    let off = status()?["agent"]["off"].clone();
    let denied_at = last_denial()?;

    for (round, hours) in [5, -5, 24 * 365 * 3, -24 * 300].into_iter().enumerate() {
        clock.set(hours);
        let since = Timestamp::now();
        goes_on(&machine, &systemd, round)?;
        // What it says now is by the clock as it is now.
        let status = status()?;
        let notices = status["agent"]["notices"].as_array().ok_or("notices")?;
        let last = notices.last().ok_or("a notice")?["at"].as_str().ok_or("a time")?;
        let last: Timestamp = last.parse()?;
        assert!(since <= last && last <= Timestamp::now(), "{since} {last}");
        // What was said before stays as it was said.
        assert_eq!(status["agent"]["off"], off);
        let late = status["agent"]["late"].as_array().ok_or("late")?;
        assert_eq!(late.len(), 1, "{late:?}");
        for line in machine.log().lines() {
            let time = line.split(' ').next().unwrap_or_default();
            assert!(time.parse::<Timestamp>().is_ok(), "{line}");
        }
        // A policy remembers when by the time since boot, and that is shown by the clock as it is now.
        let shown = last_denial()?.as_second() - denied_at.as_second();
        assert!((shown - hours * 3600).abs() < 60, "{shown} s after {hours} h");
        expect(0, ["status"]);
        for (series, value) in metrics()? {
            assert!(value >= 0.0 && !value.is_nan(), "{series} {value}");
            assert!(!series.contains("seconds_sum") || value < 3600.0, "{series} {value}");
        }
        is_idle(&machine);
    }
    expect(0, ["on", "shop"]);
    machine.expect_said("on: \"shop\" is on again");
    machine.expect_whole();
    assert_eq!(machine.end(Signal::TERM)?.code(), Some(0), "{}", machine.log());
    Ok(())
}

/// Checks that the agent does all that it does.
fn goes_on(machine: &AgentMachine, systemd: &UnixDatagram, round: usize) -> Result<(), Failed> {
    // What was sent before.
    systemd.set_nonblocking(true)?;
    let mut buffer = [0; 4096];
    while systemd.recv(&mut buffer).is_ok() {}
    systemd.set_nonblocking(false)?;
    let mut fed = 0;
    while fed < 3 {
        let length = systemd.recv(&mut buffer).map_err(|error| format!("waiting for WATCHDOG=1: {error}"))?;
        fed += usize::from(buffer[..length].starts_with(b"WATCHDOG=1"));
    }
    let new = format!("g-new-{round}");
    machine.make(&new);
    machine.expect_on(&new, &["web:agent"]);
    // The periodic check: no event tells of that.
    let (attachment, pin) = pins()
        .into_iter()
        .find(|(attachment, pin)| attachment.starts_with("web@") && pin.starts_with("cgroup-"))
        .ok_or("a link")?;
    Link::from_pin(format!("/sys/fs/bpf/knobgate/{attachment}/{pin}"))?.detach()?;
    machine.expect_count(" link-vanished: somebody has detached the link of web@", round + 1);
    machine.expect_count(" repaired: put web@", round + 1);
    // Edited files.
    machine.write("more.knob", &policy_for("more", &format!("more-{round}")));
    machine.make(&format!("more-{round}"));
    machine.expect_on(&format!("more-{round}"), &["more:agent"]);
    // What is tried again: the name of a container comes after its cgroup.
    machine.write("named.knob", &SHOP.replace("shop", "named"));
    let id = format!("{:064x}", round + 1);
    let cgroup = format!("docker/{id}");
    machine.expect_said("reloaded: read 4 policies");
    machine.make(&cgroup);
    let state = format!("/var/lib/docker/containers/{id}");
    fs::create_dir_all(&state)?;
    let config = "{\"Name\":\"/named-web\",\"Config\":{\"Image\":\"nginx\"}}";
    fs::write(format!("{state}/config.v2.json"), config)?;
    machine.expect_on(&cgroup, &["named:agent"]);
    Ok(())
}

fn status() -> Result<Value, Failed> {
    Ok(serde_json::from_str(&stdout(&expect(0, ["status", "--json"])))?)
}

/// When the policy last denied something, as `knobgate log` says it.
fn last_denial() -> Result<Timestamp, Failed> {
    let log: Value = serde_json::from_str(&stdout(&expect(0, ["log", "web", "--json"])))?;
    let entries = log["entries"].as_array().ok_or("entries")?;
    let entry = entries.iter().find(|entry| entry["first"]["knob"] == "kernel.domainname");
    let entry = entry.ok_or_else(|| log.to_string())?;
    Ok(entry["first_time"].as_str().ok_or_else(|| entry.to_string())?.parse()?)
}

/// Waits until the agent takes less than half of a processor.
fn is_idle(machine: &AgentMachine) {
    let ticks = || -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", machine.pid())).expect("it runs");
        let (_, fields) = stat.rsplit_once(") ").expect("fields");
        let fields: Vec<&str> = fields.split(' ').collect();
        [11, 12].iter().map(|&field| fields[field].parse::<u64>().expect("ticks")).sum()
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let (before, began) = (ticks(), Instant::now());
        std::thread::sleep(Duration::from_secs(2));
        let used = (ticks() - before) as f64 / clock_ticks_per_second() as f64;
        if used < began.elapsed().as_secs_f64() / 2.0 {
            return;
        }
        assert!(Instant::now() < deadline, "it is busy: {}", machine.log());
    }
}
