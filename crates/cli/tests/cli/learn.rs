use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::process::{self, Child, Stdio};

use knobgate_kernel::{ProcessId, Signal};
use snapbox::cmd::Command;
use tempfile::TempDir;

use crate::{knobgate, snapshot};

#[test]
fn wrong_arguments_are_usage_errors() {
    snapshot(
        "learn-usage",
        [
            knobgate(["learn"]),
            knobgate(["learn", "--cgroup", "/", "--", "true"]),
            knobgate(["learn", "--for", "1m", "--", "true"]),
            knobgate(["learn", "--cgroup", "/", "--for", "10"]),
            knobgate(["learn", "--cgroup", "/", "--runs", "2"]),
            knobgate(["learn", "--runs", "0", "--", "true"]),
            knobgate(["learn", "--slack", "-1", "--", "true"]),
            knobgate(["learn", "--name", "a b", "--", "true"]),
            knobgate(["learn", "--name", "a", "--merge", "web.knob", "--", "true"]),
            knobgate(["learn", "--merge", "nowhere.knob", "--", "true"]),
            knobgate(["learn", "--out", "no/such/directory/web.knob", "--", "true"]),
            knobgate(["learn", "--out", ".", "--", "true"]),
            knobgate(["learn", "--out", "web.json", "--", "true"]),
        ],
    );
}

#[test]
fn recorded_events_become_comments() {
    snapshot(
        "learn-from",
        [
            knobgate(["learn", "--from", "events.jsonl"]),
            knobgate(["learn", "--from", "events.jsonl", "--reads", "--accept-loss"]),
            knobgate(["learn", "--from", "hostile-events.jsonl", "--accept-loss"]),
            knobgate(["learn", "--from", "-"]).stdin("{}\n"),
            knobgate(["learn", "--from", "nowhere.jsonl"]),
            knobgate(["learn", "--from", "events.jsonl", "--", "true"]),
        ],
    );
}

/// A directory with a policy, and events of what it would deny.
fn reviewed() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let policy = "policy web\nmode audit\n\ndefault write deny\n\nallow write net.core.somaxconn if new == 128\n\n\
                  test \"as it was\" {\n  write net.core.somaxconn \"128\\n\" => allow\n  write net.core.somaxconn \"129\\n\" => deny\n}\n";
    fs::write(directory.path().join("web.knob"), policy).unwrap();
    let event = |(second, policy, knob, new, comm): (usize, &str, &str, &str, &str)| {
        let value = if new.is_empty() {
            "\"secret\":true,".to_owned()
        } else {
            format!("\"new\":{{\"text\":\"{new}\"}},")
        };
        format!(
            "{{\"schema\":\"knobgate.events\",\"version\":1,\"type\":\"event\",\"sequence\":1,\"boot_time\":{second},\
             \"time\":\"2026-11-29T12:00:0{second}Z\",\"policy\":\"{policy}\",\"mode\":\"audit\",\"verdict\":\"deny\",\"errno\":\"EPERM\",\
             \"access\":\"write\",\"knob\":\"{knob}\",\"position\":0,{value}\"rule\":{{\"default\":\"write\",\"line\":4,\"text\":{{\"text\":\
             \"default write deny\"}}}},\"task\":{{\"pid\":7,\"uid\":0,\"gid\":0,\"comm\":\"{comm}\"}},\"cgroup\":{{\"id\":1,\"path\":\"/x/y\"}},\
             \"workload\":{{\"engine\":\"docker\",\"container\":\"web\\u001b[31m\"}}}}\n"
        )
    };
    let events = [
        (1, "web", "net.core.somaxconn", "129\\n", "sh"),
        (2, "web", "net.core.somaxconn", "0x100\\n", "a\\u202eb"),
        (3, "web", "net.core.somaxconn", "128\\n", "sh"),
        (4, "web", "kernel.core_pattern", "|/tmp/x\\n", "sh"),
        (5, "web", "net.ipv4.tcp_fastopen_key", "", "sh"),
        (6, "web", "kernel.domainname", "\\u001b]0;x\\u0007\\n", "sh"),
        (7, "other", "vm.swappiness", "1\\n", "sh"),
    ];
    fs::write(directory.path().join("events.jsonl"), events.map(event).concat()).unwrap();
    directory
}

