//! Recorded events in which everything that others choose is made up by somebody who means harm.

use std::fmt::Write;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::knobgate;

/// Texts that control terminals, reorder or hide what is around them, or end a line, a table or an element.
fn hostile() -> impl Strategy<Value = String> {
    let some = prop::sample::select(vec![
        "\u{1b}[2J",
        "\u{1b}]0;owned\u{7}",
        "\u{9b}2J",
        "\0",
        "\r",
        "\n",
        "\t",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{202e}",
        "\u{2066}",
        "\u{feff}",
        "\u{200b}",
        "\u{e0041}",
        "</script>",
        "<b>",
        "|",
        "`",
        "\"",
        "\\",
        "# ",
        "\\x1b",
        "\u{301}",
        "漢",
        " uid=0",
        "",
    ]);
    let some = prop_oneof![4 => some.prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from), 1 => "[a-z]{1,9}"];
    prop_oneof![9 => prop::collection::vec(some, 0..8), 1 => Just(vec!["\u{202e}ab\u{1b}c".to_owned(); 500])]
        .prop_map(|parts| parts.concat())
}

/// A line of a stream; `None` as an outcome is one that says what was suppressed.
fn line() -> impl Strategy<Value = Value> {
    let texts = prop::collection::vec(hostile(), 16);
    let outcome = prop::option::weighted(0.9, prop::sample::select(vec!["allow", "deny", "rewrite"]));
    (texts, outcome, any::<(bool, bool)>()).prop_map(|(texts, outcome, (is_audit, is_read))| {
        let mut texts = texts.into_iter();
        let mut text = || Value::String(texts.next().unwrap_or_default());
        let (mut line, rule) = (
            json!({
                "schema": "knobgate.events", "version": 1, "sequence": 1, "time": "2026-11-29T00:00:00Z", "boot_time": 7,
                "boot_id": text(), "attachment": text(), "policy": text(),
                "cgroup": { "id": 7, "path": text() },
                "workload": { "engine": text(), "container": text(), "pod": text(), "namespace": text(), "image": text(), "unit": text() },
            }),
            json!({ "index": 0, "line": 2, "text": { "text": text() }, "eval_error": true }),
        );
        let mut more = json!({ "type": "suppressed", "rule": rule, "count": 3 });
        if let Some(verdict) = outcome {
            more = json!({
                "type": "event", "mode": if is_audit { "audit" } else { "enforce" }, "verdict": verdict,
                "access": if is_read { "read" } else { "write" }, "knob": { "text": text() }, "position": 0,
                "old": { "text": text() }, "new": { "text": text() }, "replacement": { "text": text() }, "rule": rule,
                "reason": text(), "task": { "pid": 7, "uid": 0, "comm": text() },
                "totals": { "sent": 1, "suppressed": 0 }, "origin": 7,
            });
            if verdict == "deny" {
                more["errno"] = "EPERM".into();
            }
            if is_read {
                more.as_object_mut().expect("an object").retain(|name, _| name != "new" && name != "replacement");
            }
        }
        let (line_members, more) = (line.as_object_mut().expect("an object"), more.as_object_mut().expect("an object"));
        line_members.append(more);
        line
    })
}

/// Whether a terminal, a browser or a reader of the text would be led astray.
fn misleads(c: char) -> bool {
    let is_format = matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || is_format
}

const COMMANDS: &[&[&str]] = &[
    &["watch", "--from", "-"],
    &["watch", "--from", "-", "--json"],
    &["watch", "--from", "-", "--filter", "new == \"a\" or comm == \"b\""],
    &["replay", "-", "--policy", "replayed.knob"],
    &["replay", "-", "--policy", "replayed.knob", "--json"],
    &["diff", "replayed.knob", "replayed.knob", "--events", "-"],
    &["learn", "--from", "-", "--accept-loss"],
    &["report", "-"],
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn recorded_events_reach_no_terminal_unescaped(lines in prop::collection::vec(line(), 1..12)) {
        let mut stream = String::new();
        for line in &lines {
            writeln!(stream, "{line}").unwrap();
        }
        for arguments in COMMANDS {
            let output = knobgate([]).args(*arguments).stdin(stream.clone()).output().unwrap();
            prop_assert!(output.status.code().is_some_and(|status| status < 2), "{arguments:?}: {output:?}\n{stream}");
            let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            let found = printed.chars().find(|&c| c != '\n' && misleads(c));
            prop_assert_eq!(found, None, "{:?}: {:?}\n{}", arguments, printed, stream);
        }
        let fields = "attachment,policy,container,pod,namespace,image,unit,cgroup,comm,knob,old,new,stored,rule";
        let output = knobgate(["watch", "--from", "-", "--fields", fields]).stdin(stream.clone()).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        prop_assert_eq!(printed.lines().count(), lines.len(), "{:?}\n{}", printed, stream);
        for line in printed.lines() {
            prop_assert_eq!(line.matches('\t').count(), fields.matches(',').count(), "{:?}\n{}", line, stream);
            prop_assert_eq!(line.chars().find(|&c| c != '\t' && misleads(c)), None, "{:?}\n{}", line, stream);
        }
    }
}
