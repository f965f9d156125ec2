//! `knobgate top` in a terminal, which tmux(1) provides.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use knobgate_kernel::Cgroup;
use knobgate_testing::{Test, eventually, is_running, scratch, shell};
use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::setting::{DetachOnDrop, KNOBGATE, attach, policy};
use crate::watching::knows_tasks;

pub(crate) const TESTS: &[Test] = &[
    ("a_denial_is_seen_on_the_screen", seen),
    ("a_start_in_a_flood_counts_each_event_once", counted_once),
    ("every_end_of_top_gives_the_terminal_back", given_back),
    ("top_is_suspended_and_continues", suspended),
];

/// How long it is waited for something on the screen. No verdict depends on time: a machine may be very busy.
const PATIENCE: Duration = Duration::from_secs(60);

const POLICY: &str = "policy t-top
deny write net.ipv4.ip_forward log(all)
allow write net.ipv4.ip_default_ttl log(all)
";

/// A shell in a terminal. It is gone when this is dropped.
struct Terminal {
    directory: TempDir,
}

impl Terminal {
    fn start() -> Result<Self, Failed> {
        let terminal = Self { directory: tempfile::Builder::new().prefix("knobgate-test-").tempdir()? };
        terminal.tmux(["new-session", "-d", "-x", "80", "-y", "24", "env PS1='$ ' ENV= sh"])?;
        Ok(terminal)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Runs tmux with this server. What it needs beside processes is in the directory.
    fn command(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.args(["-u", "-f", "/dev/null", "-L", "knobgate-test-top"]);
        tmux.env("TMUX_TMPDIR", self.path()).env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        tmux
    }

    fn tmux<const N: usize>(&self, arguments: [&str; N]) -> Result<String, Failed> {
        let output = self.command().args(arguments).output()?;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn screen(&self) -> Result<String, Failed> {
        self.tmux(["capture-pane", "-p"])
    }

    /// Presses a key, by the name that tmux has for it.
    fn press(&self, key: &str) -> Result<(), Failed> {
        self.tmux(["send-keys", key]).map(drop)
    }

    /// Presses the escape key, and waits until the panes are there again: with another key close after it, it would be Alt.
    fn go_back(&self) -> Result<(), Failed> {
        self.press("Escape")?;
        self.shows(&["ATTACHMENTS", "q quit"]).map(drop)
    }

    fn type_text(&self, text: &str) -> Result<(), Failed> {
        self.tmux(["send-keys", "-l", text]).map(drop)
    }

    /// Types a line.
    fn enter(&self, line: &str) -> Result<(), Failed> {
        self.type_text(line)?;
        self.press("Enter")
    }

    /// Waits until the screen is as this says.
    #[track_caller]
    fn wait_for(&self, what: &str, is_there: impl Fn(&str) -> bool) -> Result<String, Failed> {
        let start = Instant::now();
        loop {
            let screen = self.screen()?;
            if is_there(&screen) {
                return Ok(screen);
            }
            assert!(start.elapsed() < PATIENCE, "not on the screen: {what}\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the screen has all of these.
    #[track_caller]
    fn shows(&self, texts: &[&str]) -> Result<String, Failed> {
        self.wait_for(&texts.join(", "), |screen| texts.iter().all(|text| screen.contains(text)))
    }

    /// Starts `knobgate top` in the shell, which stores the modes of the terminal before and after. Other tests may have all places
    /// for readers.
    fn start_top(&self, name: &str) -> Result<(), Failed> {
        let start = Instant::now();
        loop {
            self.enter(&format!(
                "clear; cd {:?}; stty -g >before; sh -c 'echo $$ >pid; exec \"$0\" top {name}' {KNOBGATE:?}; \
                 echo ended $?; stty -g >after",
                self.path()
            ))?;
            let screen = self.wait_for("top, or its end", |screen| {
                screen.contains("knobgate top: events of") || has_line(screen, "ended 3")
            })?;
            if screen.contains("knobgate top: events of") {
                return Ok(());
            }
            assert!(screen.contains("there are no more places") && start.elapsed() < PATIENCE, "{screen}");
        }
    }

    /// Asserts that `top` has ended like this, and that the terminal is as it was.
    #[track_caller]
    fn expect_end(&self, status: i32) -> Result<(), Failed> {
        let line = format!("ended {status}");
        let screen = self.wait_for(&line, |screen| has_line(screen, &line))?;
        assert!(!screen.contains("knobgate top: events of"), "{screen}");
        eventually("the modes are stored", || {
            fs::read(self.path().join("after")).is_ok_and(|modes| modes.ends_with(b"\n"))
        });
        self.expect_given_back()?;
        let modes = |name: &str| fs::read_to_string(self.path().join(name));
        assert_eq!(modes("before")?, modes("after")?);
        Ok(fs::remove_file(self.path().join("after"))?)
    }

    fn expect_given_back(&self) -> Result<(), Failed> {
        let state = self.tmux(["display-message", "-p", "#{alternate_on} #{cursor_flag}"])?;
        assert_eq!(state, "0 1\n", "the alternate screen is left, and the cursor is visible");
        Ok(())
    }

    /// The process id of `top`.
    fn pid(&self) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.path().join("pid"))?.trim().to_owned())
    }
}

fn has_line(screen: &str, line: &str) -> bool {
    screen.lines().any(|other| other == line)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.command().arg("kill-server").output();
    }
}

fn forward(cgroup: &Cgroup) -> Result<(), Failed> {
    let script = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 65 >/proc/sys/net/ipv4/ip_default_ttl";
    shell(cgroup, script).output().map(drop)?;
    Ok(())
}

fn seen() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-top-seen");
    let below = cgroup.create("web.service")?;
    attach(policy(POLICY).path(), &cgroup, "t-top-seen");
    forward(&below)?;

