use serde_json::Value;

use crate::sarif::assert_is_sarif;
use crate::{knobgate, snapshot};

#[test]
fn differences_have_both_rules_and_an_example() {
    snapshot("diff-text", [knobgate(["diff", "old.knob", "new.knob"])]);
}

#[test]
fn a_policy_does_not_differ_from_itself() {
    snapshot(
        "diff-same",
        [
            knobgate(["diff", "old.knob", "old.knob", "--fail-on", "any"]),
            knobgate(["diff", "old.knob", "old.knob", "--format", "markdown"]),
            knobgate(["diff", "machine.json", "machine.json", "--format", "json"]),
        ],
    );
}

#[test]
fn policies_that_apply_to_others_differ() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).unwrap();
    };
    write("a.knob", "policy p\napply if namespace == \"dev\"\napply if engine == crio\n");
    write("b.knob", "policy p\napply if engine == crio\napply if namespace == \"a|b\"\n");
    write("c.knob", "policy p\napply if engine == crio\nallow write vm.swappiness\n");
    let diff = |arguments: &[&str]| knobgate(["diff"]).args(arguments).current_dir(directory.path());
    snapshot(
        "diff-selectors",
        [
            diff(&["a.knob", "b.knob"]),
            diff(&["a.knob", "b.knob", "--fail-on", "newly-allowed"]),
            diff(&["a.knob", "b.knob", "--fail-on", "any", "--format", "markdown"]),
            diff(&["b.knob", "c.knob"]),
            diff(&["a.knob", "b.knob", "--format", "json"]),
        ],
    );
    write("fewer.knob", "policy p\napply if engine == crio\n");
    for (old, new, fail_on, status) in [
        ("a.knob", "fewer.knob", "newly-allowed", 1),
        ("a.knob", "fewer.knob", "newly-denied", 0),
        ("fewer.knob", "a.knob", "newly-allowed", 0),
        ("fewer.knob", "a.knob", "newly-denied", 1),
        ("fewer.knob", "fewer.knob", "any", 0),
    ] {
        let output = diff(&[old, new, "--fail-on", fail_on]).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{old} {new} {fail_on}");
    }
    let printed = diff(&["a.knob", "b.knob", "--format", "sarif"]).output().unwrap().stdout;
    let results = assert_is_sarif(&printed);
    let found: Vec<_> = results
        .iter()
        .map(|result| {
            let place = &result["locations"][0]["physicalLocation"];
            (result["ruleId"].as_str().unwrap(), place["region"]["startLine"].as_u64())
        })
        .collect();
    assert_eq!(found, [("no-longer-applied", None), ("newly-applied", Some(3))]);
    let old = &results[0]["relatedLocations"][0]["physicalLocation"];
    assert_eq!(old["artifactLocation"]["uri"], "a.knob");
    assert_eq!(old["region"]["startLine"], 2);
}

#[test]
fn differences_fit_a_comment() {
    snapshot("diff-markdown", [knobgate(["diff", "old.knob", "new.knob", "--format", "markdown"])]);
}

#[test]
fn differences_are_json() {
    let printed = knobgate(["diff", "old.knob", "new.knob", "--format", "json"]).output().unwrap().stdout;
    let document: Value = serde_json::from_slice(&printed).unwrap();
    assert_eq!(document["counts"]["newly-allowed"], 4, "{document:#}");
    let first = &document["classes"][0];
    assert_eq!(first["change"], "newly-allowed");
    assert_eq!(first["names"][0]["old"]["default_line"], Value::Null);
    assert_eq!(first["names"][0]["new"]["rule"]["line"], 6);
}

