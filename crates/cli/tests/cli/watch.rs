use snapbox::cmd::Command;

use crate::{TESTS, knobgate, snapshot};

/// `knobgate watch` of recorded events.
fn watch<const N: usize>(arguments: [&str; N]) -> Command {
    knobgate(["watch", "--from", "events.jsonl"]).args(arguments)
}

/// What `knobgate watch` prints about recorded events.
fn printed<const N: usize>(arguments: [&str; N]) -> String {
    let output = watch(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn events(file: &str) -> String {
    std::fs::read_to_string(format!("{TESTS}/policies/{file}")).unwrap()
}

#[test]
fn events_are_lines() {
    snapshot("watch-from", [watch([])]);
}

#[test]
fn json_is_that_of_the_stream() {
    let normal =
        events("events.jsonl").replace("00:00:00Z", "00:00:00.000000000Z").replace("0.25Z", "0.250000000Z");
    assert_eq!(printed(["--json"]), normal);
}

#[test]
fn fields_are_between_tabs() {
    snapshot(
        "watch-fields",
        [
            watch(["--fields", "type,time,verdict,outcome,errno,mode,access,knob,count"]),
            watch(["--fields", "new,old,stored,pos,line,rule,policy,attachment", "--count", "9"]),
            watch(["--fields", "comm,pid,tid,uid,gid,netns,utsns,ipcns,userns,pidns,mntns", "--count", "1"]),
            watch(["--fields", "cgroup,cgroup_id,container,pod,namespace,image,unit", "--count", "5"]),
        ],
    );
}

#[test]
fn a_filter_shows_also_what_it_cannot_be_evaluated_for() {
    snapshot(
        "watch-filter",
        [
            watch(["--filter", "verdict == rewrite and type == event", "--fields", "knob,outcome"]),
            watch(["--filter", "type == event and uid != 0", "--fields", "uid,knob"]),
            watch(["--filter", "type == event and stored == 65535", "--fields", "knob,stored,new"]),
            watch(["--filter", "container == \"web-1\"", "--fields", "type,container"]),
            watch(["--filter", "verdict == dny"]),
        ],
    );
}

#[test]
fn nothing_that_was_chosen_by_others_drives_the_terminal() {
    let hostile = || knobgate(["watch", "--from", "hostile-events.jsonl"]);
    let fields = "comm,knob,new,old,policy,attachment,rule,cgroup,container,pod,namespace,image,unit";
    snapshot("watch-hostile", [hostile(), hostile().args(["--fields", fields])]);

    for arguments in [&[][..], &["--json"], &["--fields", fields], &["--color", "always"]] {
        let printed = String::from_utf8(hostile().args(arguments).output().unwrap().stdout).unwrap();
        let without_styles = printed.replace("\u{1b}[", "");
        let obeyed = |c: char| {
            (c.is_control() && c != '\n' && (c != '\t' || arguments.first() != Some(&"--fields")))
                || ('\u{200b}'..='\u{200f}').contains(&c)
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c)
                || ('\u{e0000}'..='\u{e007f}').contains(&c)
        };
        assert!(!without_styles.contains(obeyed), "{printed:?}");
        assert!(!printed.contains("\u{1b}]"), "{printed:?}");
        let lines = events("hostile-events.jsonl").lines().count();
        let days = usize::from(arguments.is_empty() || arguments.contains(&"--color"));
        assert_eq!(printed.lines().count(), lines + days, "{printed}");
    }
}

#[test]
fn a_line_that_is_wrong_ends_it() {
    let good = events("events.jsonl").lines().next().unwrap().to_owned();
    let cut = &good[..good.len() - 7];
    let from_stdin = |stream: String| knobgate(["watch", "--from", "-", "--fields", "knob"]).stdin(stream);
    snapshot(
        "watch-wrong",
        [
            from_stdin(String::new()),
            from_stdin("not an event\n".to_owned()),
            from_stdin(format!("{good}\n\n{cut}\n{good}\n")),
            from_stdin(format!("{good}\n{}", good.replace("knobgate.events", "\u{9b}2J"))),
            knobgate(["watch", "--from", "no-such-file.jsonl"]),
            knobgate(["watch", "--from", "."]),
            watch(["--json", "--fields", "knob"]),
            watch(["--count", "0"]),
        ],
    );
}

#[test]
fn all_commands_read_a_stream_in_the_same_way() {
    let good = events("events.jsonl").lines().next().unwrap().to_owned();
    let cut = &good[..good.len() - 7];
    let later = r#"{"schema":"knobgate.events","version":2,"type":"hat","sequence":9}"#;
    let is_cut = "warning: <stdin> ends in the middle of an event, which is left out: ";
    let has_later = "warning: lines of <stdin> that only a later version of knobgate knows are left out: 2\n";
    for (stream, status, message) in [
        (format!("{good}\n{cut}"), 0, is_cut),
        (format!("{later}\n{good}\n{later}\n"), 0, has_later),
        (format!("{good}\n{cut}\n{good}\n"), 2, "error: <stdin> is not a stream of events: line 2, column "),
    ] {
        for command in [
            &["watch", "--from", "-"][..],
            &["learn", "--from", "-"],
            &["replay", "--policy", "replayed.knob", "-"],
            &["report", "-o", "-", "-"],
        ] {
            let output = knobgate([]).args(command).stdin(stream.clone()).output().unwrap();
            let messages = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(status), "{command:?}: {messages}");
            assert!(messages.contains(message), "{command:?}: {messages}");
        }
    }
}

#[test]
fn no_number_of_lost_events_is_too_large() {
    let lost = r#"{"schema":"knobgate.events","version":1,"type":"lost","sequence":1,"boot_time":1,"count":18446744073709551615}"#;
    let stream = format!("{lost}\n{lost}\n");
    let output = knobgate(["learn", "--from", "-"]).stdin(stream).output().unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    assert!(messages.contains("18446744073709551615 events"), "{messages}");
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let script = "yes \"$(cat events.jsonl)\" | $0 watch --from - | head -n 1; echo ${PIPESTATUS[1]}";
    let output = std::process::Command::new("bash")
        .current_dir(format!("{TESTS}/policies"))
        .args(["-c", script, env!("CARGO_BIN_EXE_knobgate")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2026-11-29 UTC\n141\n");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("error:"), "{stderr}");
}