    let terminal = Terminal::start()?;
    terminal.start_top("t-top-seen")?;
    // What was before the start is there, and marked.
    terminal.shows(&["RULES 2 ", "EVENTS 2\n", "earlier", "DENIED      0/s"])?;
    forward(&below)?;
    terminal.shows(&[
        "EVENTS 4\n",
        "DENY EPERM    write net.ipv4.ip_forward",
        "unit web.service",
        "t-top-seen            enforce ",
    ])?;

    // The chosen rule, an event, a knob and its history, help.
    terminal.press("Enter")?;
    terminal.shows(&[
        "deny write net.ipv4.ip_forward log(all)\n",
        "1 sent and 0 suppressed since the start, 1 earlier",
    ])?;
    terminal.go_back()?;
    for key in ["Tab", "Enter"] {
        terminal.press(key)?;
    }
    terminal.shows(&["Event\n", if knows_tasks() { "  comm        sh\n" } else { "  gid         0\n" }])?;
    terminal.go_back()?;
    for key in ["Tab", "j", "Enter"] {
        terminal.press(key)?;
    }
    terminal.shows(&["net.ipv4.ip_forward, the last access first", "DENY EPERM", r#""0\n" → "1\n""#])?;
    terminal.go_back()?;
    terminal.press("?")?;
    terminal.shows(&["Keys\n"])?;
    terminal.go_back()?;

    // A pause, and a filter with a mistake in it.
    terminal.press("p")?;
    terminal.shows(&["PAUSED, 0 since then"])?;
    forward(&below)?;
    terminal.shows(&["PAUSED, 2 since then", "EVENTS 4\n"])?;
    terminal.press("p")?;
    terminal.shows(&["EVENTS 6\n"])?;
    terminal.type_text("/verdict == dney")?;
    terminal.press("Enter")?;
    terminal.shows(&["error: at character 12", "filter: verdict == dney"])?;
    terminal.press("C-u")?;
    terminal.enter("verdict == deny and type == event")?;
    terminal.shows(&["EVENTS 3\n", "filter: verdict == deny and type == event"])?;

    for (width, height, shown) in [
        ("120", "40", "? help  q quit"),
        ("30", "5", "The terminal is too small:\n"),
        ("1", "1", "T"),
        ("80", "24", "EVENTS 3\n"),
    ] {
        terminal.tmux(["resize-window", "-x", width, "-y", height])?;
        terminal.shows(&[shown])?;
    }

    // The headline, as long as denials come.
    terminal.wait_for("a rate", |screen| {
        forward(&below).is_ok() && screen.contains("DENIED") && !screen.contains("DENIED      0/s")
    })?;

    // The cgroup is removed, and keeps its name.
    eventually("its processes are gone", || below.procs().is_ok_and(|pids| pids.is_empty()));
    below.remove()?;
    terminal.shows(&["(gone) unit web.ser…"])?;
    terminal.press("q")?;
    terminal.expect_end(0)
}

fn counted_once() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-top-flood");
    attach(
        policy("policy t-top\ndeny write net.ipv4.ip_forward log(500/s)\n").path(),
        &cgroup,
        "t-top-flood",
    );
    let terminal = Terminal::start()?;
    let script = "i=0; while [ $i -lt 40000 ]; do echo 1 >/proc/sys/net/ipv4/ip_forward; i=$((i+1)); done";
    let mut flood = shell(&cgroup, script).stderr(Stdio::null()).spawn()?;
    terminal.start_top("t-top-flood")?;
    assert!(flood.try_wait()?.is_none(), "it has started while events came");
    flood.wait()?;
    let is_total = |line: &str| line.trim_start().starts_with("t-top-flood ") && line.ends_with(" 40000");
    terminal.wait_for("all events, once", |screen| screen.lines().any(is_total))?;
    std::thread::sleep(Duration::from_secs(2));
    let screen = terminal.screen()?;
    assert!(screen.lines().any(is_total), "{screen}");
    terminal.press("q")?;
    terminal.expect_end(0)
}

fn given_back() -> Result<(), Failed> {
    let terminal = Terminal::start()?;
    for end in ["q", "C-c", "Escape", "-INT", "-TERM", "-HUP", "-QUIT", "-USR1", "-USR2", "-ALRM"] {
        terminal.start_top("")?;
        match end.strip_prefix('-') {
            Some(_) => {
                let killed = Command::new("kill").args([end, &terminal.pid()?]).status()?;
                assert!(killed.success(), "{killed}");
            }
            None => terminal.press(end)?,
        }
        terminal.expect_end(0)?;
    }

    // Nobody is there to quit it when the terminal has gone.
    terminal.start_top("")?;
    let process = terminal.pid()?.parse()?;
    assert!(is_running(process));
    terminal.tmux(["kill-server"])?;
    eventually("top has ended with its terminal", || !is_running(process));
    Ok(())
}

fn suspended() -> Result<(), Failed> {
    let terminal = Terminal::start()?;
    terminal.start_top("")?;
    for way in ["C-z", "kill"] {
        match way {
            "kill" => _ = Command::new("kill").args(["-TSTP", &terminal.pid()?]).status()?,
            key => terminal.press(key)?,
        }
        terminal
            .wait_for("a prompt", |screen| screen.contains("Stopped") && screen.trim_end().ends_with('$'))?;
        terminal.expect_given_back()?;
        terminal.enter("clear; stty -g >stopped; fg")?;
        terminal.shows(&["knobgate top: events of"])?;
        let modes = |name: &str| fs::read_to_string(terminal.path().join(name));
        assert_eq!(modes("before")?, modes("stopped")?);
        assert_eq!(terminal.tmux(["display-message", "-p", "#{alternate_on} #{cursor_flag}"])?, "1 0\n");
    }
    terminal.press("q")?;
    // What came after it on its line is not run by every shell.
    terminal.wait_for("a prompt", |screen| !screen.contains("knobgate top: events of"))?;
    terminal.expect_given_back()
}
