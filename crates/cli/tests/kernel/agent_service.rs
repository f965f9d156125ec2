//! How the agent is seen: its socket, its metrics, its log, what systemd is told, and `knobgate status`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use knobgate_kernel::{Cgroup, Hierarchy, ProcessId};
use knobgate_testing::{Reaped, Suite, Test, eventually, scratch};
use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::setting::{DetachOnDrop, KNOBGATE, attach, expect, policy, stderr, stdout};
use crate::watching::{run, sends_events, tells_outcomes};

/// Each has its own bpffs and its own `/run`.
pub(crate) fn with_their_own_agent() -> Suite {
    let tests: &[Test] = &[
        ("only_root_is_answered", only_root),
        ("the_agent_may_open_as_many_files_as_it_needs", descriptors),
        ("counts_go_on_when_a_policy_is_replaced_and_stay_when_it_is_detached", counted),
        ("a_log_that_nobody_reads_does_not_stop_the_agent", unread),
        ("systemd_is_told_what_the_agent_does", notified),
        ("a_systemd_that_does_not_read_does_not_stop_the_agent", unread_by_systemd),
        ("without_an_agent_status_says_what_is_in_force", no_agent),
        ("status_says_that_the_files_have_an_error", rejected),
        ("what_is_off_is_in_the_status_and_in_the_metrics", off),
        ("an_agent_that_is_stopped_does_not_answer", stopped),
        ("the_socket_of_a_killed_agent_is_replaced", killed),
        ("metrics_can_be_read_over_tcp", over_tcp),
    ];
    // Their events have the name of the process.
    let with_tasks: &[Test] = &[
        ("a_denial_is_a_line_of_json", json),
        ("a_denial_is_an_entry_of_the_journal_with_its_fields", journal),
    ];
    Suite::default()
        .requiring(sends_events, tests)
        .requiring(tells_outcomes, with_tasks)
        .isolated(&["--mount"])
        .in_module("agent")
}

const SOCKET: &str = "/run/knobgate/agent.sock";

/// A machine on which no agent has run yet.
struct Machine {
    files: TempDir,
}

/// `knobgate agent`, which is killed on drop.
struct Agent(Reaped);

impl Machine {
    fn new(config: &str) -> Result<Self, Failed> {
        for (fs_type, point) in [("tmpfs", "/run"), ("bpf", "/sys/fs/bpf")] {
            let mounted = Command::new("mount").args(["-t", fs_type, fs_type, point]).status()?;
            assert!(mounted.success(), "{point}: {mounted}");
        }
        let files = tempfile::tempdir()?;
        fs::create_dir(files.path().join("policies.d"))?;
        fs::write(files.path().join("agent.toml"), config)?;
        Ok(Self { files })
    }

    fn log(&self) -> PathBuf {
        self.files.path().join("log")
    }

    fn logged(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The command that starts the agent. Its log goes to a file.
    fn command(&self) -> Result<Command, Failed> {
        let mut command = Command::new(KNOBGATE);
        command.arg("agent").arg("--policies").arg(self.files.path().join("policies.d"));
        command.arg("--config").arg(self.files.path().join("agent.toml"));
        command.env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM").env_remove("WATCHDOG_USEC");
        command.stdin(Stdio::null()).stderr(fs::File::create(self.log())?);
        Ok(command)
    }

    fn start(&self) -> Result<Agent, Failed> {
        Agent::start(&mut self.command()?)
    }
}

impl Agent {
    fn start(command: &mut Command) -> Result<Self, Failed> {
        let agent = Self(Reaped(command.spawn()?));
        eventually("the agent answers", || {
            get("/healthz").is_some_and(|answer| answer.ends_with("\r\n\r\nok\n"))
        });
        Ok(agent)
    }

    fn signal(&self, signal: Signal) -> Result<(), Failed> {
        Ok(ProcessId::of_child(&self.0.0).send(signal)?)
    }

    fn stop(mut self) -> Result<(), Failed> {
        self.signal(Signal::TERM)?;
        let status = self.0.ended();
        assert!(status.success(), "{status}");
        Ok(())
    }
}

/// The answer to a request; `None` if nobody listens.
fn get(path: &str) -> Option<String> {
    let mut stream = UnixStream::connect(SOCKET).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The series of the metrics with their values.
pub(crate) fn metrics() -> Result<BTreeMap<String, f64>, Failed> {
    let answer = get("/metrics").ok_or("an answer")?;
    let (head, text) = answer.split_once("\r\n\r\n").ok_or("a head")?;
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let series = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').ok_or("a value")?;
        Ok((series.to_owned(), value.parse()?))
    });
    series.collect()
}

