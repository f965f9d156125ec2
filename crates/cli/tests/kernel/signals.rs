use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};

use knobgate_kernel::ProcessId;
use knobgate_testing::{Reaped, Test, eventually, is_running};
use libtest_mimic::Failed;
use rustix::process::Signal;

use crate::setting::Runs;

pub(crate) const TESTS: &[Test] = &[
    ("signals_are_forwarded", forwarded),
    ("a_signal_to_the_group_ends_both", to_the_group),
    ("knobgate_waits_for_a_command_that_ignores_a_signal", ignored),
    ("ctrl_c_on_a_terminal_reaches_the_command_once", ctrl_c),
    ("a_stopped_command_stops_knobgate_and_continues_with_it", stopped),
    ("killing_knobgate_ends_the_command", killed),
    ("killing_knobgate_ends_a_command_that_keeps_forking", killed_with_many),
    ("a_killed_guard_is_replaced", guard_killed),
    ("ignored_signals_do_not_keep_a_command_running", ignoring),
];

/// A run whose command has reported that it is ready.
struct Started {
    knobgate: Reaped,
    output: BufReader<ChildStdout>,
    /// The command's process id.
    command: u32,
}

impl Started {
    /// Runs a script that prints `ready`. It is the leader of its own process group, like a job of a shell.
    fn new(setting: &Runs, script: &str) -> Self {
        let script = script.replace("ready", "echo $$");
        let mut command = setting.command(["sh", "-c", &script]);
        Self::of(command.process_group(0))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("knobgate");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let knobgate = Reaped(child);
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let command = line.trim().parse().expect("the command's process id");
        Self { knobgate, output, command }
    }

    fn send(&self, signal: Signal) -> std::io::Result<()> {
        ProcessId::of_child(&self.knobgate.0).send(signal)
    }

    /// Sends a signal to its process group.
    fn send_to_group(&self, signal: Signal) -> std::io::Result<()> {
        #[expect(clippy::disallowed_methods, reason = "the group of a child that was not yet waited for")]
        Ok(rustix::process::kill_process_group(rustix::process::Pid::from_child(&self.knobgate.0), signal)?)
    }

    /// Waits for its end. Returns its status, and the rest of its output.
    fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("the rest");
        (self.knobgate.0.wait().expect("its end"), rest)
    }
}

/// The state of a process, of proc_pid_stat(5).
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn forwarded() -> Result<(), Failed> {
    let setting = Runs::new("t-pass", "");
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2] {
        let script =
            format!("trap 'echo heard; exit 5' {}; ready; while :; do sleep 0.05; done", signal.as_raw());
        let started = Started::new(&setting, &script);
        started.send(signal)?;
        let (status, rest) = started.end();
        assert_eq!((status.code(), rest.as_str()), (Some(5), "heard\n"), "{signal:?}");
        setting.expect_nothing_left();
    }
    Ok(())
}

fn to_the_group() -> Result<(), Failed> {
    let setting = Runs::new("t-group", "");
    let started = Started::new(&setting, "ready; exec sleep 1000");
    let command = started.command;
    started.send_to_group(Signal::INT)?;
    assert_eq!(started.end().0.code(), Some(130));
    assert!(!is_running(command));
    Ok(())
}

fn ignored() -> Result<(), Failed> {
    let setting = Runs::new("t-deaf", "");
    let started = Started::new(&setting, "trap '' INT TERM HUP; ready; sleep 0.5; echo done; exit 3");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        started.send(signal)?;
    }
    let (status, rest) = started.end();
    assert_eq!((status.code(), rest.as_str()), (Some(3), "done\n"));
    Ok(())
}

