use snapbox::cmd::Command;

use crate::{TESTS, knobgate, snapshot};

/// `knobgate replay` of recorded events.
fn replay<const N: usize>(arguments: [&str; N]) -> Command {
    knobgate(["replay", "events.jsonl", "--policy", "replayed.knob"]).args(arguments)
}

fn events(file: &str) -> String {
    std::fs::read_to_string(format!("{TESTS}/policies/{file}")).unwrap()
}

#[test]
fn classes_are_grouped_by_outcome() {
    snapshot("replay", [replay([])]);
}

#[test]
fn json_has_everything() {
    let output = replay(["--json"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let classes = report["classes"].as_array().unwrap();
    let of_classes = |outcome: &str| -> u64 {
        let of_outcome = classes.iter().filter(|class| class["outcome"] == outcome);
        of_outcome.map(|class| class["events"].as_u64().unwrap()).sum()
    };
    let counts = report["events"].as_object().unwrap();
    assert_eq!(counts.len(), 6);
    for (outcome, events) in counts {
        assert_eq!(of_classes(outcome), events.as_u64().unwrap(), "{outcome}");
    }
    // The example is the event as it was.
    let example = serde_json::to_string(&classes[0]["example"]).unwrap();
    let example: serde_json::Value = serde_json::from_str(&example).unwrap();
    let stream = events("events.jsonl");
    assert!(stream.lines().any(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["sequence"] == example["sequence"] && event["knob"] == example["knob"]
    }));
    snapshot("replay-json", [replay(["--json"])]);
}

#[test]
fn the_exit_status_is_that_of_what_was_asked_for() {
    let stream = events("events.jsonl");
    let lines: Vec<&str> = stream.lines().collect();
    let status = |stream: &str, rules: &str, fail_on: &str| {
        let directory = tempfile::tempdir().unwrap();
        let policy = directory.path().join("p.knob");
        std::fs::write(&policy, format!("policy p\n{rules}\n")).unwrap();
        let command = knobgate(["replay", "-", "--policy", policy.to_str().unwrap(), "--fail-on", fail_on]);
        command.stdin(stream.to_owned()).output().unwrap().status.code().unwrap()
    };
    // A denied write of kernel.core_pattern by root, and a rewrite of net.core.somaxconn.
    let (denied, rewritten) = (lines[0], lines[1]);
    let without_uid = denied.replace("\"uid\":0,", "");
    let (deny, allow, user) = ("deny write **", "allow write **", "allow write ** if uid == 1000");
    for (stream, rules, fail_on, expected) in [
        (denied, deny, "any", 0),
        (denied, allow, "newly-allowed", 1),
        (denied, allow, "newly-denied", 0),
        (denied, allow, "any", 1),
        (rewritten, deny, "newly-denied", 1),
        (rewritten, deny, "newly-allowed", 0),
        (rewritten, allow, "newly-allowed", 1),
        (denied, user, "any", 0),
        (&without_uid, user, "newly-allowed", 1),
        (&without_uid, user, "newly-denied", 0),
        (&without_uid, user, "any", 1),
    ] {
        assert_eq!(status(stream, rules, fail_on), expected, "{rules} {fail_on}");
    }
}

#[test]
fn a_stream_that_was_cut_is_replayed_up_to_there() {
    let stream = events("events.jsonl");
    let good = stream.lines().next().unwrap();
    let cut = &good[..good.len() - 7];
    let later = r#"{"schema":"knobgate.events","version":2,"type":"hat","sequence":9}"#;
    let from_stdin = |stream: String| knobgate(["replay", "-", "--policy", "replayed.knob"]).stdin(stream);
    snapshot(
        "replay-wrong",
        [
            from_stdin(format!("{good}\n{cut}")),
            from_stdin(format!("{later}\n{good}\n")),
            from_stdin(String::new()),
            from_stdin(format!("{good}\n\n{cut}\n{good}\n")),
            from_stdin("not an event\n".to_owned()),
            from_stdin(format!("{good}\n{}", good.replace("knobgate.events", "\u{9b}2J"))),
            knobgate(["replay", "no-such-file.jsonl", "--policy", "replayed.knob"]),
            knobgate(["replay", "events.jsonl", "--policy", "no-such-file.knob"]),
            knobgate(["replay", "-", "--policy", "-"]),
            knobgate(["replay", "events.jsonl"]),
            knobgate(["replay", "replayed.knob", "--policy", "replayed.knob"]),
        ],
    );
}

#[test]
fn nothing_that_was_chosen_by_others_drives_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("p.knob");
    std::fs::write(&policy, "policy p\ndefault read deny(EIO)\nallow write **\n").unwrap();
    let hostile = |arguments: &[&str]| {
        let command = knobgate(["replay", "hostile-events.jsonl", "--policy", policy.to_str().unwrap()]);
        String::from_utf8(command.args(arguments).output().unwrap().stdout).unwrap()
    };
    for arguments in [&[][..], &["--json"], &["--color", "always"]] {
        let printed = hostile(arguments).replace("\u{1b}[", "");
        let obeyed = |c: char| {
            (c.is_control() && c != '\n')
                || ('\u{200b}'..='\u{200f}').contains(&c)
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c)
                || ('\u{e0000}'..='\u{e007f}').contains(&c)
        };
        assert!(printed.contains("newly") && printed.len() > 2000, "{printed}");
        assert!(!printed.contains(obeyed), "{printed:?}");
    }
}