fn review(directory: &TempDir, answers: &str) -> Command {
    knobgate(["learn", "--review", "web.knob", "--from", "events.jsonl"])
        .current_dir(directory.path())
        .stdin(answers.to_owned())
}

#[test]
fn a_review_asks_about_each_knob_and_writes_at_the_end() {
    let directory = reviewed();
    let policy = || knobgate(["fmt", "-"]).stdin(fs::read(directory.path().join("web.knob")).unwrap());
    snapshot(
        "learn-review",
        [
            // Help, what is not possible, and answers that are none; then each of the decisions, and some taken back.
            review(
                &directory,
                "?\na\ng\nx\nd\nu\nu\ni\ng\nback\nallow\ng\n3\n1\nu\nd\ng\n0\n2\nmaybe\nu\nq\nn\n",
            ),
            review(&directory, "i\na\na\nd\ny\n"),
            policy(),
        ],
    );
    snapshot(
        "learn-reviewed",
        [
            // Only what was ignored is left.
            review(&directory, "deny\nyes\n"),
            review(&directory, ""),
            knobgate(["test", "web.knob"]).current_dir(directory.path()),
            policy(),
        ],
    );
}

#[test]
fn a_review_that_ends_early_changes_nothing() {
    let directory = reviewed();
    let path = directory.path().join("web.knob");
    let before = fs::read(&path).unwrap();
    for answers in ["", "i\n", "q\n", "d\nq\nn\n", "i\ni\ni\ni\n"] {
        let output = review(&directory, answers).output().unwrap();
        assert_eq!(fs::read(&path).unwrap(), before, "{answers:?}: {output:?}");
        let is_ended = answers.len() > 2 || answers == "q\n";
        assert_eq!(output.status.code(), Some(if is_ended { 0 } else { 1 }), "{answers:?}: {output:?}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "no other file is left");
}

#[test]
fn what_was_decided_before_a_review_ended_early_is_in_a_file_beside() {
    let directory = reviewed();
    let path = |name: &str| directory.path().join(name);
    let before = fs::read(path("web.knob")).unwrap();
    fs::set_permissions(path("web.knob"), Permissions::from_mode(0o640)).unwrap();
    // This file is somebody else's.
    symlink("elsewhere", path("web.knob.reviewed")).unwrap();
    let go_on = knobgate(["learn", "--review", "web.knob.reviewed.2", "--from", "events.jsonl"]);
    snapshot(
        "learn-review-early",
        [
            review(&directory, "d\na\n"),
            go_on.current_dir(directory.path()).stdin("a\nd\ny\n"),
            // At the last question, whether to write it.
            review(&directory, "d\nd\nd\nd\n"),
            knobgate(["test", "web.knob.reviewed.2", "web.knob.reviewed.3"]).current_dir(directory.path()),
        ],
    );
    assert_eq!(fs::read(path("web.knob")).unwrap(), before);
    assert_eq!(path("web.knob.reviewed.3").metadata().unwrap().mode() & 0o777, 0o640);
    assert!(!path("elsewhere").exists());
}

#[test]
fn what_cannot_be_kept_in_a_file_is_printed() {
    let directory = reviewed();
    // With more letters, it is too long for a name.
    let name = "x".repeat(250) + ".knob";
    fs::rename(directory.path().join("web.knob"), directory.path().join(&name)).unwrap();
    let review = knobgate(["learn", "--review", &name, "--from", "events.jsonl"]);
    let output = review.current_dir(directory.path()).stdin("d\n").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("warning: what was decided (1 rule) cannot be written to a file beside x"),
        "{error}"
    );
    assert!(error.contains("\n+deny write kernel.core_pattern"), "{error}");
}

#[test]
fn a_line_that_is_too_long_is_no_answer() {
    let directory = reviewed();
    let before = fs::read(directory.path().join("web.knob")).unwrap();
    for start in ["x", " ", "a "] {
        let line = start.to_owned() + &start[start.len() - 1..].repeat(1024 - start.len()) + "d\n";
        let output = review(&directory, &(line + "q\n")).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.ends_with("[?]: q\nweb.knob is unchanged\n"), "{printed}");
    }
    assert_eq!(fs::read(directory.path().join("web.knob")).unwrap(), before);
}