fn ctrl_c() -> Result<(), Failed> {
    let setting = Runs::new("t-terminal", "");
    let script = "n=0; trap 'n=$((n+1))' INT; echo started; sleep 0.7; sleep 0.1; echo heard $n; exit 6";
    // Instead of the shell, which would have been interrupted too.
    let mut run = format!("exec {:?}", crate::setting::KNOBGATE);
    for argument in setting.command(["sh", "-c", script]).get_args() {
        run.push_str(&format!(" '{}'", argument.to_string_lossy().replace('\'', "'\\''")));
    }
    // script(1) provides a terminal.
    let mut terminal = Command::new("script");
    terminal.args(["-q", "-e", "-c", &run, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = Reaped(terminal.spawn()?);
    let mut output = BufReader::new(terminal.0.stdout.take().ok_or("no output")?);
    let mut lines = String::new();
    output.read_line(&mut lines)?;
    output.read_line(&mut lines)?;
    assert!(lines.contains("decided by the kernel's hook") && lines.ends_with("started\r\n"), "{lines:?}");
    let mut keyboard = terminal.0.stdin.take().ok_or("no input")?;
    keyboard.write_all(b"\x03")?;
    let mut rest = String::new();
    output.read_to_string(&mut rest)?;
    assert!(rest.contains("heard 1"), "{rest:?}");
    assert_eq!(terminal.0.wait()?.code(), Some(6));
    Ok(())
}

fn stopped() -> Result<(), Failed> {
    let setting = Runs::new("t-stop", "");
    // Without a child of the shell: a child that is stopped between vfork and exec would keep the shell from stopping.
    let mut command = setting.command(["sh", "-c", "echo $$; read line; echo $line"]);
    let mut started = Started::of(command.process_group(0).stdin(Stdio::piped()));
    let (knobgate, command) = (started.knobgate.0.id(), started.command);
    for sent_to_both in [true, false] {
        if sent_to_both {
            started.send_to_group(Signal::TSTP)?;
        } else {
            started.send(Signal::TSTP)?;
        }
        eventually("both are stopped", || state(knobgate) == Some('T') && state(command) == Some('T'));
        if sent_to_both {
            started.send_to_group(Signal::CONT)?;
        } else {
            started.send(Signal::CONT)?;
        }
        eventually("both go on", || state(knobgate) == Some('S') && state(command) == Some('S'));
    }
    started.knobgate.0.stdin.take().ok_or("no stdin")?.write_all(b"done\n")?;
    let (status, rest) = started.end();
    assert_eq!((status.code(), rest.as_str()), (Some(0), "done\n"));
    Ok(())
}

fn killed() -> Result<(), Failed> {
    let setting = Runs::new("t-killed", "");
    let started = Started::new(&setting, "trap '' HUP TERM; ready; while :; do sleep 1; done");
    let command = started.command;
    started.send(Signal::KILL)?;
    assert_eq!(started.end().0.signal(), Some(Signal::KILL.as_raw()));
    eventually("the command ends", || !is_running(command));
    setting.expect_nothing_left();
    Ok(())
}

fn killed_with_many() -> Result<(), Failed> {
    let setting = Runs::new("t-many", "");
    let script = "for i in 1 2 3 4 5 6 7 8; do setsid sleep 1000 >/dev/null 2>&1 & done; ready; wait";
    let started = Started::new(&setting, script);
    started.send(Signal::KILL)?;
    drop(started);
    setting.expect_nothing_left();
    Ok(())
}

fn guard_killed() -> Result<(), Failed> {
    let setting = Runs::new("t-guard", "");
    let started = Started::new(&setting, "ready; while :; do sleep 0.1; done");
    let parent = started.knobgate.0.id();
    let guard = || {
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
        children.split_whitespace().map(str::to_owned).find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "knobgate-guard\n")
                && pid.parse().is_ok_and(is_running)
        })
    };
    // It may exist a moment before it has its name.
    eventually("there is a guard", || guard().is_some());
    let first = guard().ok_or("no guard")?;
    ProcessId::new(first.parse::<u32>()?).ok_or("no process id")?.send(Signal::KILL)?;
    eventually("there is another guard", || guard().is_some_and(|pid| pid != first));
    let command = started.command;
    started.send(Signal::KILL)?;
    eventually("the command ends", || !is_running(command));
    Ok(())
}

fn ignoring() -> Result<(), Failed> {
    let setting = Runs::new("t-nohup", "");
    // As nohup and cron start commands.
    let mut nohup = Command::new("sh");
    let script = "trap '' HUP INT CHLD; exec \"$@\"";
    let run = setting.command(["sh", "-c", "echo $$; sleep 0.3; exit 9"]);
    nohup.args(["-c", script, "sh", crate::setting::KNOBGATE]).args(run.get_args());
    let started = Started::of(&mut nohup);
    started.send(Signal::HUP)?;
    assert_eq!(started.end().0.code(), Some(9));
    Ok(())
}