const POLICY: &str = "policy t-agent\nallow write net.ipv4.ip_default_ttl if new < 100\ndeny(EACCES) write net.ipv4.ip_forward\n";

fn descriptors() -> Result<(), Failed> {
    let agent = Machine::new("")?.start()?;
    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.0.0.id()))?;
    let files: Vec<&str> = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .ok_or("a limit")?
        .split_whitespace()
        .collect();
    assert_eq!(files[3], files[4]);
    agent.stop()
}

fn only_root() -> Result<(), Failed> {
    let machine = Machine::new("")?;
    let agent = machine.start()?;
    let mode = |path: &str| Ok::<_, Failed>(fs::metadata(path)?.mode() & 0o777);
    assert_eq!((mode("/run/knobgate")?, mode(SOCKET)?), (0o700, 0o600));
    let status = get("/status").ok_or("an answer")?;
    let status: Value = serde_json::from_str(status.split_once("\r\n\r\n").ok_or("a head")?.1)?;
    assert_eq!(status["pid"], agent.0.0.id());

    // Even if others could reach it.
    for (path, mode) in [("/run", 0o755), ("/run/knobgate", 0o755), (SOCKET, 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    let ask = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/knobgate/agent.sock')
try:
    s.sendall(b'GET /status HTTP/1.0\\r\\n\\r\\n'); print(s.recv(1000))
except (BrokenPipeError, ConnectionResetError): print(b'')";
    let asked = |uid: &str| -> Result<String, Failed> {
        let answer = Command::new("setpriv")
            .args(["--reuid", uid, "--clear-groups", "/usr/bin/python3", "-c", ask])
            .output()?;
        Ok(String::from_utf8(answer.stdout)?)
    };
    assert_eq!(asked("65534")?, "b''\n");
    assert!(asked("0")?.starts_with("b'HTTP/1.0 200 OK"));
    agent.stop()
}

fn counted() -> Result<(), Failed> {
    let machine = Machine::new("")?;
    let agent = machine.start()?;
    let cgroup = scratch();
    attach(policy(POLICY).path(), &cgroup, "t-agent");
    let denied = "knobgate_decisions_total{policy=\"t-agent\",rule=\"line 3\",verdict=\"deny\"}";
    let allowed = "knobgate_decisions_total{policy=\"t-agent\",rule=\"line 2\",verdict=\"allow\"}";
    let write =
        "cd /proc/sys/net/ipv4; echo 1 >ip_forward; echo 64 >ip_default_ttl; echo many >ip_default_ttl";
    run(&cgroup, write)?;
    let first = metrics()?;
    assert_eq!((first[denied], first[allowed]), (1.0, 1.0));
    assert_eq!(
        first["knobgate_decisions_total{policy=\"t-agent\",rule=\"line 2\",verdict=\"eval-error\"}"],
        1.0
    );
    assert_eq!(first["knobgate_attached_cgroups{policy=\"t-agent\",source=\"hand\"}"], 1.0);
    let memory = first["knobgate_bpf_memory_bytes{policy=\"t-agent\"}"];
    let shown: Value = serde_json::from_slice(&expect(0, ["show", "--json", "t-agent"]).stdout)?;
    assert_eq!(shown["memory"].as_f64(), Some(memory));
    assert!(memory > 4096.0, "{memory}");

    // What comes after the last scrape is counted, too, although the program is gone by the next one.
    run(&cgroup, write)?;
    attach(policy(&format!("{POLICY}allow write net.core.somaxconn\n")).path(), &cgroup, "t-agent");
    run(&cgroup, write)?;
    let second = metrics()?;
    assert_eq!((second[denied], second[allowed]), (3.0, 3.0));
    assert!(
        second.contains_key("knobgate_decisions_total{policy=\"t-agent\",rule=\"line 4\",verdict=\"allow\"}")
    );
    run(&cgroup, write)?;
    expect(0, ["detach", "t-agent"]);
    let third = metrics()?;
    assert_eq!((third[denied], third[allowed]), (4.0, 4.0));
    assert!(!third.contains_key("knobgate_attached_cgroups{policy=\"t-agent\",source=\"hand\"}"));
    agent.stop()
}

/// Waits for the line of the log about this policy.
fn line_about(machine: &Machine, part: &str) -> String {
    let line = || machine.logged().lines().find(|line| line.contains(part)).map(str::to_owned);
    eventually(&format!("a line about {part} is logged"), || line().is_some());
    line().unwrap_or_default()
}

fn json() -> Result<(), Failed> {
    let machine = Machine::new("[log]\nformat = \"json\"\n")?;
    let agent = machine.start()?;
    let started: Value = serde_json::from_str(&line_about(&machine, "\"started\""))?;
    assert_eq!(started["level"], "info");
    let cgroup = scratch();
    attach(policy(&POLICY.replace("t-agent", "t-json")).path(), &cgroup, "t-json");
    run(&cgroup, "echo 1 >/proc/sys/net/ipv4/ip_forward")?;
    let line: Value = serde_json::from_str(&line_about(&machine, "\"t-json\""))?;
    for (field, expected) in [
        ("level", "warning"),
        ("kind", "denied"),
        ("policy", "t-json"),
        ("attachment", "t-json"),
        ("rule", "t-json:3"),
        ("sysctl", "net.ipv4.ip_forward"),
        ("access", "write"),
        ("oldvalue", "0"),
        ("newvalue", "1"),
        ("object_comm", "sh"),
        ("object_uid", "0"),
        ("cgroup", cgroup.path().to_str().ok_or("a path")?),
    ] {
        assert_eq!(line[field], expected, "{field}: {line}");
    }
    agent.stop()
}

fn journal() -> Result<(), Failed> {
    let machine = Machine::new("")?;
    fs::create_dir_all("/run/systemd/journal")?;
    let journal = UnixDatagram::bind("/run/systemd/journal/socket")?;
    journal.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut command = machine.command()?;
    // As systemd says that standard error goes to the journal.
    let log = fs::metadata(machine.log())?;
    command.env("JOURNAL_STREAM", format!("{}:{}", log.dev(), log.ino()));
    let agent = Agent::start(&mut command)?;
    let next = |id: &str| -> Result<String, Failed> {
        loop {
            let mut buffer = vec![0; 1 << 16];
            let length = journal.recv(&mut buffer)?;
            let entry = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if entry.contains(id) {
                return Ok(entry);
            }
        }
    };
    let field = |name: &str, value: &str| {
        format!("{name}\n{}{value}\n", {
            let length = (value.len() as u64).to_le_bytes();
            String::from_utf8_lossy(&length).into_owned()
        })
    };
    let started = next("d454651382ac412fab945660d6826cac")?;
    assert!(started.contains(&field("PRIORITY", "6")), "{started:?}");
    assert!(started.contains(&field("SYSLOG_IDENTIFIER", "knobgate")), "{started:?}");

    let cgroup = scratch();
    attach(policy(&POLICY.replace("t-agent", "t-journal")).path(), &cgroup, "t-journal");
    run(&cgroup, "printf '1\\nPRIORITY=0\\n' >/proc/sys/net/ipv4/ip_forward")?;
    let denied = next("t-journal:3")?;
    for (name, value) in [
        ("MESSAGE_ID", "a245f9adefa444c8ace5b1b5628d1bfa"),
        ("PRIORITY", "4"),
        ("KNOBGATE_KIND", "denied"),
        ("KNOBGATE_POLICY", "t-journal"),
        ("KNOBGATE_RULE", "t-journal:3"),
        ("SYSCTL", "net.ipv4.ip_forward"),
        ("OLDVALUE", "0"),
        ("NEWVALUE", "1\\nPRIORITY=0"),
        ("OBJECT_COMM", "sh"),
    ] {
        assert!(denied.contains(&field(name, value)), "{name}: {denied:?}");
    }
    assert_eq!(machine.logged(), "");
    agent.stop()
}

fn unread() -> Result<(), Failed> {
    let machine = Machine::new("")?;
    let mut command = machine.command()?;
    // A pipe that nobody reads.
    let agent = Agent::start(command.stderr(Stdio::piped()))?;
    let cgroup = scratch();
    let logging = "policy t-unread\nallow write net.ipv4.ip_default_ttl log(all)\n";
    attach(policy(logging).path(), &cgroup, "t-unread");
    let write =
        "cd /proc/sys/net/ipv4; i=0; while [ $i -lt 4000 ]; do i=$((i + 1)); echo 64 >ip_default_ttl; done";
    run(&cgroup, write)?;
    let unlogged = || metrics().is_ok_and(|metrics| metrics["knobgate_log_lines_lost_total"] > 0.0);
    eventually("lines are dropped", unlogged);
    assert!(get("/healthz").is_some_and(|answer| answer.ends_with("ok\n")));
    agent.stop()
}

/// The next message to systemd that begins so.
fn heard(systemd: &UnixDatagram, wanted: &str) -> Result<String, Failed> {
    systemd.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut buffer = [0; 4096];
    loop {
        let length = systemd.recv(&mut buffer).map_err(|error| format!("waiting for {wanted}: {error}"))?;
        let message = String::from_utf8(buffer[..length].to_vec())?;
        if message.starts_with(wanted) {
            return Ok(message);
        }
    }
}

fn notified() -> Result<(), Failed> {
    let machine = Machine::new("")?;
    let path = machine.files.path().join("notify");
    let systemd = UnixDatagram::bind(&path)?;
    let next = |wanted| heard(&systemd, wanted);
    let mut command = machine.command()?;
    let agent = Agent::start(command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000"))?;
    assert!(next("STATUS=")?.len() > "STATUS=\n".len());
    assert_eq!(next("READY=1")?, "READY=1\n");
    for _ in 0..3 {
        next("WATCHDOG=1")?;
    }
    agent.signal(Signal::HUP)?;
    let reloading = next("RELOADING=1")?;
    let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").ok_or(&*reloading)?.trim_end();
    assert!(usec.parse::<u64>().is_ok_and(|usec| usec > 0), "{reloading}");
    next("READY=1")?;
    agent.signal(Signal::TERM)?;
    next("STOPPING=1")?;
    let mut agent = agent;
    assert!(agent.0.ended().success());
    Ok(())
}

fn unread_by_systemd() -> Result<(), Failed> {
    let machine = Machine::new("")?;
    let path = machine.files.path().join("notify");
    let systemd = UnixDatagram::bind(&path)?;
    let agent = Agent::start(machine.command()?.env("NOTIFY_SOCKET", &path))?;
    heard(&systemd, "READY=1")?;
    let other = UnixDatagram::unbound()?;
    other.set_nonblocking(true)?;
    while other.send_to(b"X_TEST=1\n", &path).is_ok() {}
    agent.signal(Signal::HUP)?;
    let reloaded =
        || metrics().is_ok_and(|metrics| metrics["knobgate_reloads_total{result=\"accepted\"}"] == 1.0);
    eventually("the policies are read again", reloaded);
    eventually("the engine answers", || {
        get("/healthz").is_some_and(|answer| answer.ends_with("\r\n\r\nok\n"))
    });
    agent.stop()
}

fn no_agent() -> Result<(), Failed> {
    let machine = Machine::new("")?;
    let nothing = stdout(&expect(3, ["status"]));
    assert!(
        nothing.starts_with("no agent runs: ") && nothing.ends_with("\nnothing is in force\n"),
        "{nothing}"
    );
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-status");
    attach(policy(&POLICY.replace("t-agent", "t-status")).path(), &cgroup, "t-status");
    let in_force = stdout(&expect(3, ["status"]));
    assert!(in_force.contains("\n  t-status: 1 cgroup by hand\n"), "{in_force}");
    let json: Value = serde_json::from_slice(&expect(3, ["status", "--json"]).stdout)?;
    assert_eq!((&json["agent"], &json["error"]), (&Value::Null, &"no agent runs".into()));
    assert_eq!(json["attached"][0]["cgroups"]["hand"], 1);

    let agent = machine.start()?;
    let output = expect(0, ["status"]);
    assert!(stdout(&output).starts_with(&format!("agent 0.1.0 runs as process {} since ", agent.0.0.id())));
    assert_eq!(stderr(&output), "");
    let json: Value = serde_json::from_slice(&expect(0, ["status", "--json"]).stdout)?;
    assert_eq!((&json["agent"]["pid"], &json["error"]), (&agent.0.0.id().into(), &Value::Null));
    agent.stop()?;
    expect(3, ["status"]);
    Ok(())
}

/// A policy for this cgroup alone.
fn for_cgroup(cgroup: &Cgroup, name: &str) -> Result<String, Failed> {
    let cgroup = Hierarchy::find()?.name(cgroup.path()).ok_or("a name")?;
    let rules = POLICY.split_once('\n').ok_or("rules")?.1;
    Ok(format!("policy {name}\napply if cgroup == \"{}\"\n{rules}", cgroup.display()))
}

fn rejected() -> Result<(), Failed> {
    let (machine, cgroup) = (Machine::new("")?, scratch());
    let file = machine.files.path().join("policies.d/web.knob");
    let policy = for_cgroup(&cgroup, "t.rejected")?;
    fs::write(&file, &policy)?;
    let agent = machine.start()?;
    let status = stdout(&expect(0, ["status"]));
    assert!(status.contains("\nt.rejected  enforce        1         0 "), "{status}");
    let status: Value = serde_json::from_slice(&expect(0, ["status", "--json"]).stdout)?;
    assert!(status["agent"]["policies"][0]["memory"].as_u64() > Some(4096), "{status}");
    assert_eq!(status["attached"][0]["cgroups"]["agent"], 1);

    fs::write(&file, format!("{policy}allow wrte vm.swappiness\n"))?;
    let status = || Command::new(KNOBGATE).arg("status").output().expect("knobgate");
    eventually("the files have an error", || status().status.code() == Some(1));
    let said = stdout(&status());
    assert!(
        said.contains("web.knob:5:7: there is no kind of access `wrte`")
            && said.contains(" warning reload-rejected: ")
    );
    assert!(said.contains("\nt.rejected  enforce        1         0 "), "{said}");
    let counted = metrics()?;
    assert_eq!(counted["knobgate_last_reload_successful"], 0.0);
    assert_eq!(counted["knobgate_reloads_total{result=\"rejected\"}"], 1.0);

    fs::write(&file, policy)?;
    eventually("they have none", || status().status.code() == Some(0));
    agent.stop()
}

fn off() -> Result<(), Failed> {
    let (machine, cgroup) = (Machine::new("")?, scratch());
    fs::write(machine.files.path().join("policies.d/web.knob"), for_cgroup(&cgroup, "t.off")?)?;
    let agent = machine.start()?;
    let is_off = || metrics().map_or(-1.0, |metrics| metrics["knobgate_policy_off{policy=\"t.off\"}"]);
    assert_eq!(is_off(), 0.0);
    expect(0, ["off", "t.off", "--reason", "\u{1b}[2J"]);
    eventually("it is off", || is_off() == 1.0);
    let status = stdout(&expect(0, ["status"]));
    assert!(
        status.contains("\noff: \"t_off\" is off since ") && status.contains(", by uid 0 (\\x1b[2J)\n"),
        "{status}"
    );
    assert!(!metrics()?.contains_key("knobgate_attached_cgroups{policy=\"t.off\",source=\"agent\"}"));
    expect(0, ["on", "t.off"]);
    eventually("it is on", || is_off() == 0.0);
    agent.stop()
}

fn stopped() -> Result<(), Failed> {
    let machine = Machine::new("")?;
    let agent = machine.start()?;
    agent.signal(Signal::STOP)?;
    let status = stdout(&expect(3, ["status"]));
    assert!(status.starts_with("no answer: the agent has not answered for 10 s"), "{status}");
    agent.signal(Signal::CONT)?;
    expect(0, ["status"]);
    agent.stop()
}

fn killed() -> Result<(), Failed> {
    let machine = Machine::new("")?;
    let mut agent = machine.start()?;
    agent.0.0.kill()?;
    agent.0.0.wait()?;
    assert!(Path::new(SOCKET).exists());
    expect(3, ["status"]);
    let agent = machine.start()?;
    expect(0, ["status"]);
    agent.stop()
}

fn over_tcp() -> Result<(), Failed> {
    // A port that was free just now.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let machine = Machine::new(&format!("[metrics]\nlisten = \"{address}\"\n"))?;
    let agent = machine.start()?;
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.contains("\nknobgate_up 1\n"), "{answer}");
    agent.stop()
}
