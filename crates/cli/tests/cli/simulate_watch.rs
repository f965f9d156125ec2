//! `simulate --watch`: what is seen to change, and what is not.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use knobgate_kernel::{ProcessId, Signal};
use tempfile::TempDir;

use crate::{knobgate, snapshot};

/// A scenario in a directory of its own, and the command that plays it.
struct Watching {
    directory: TempDir,
    child: Child,
    lines: Receiver<String>,
    notes: Receiver<String>,
}

/// How long a line is waited for. A play takes a small part of that.
const LIMIT: Duration = Duration::from_secs(120);

/// The lines of a pipe, as they come.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A scenario that reads a knob with this value under the policy `out/p.knob`.
fn scenario(value: &str) -> String {
    format!(
        r#"{{"knobs": [{{"name": "vm.x", "value": "{value}", "handler": {{"kind": "int"}}}}], "cgroups": ["a"],
             "programs": {{"p": {{"policy": "out/p.knob"}}}},
             "steps": [{{"attach": {{"program": "p", "cgroup": "a", "mode": "link"}}}}, {{"read": {{"knob": "vm.x", "cgroup": "a"}}}}]}}"#
    )
}

const ALLOW: &str = "policy p\nallow read **\n";
const DENY: &str = "policy p\ndeny read **\n";

impl Watching {
    /// Starts it, with a policy that allows everything. `arrange` changes the files before.
    fn start(arrange: impl FnOnce(&Path)) -> Self {
        Self::start_with(&[], arrange)
    }