#[test]
fn counts_that_a_stream_makes_up_do_not_end_a_review() {
    let directory = reviewed();
    let lines = ["suppressed", "lost"].map(|kind| {
        let (count, head) = (u64::MAX, r#""schema":"knobgate.events","version":1"#);
        format!("{{{head},\"type\":\"{kind}\",\"sequence\":1,\"boot_time\":1,\"count\":{count}}}\n")
    });
    fs::write(directory.path().join("events.jsonl"), lines.concat()).unwrap();
    let output = review(&directory, "").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("note: 18446744073709551615× left out: it was suppressed or lost"), "{error}");
    assert_eq!(output.status.code(), Some(0));
}

/// A review that asks whether to write the policy.
fn review_at_its_end(directory: &TempDir) -> Child {
    // Shells start background processes with SIGINT ignored. The test would pass that on.
    let mut child = process::Command::new("env")
        .args(["--default-signal", env!("CARGO_BIN_EXE_knobgate")])
        .args(["learn", "--review", "web.knob", "--from", "events.jsonl"])
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(b"d\nd\nd\nd\n").unwrap();
    let mut printed = Vec::new();
    while !printed.ends_with(b"write web.knob? [y]es, [n]o, [u]ndo: ") {
        let mut byte = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        printed.push(byte[0]);
    }
    child
}

#[test]
fn a_signal_during_a_review_changes_nothing_and_what_was_decided_is_kept() {
    for (number, signal) in [(2, Signal::INT), (15, Signal::TERM), (1, Signal::HUP)] {
        let directory = reviewed();
        let path = directory.path().join("web.knob");
        let before = fs::read(&path).unwrap();
        let mut child = review_at_its_end(&directory);
        ProcessId::of_child(&child).send(signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(number));
        assert_eq!(fs::read(&path).unwrap(), before);
        let kept = fs::read_to_string(directory.path().join("web.knob.reviewed")).unwrap();
        assert!(kept.contains("\ndeny write net.core.somaxconn if "), "{kept}");
    }
}

#[test]
fn what_somebody_else_wrote_during_a_review_stays() {
    let directory = reviewed();
    let path = directory.path().join("web.knob");
    let mut child = review_at_its_end(&directory);
    fs::write(&path, "policy other\n").unwrap();
    child.stdin.take().unwrap().write_all(b"y\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("error: web.knob was changed by somebody else during the review: "), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "policy other\n");
    let kept = fs::read_to_string(directory.path().join("web.knob.reviewed")).unwrap();
    assert!(kept.contains("\n# reviewed"), "{kept}");
}

#[test]
fn what_cannot_be_reviewed_is_an_error() {
    let directory = reviewed();
    let path = directory.path().join("web.knob");
    // A policy with a failing test is not reviewed.
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"129\\n\" => deny", "\"129\\n\" => allow")).unwrap();
    snapshot(
        "learn-review-wrong",
        [
            review(&directory, ""),
            knobgate(["learn", "--review", "-", "--from", "events.jsonl"]),
            knobgate(["learn", "--review", "web.knob", "--from", "-"]),
            knobgate(["learn", "--review", "nowhere.knob", "--from", "events.jsonl"]),
            knobgate(["learn", "--review", "web.knob", "--from", "nowhere.jsonl"]),
            knobgate(["learn", "--review", "crash.json", "--from", "events.jsonl"]),
            knobgate(["learn", "--review", "web.knob", "--merge", "new.knob"]),
            knobgate(["learn", "--review", "web.knob", "--", "true"]),
        ],
    );
}