#[test]
fn differences_are_sarif() {
    let printed = knobgate(["diff", "old.knob", "new.knob", "--format", "sarif"]).output().unwrap().stdout;
    let results = assert_is_sarif(&printed);
    let first = &results[0];
    assert_eq!((&first["ruleId"], &first["level"]), (&"newly-allowed".into(), &"error".into()));
    let place = &first["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "new.knob");
    assert_eq!(place["region"]["startLine"], 6);
    let old = &first["relatedLocations"][0]["physicalLocation"];
    assert_eq!(old["artifactLocation"]["uri"], "old.knob");
}

#[test]
fn the_exit_status_says_whether_a_change_is_there() {
    let narrower =
        "policy web-tier\nallow write net.ipv4.tcp_rmem if new[0] >= 4096\nallow write vm.swappiness nolog\n";
    for (new, fail_on, status) in [
        (None, &["newly-allowed"][..], 1),
        (None, &["newly-denied"], 1),
        (Some(narrower), &["newly-allowed"], 0),
        (Some(narrower), &["newly-denied"], 1),
        (Some(narrower), &["newly-allowed", "any"], 1),
        (Some(narrower), &[], 0),
    ] {
        let mut command = knobgate(["diff", "old.knob", if new.is_some() { "-" } else { "new.knob" }]);
        for change in fail_on {
            command = command.args(["--fail-on", change]);
        }
        command.stdin(new.unwrap_or_default()).assert().code(status);
    }
    // What is undecided counts as newly allowed.
    let old = "policy x\ndeny write vm.a if count(new) == new[0]\n";
    let same = "policy x\ndeny write vm.a if new[0] == count(new)\n";
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/undecided.knob"), same).unwrap();
    let new = concat!(env!("CARGO_TARGET_TMPDIR"), "/undecided.knob");
    knobgate(["diff", "-", new, "--fail-on", "newly-allowed"]).stdin(old).assert().code(1);
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let complex = "policy x\nallow write **a???????????????????????\n";
    snapshot(
        "diff-errors",
        [
            knobgate(["diff", "-", "-"]),
            knobgate(["diff", "nowhere.knob", "new.knob"]),
            knobgate(["diff", "old.knob", "-"]).stdin("policy x\nalow write vm.swappiness\n"),
            knobgate(["diff", "old.knob", "-"]).stdin(complex),
            knobgate(["diff", "old.knob"]),
        ],
    );
}

#[test]
fn a_change_of_the_mode_is_a_change_of_what_passes() {
    let audit = "policy x\nmode audit\ndeny write vm.a\n";
    let enforce = "policy x\ndeny write vm.a\n";
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/enforce.knob"), enforce).unwrap();
    let mut command = knobgate(["diff", "enforce.knob", "-"]);
    command = command.current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(audit);
    let mut back = knobgate(["diff", "-", "enforce.knob"]);
    back = back.current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(audit);
    snapshot("diff-modes", [command, back]);
}

#[test]
fn a_policy_cannot_drive_the_terminal() {
    let hostile =
        "policy x\nset write vm.\\x1b\\[31m to \"\\x1b[2J`|<b>\" # \u{1b}]0;\nallow write vm.`b\\|`\n";
    for format in ["text", "json", "markdown", "sarif"] {
        let command = knobgate(["diff", "old.knob", "-", "--format", format, "--color", "always"]);
        let output = command.stdin(hostile).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!printed.contains("\u{1b}[2J") && !printed.contains("\u{1b}[31m\u{1b}"), "{printed:?}");
        assert!(!printed.contains("\u{1b}]"), "{printed:?}");
    }
}

#[test]
fn recorded_events_are_counted_by_class() {
    let diff =
        |events: &'static str| knobgate(["diff", "replayed.knob", "tour-like.knob", "--events", events]);
    snapshot(
        "diff-events",
        [
            diff("events.jsonl"),
            diff("events.jsonl").args(["--format", "markdown"]),
            diff("no-such-file.jsonl"),
            diff("replayed.knob"),
            knobgate(["diff", "-", "replayed.knob", "--events", "-"]),
        ],
    );
    let printed = diff("events.jsonl").args(["--format", "json"]).output().unwrap().stdout;
    let document: Value = serde_json::from_slice(&printed).unwrap();
    let of_class = |class: &Value| class["events"]["count"].as_u64().unwrap();
    let in_classes: u64 = document["classes"].as_array().unwrap().iter().map(of_class).sum();
    let others = ["same", "unknown"].map(|member| document["events"][member].as_u64().unwrap());
    // All lines but the counts of suppressed and lost events.
    assert_eq!((in_classes + others[0] + others[1], in_classes > 0), (17, true), "{document:#}");
    let printed = diff("events.jsonl").args(["--format", "sarif"]).output().unwrap().stdout;
    let results = assert_is_sarif(&printed);
    assert!(results.iter().any(|result| {
        result["message"]["text"].as_str().is_some_and(|text| text.contains(" events, 2026-"))
    }));
}