    /// The same with more arguments.
    fn start_with(arguments: &[&str], arrange: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("s.json"), scenario("1")).unwrap();
        fs::create_dir(at("out")).unwrap();
        fs::write(at("out/p.knob"), ALLOW).unwrap();
        arrange(directory.path());
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_knobgate"));
        command.args(["simulate", "--watch", "s.json"]).args(arguments).current_dir(&directory);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        let notes = lines_of(child.stderr.take().unwrap());
        let mut watching = Self { directory, child, lines, notes };
        watching.plays(r#""data":"1\n""#);
        watching
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.at(from), self.at(to)).unwrap();
    }

    /// It is played, and the line of the read has this.
    fn plays(&mut self, expected: &str) {
        let line = || self.lines.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("{expected}: {error}"));
        let attach = line();
        assert!(attach.starts_with(r#"{"step":0,"ok":true"#), "{attach}");
        let read = line();
        assert!(read.contains(expected), "{read}");
        self.says("watching 2 files");
    }

    /// It is not played, for this reason.
    fn fails(&mut self, expected: &str) {
        self.says(expected);
        self.says("watching");
    }

    fn says(&mut self, expected: &str) {
        let note = || self.notes.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("{expected}: {error}"));
        while !note().contains(expected) {}
    }

    fn send(&self, signal: Signal) {
        ProcessId::of_child(&self.child).send(signal).unwrap();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_scenario_is_played_again_when_it_or_a_file_that_it_names_changes() {
    let mut watching = Watching::start(|_| {});
    // Editors write another file and rename it.
    watching.write("s.json.new", &scenario("2"));
    watching.rename("s.json.new", "s.json");
    watching.plays(r#""data":"2\n""#);
    watching.write("out/p.knob", DENY);
    watching.plays(r#""errno":"EPERM""#);
    // Others rename the file before they write a new one.
    watching.rename("out/p.knob", "out/p.knob~");
    watching.write("out/p.knob", ALLOW);
    watching.plays(r#""data":"2\n""#);
    watching.send(Signal::INT);
    assert_eq!(watching.child.wait().unwrap().signal(), Some(Signal::INT.as_raw()));
}

#[test]
fn a_directory_that_was_removed_is_waited_for() {
    let mut watching = Watching::start(|_| {});
    for (policy, expected) in [(DENY, r#""errno":"EPERM""#), (ALLOW, r#""data":"1\n""#)] {
        fs::remove_dir_all(watching.at("out")).unwrap();
        watching.fails("cannot read out/p.knob: No such file or directory");
        fs::create_dir(watching.at("out")).unwrap();
        watching.write("out/p.knob", policy);
        watching.plays(expected);
    }
    watching.rename("out", "old");
    watching.fails("cannot read out/p.knob: No such file or directory");
    watching.rename("old", "out");
    watching.plays(r#""data":"1\n""#);
}

#[test]
fn a_scenario_with_errors_is_played_when_it_has_none_any_more() {
    let mut watching = Watching::start(|_| {});
    watching.write("s.json", &scenario("2")[..40]);
    watching.fails("s.json: line 1, column 40: ");
    watching.write("s.json", &scenario("3"));
    watching.plays(r#""data":"3\n""#);
}

#[test]
fn a_directory_for_the_coverage_is_waited_for() {
    let mut watching = Watching::start_with(&["--coverage", "covered/s.info"], |directory| {
        fs::create_dir(directory.join("covered")).unwrap();
    });
    fs::remove_dir_all(watching.at("covered")).unwrap();
    watching.write("s.json", &scenario("2"));
    watching.fails("cannot write covered/s.info: No such file or directory");
    fs::create_dir(watching.at("covered")).unwrap();
    watching.write("s.json", &scenario("3"));
    watching.says("watching 2 files");
    assert!(watching.at("covered/s.info").exists());
}

#[test]
fn symbolic_links_on_the_way_to_a_file_are_watched() {
    let mut watching = Watching::start(|directory| {
        let at = |name: &str| directory.join(name);
        fs::rename(at("out"), at("debug")).unwrap();
        symlink("debug", at("out")).unwrap();
        fs::rename(at("debug/p.knob"), at("real.knob")).unwrap();
        symlink("../real.knob", at("debug/p.knob")).unwrap();
        fs::create_dir(at("release")).unwrap();
        fs::write(at("release/p.knob"), DENY).unwrap();
    });
    let link = |target: &str, name: &str| {
        symlink(target, watching.at("new")).unwrap();
        watching.rename("new", name);
    };
    link("release", "out");
    watching.plays(r#""errno":"EPERM""#);
    watching.write("release/p.knob", ALLOW);
    watching.plays(r#""data":"1\n""#);
    symlink("debug", watching.at("new")).unwrap();
    watching.write("real.knob", DENY);
    watching.rename("new", "out");
    watching.plays(r#""errno":"EPERM""#);
    watching.write("real.knob", ALLOW);
    watching.plays(r#""data":"1\n""#);
}

#[test]
fn other_files_of_a_directory_do_not_delay_a_play() {
    let mut watching = Watching::start(|_| {});
    for number in 0..50 {
        watching.write(&format!("out/{number}.o"), "");
    }
    let directory = watching.at("out");
    let (done, is_done) = channel::<()>();
    let busy = std::thread::spawn(move || {
        // More often than the command waits for.
        while is_done.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
            fs::write(directory.join("other.o"), "").unwrap();
        }
    });
    watching.write("out/p.knob", DENY);
    watching.says("out/p.knob has changed");
    watching.plays(r#""errno":"EPERM""#);
    drop(done);
    busy.join().unwrap();
}

#[test]
fn events_that_the_kernel_has_lost_are_made_up_for() {
    let mut watching = Watching::start(|_| {});
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let most: usize = most.trim().parse().unwrap();
    watching.send(Signal::STOP);
    // Equal events that follow each other are one.
    for _ in 0..most.div_ceil(4) + 1 {
        for name in ["a", "b"] {
            watching.write(name, "");
            fs::remove_file(watching.at(name)).unwrap();
        }
    }
    watching.write("s.json", &scenario("4"));
    watching.send(Signal::CONT);
    watching.plays(r#""data":"4\n""#);
}

#[test]
fn standard_input_cannot_be_watched() {
    snapshot("simulate-watch-stdin", [knobgate(["simulate", "--watch", "-"]).stdin("{}")]);
}
