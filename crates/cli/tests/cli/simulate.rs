use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

use knobgate_kernel::{ProcessId, Signal};
use snapbox::cmd::Command;

use crate::{knobgate, snapshot};

fn simulate<const N: usize>(arguments: [&str; N]) -> Command {
    knobgate(["simulate"]).args(arguments)
}

fn example(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../examples", name].iter().collect();
    path.display().to_string()
}

#[test]
fn the_examples_are_played() {
    snapshot(
        "simulate-examples",
        [simulate([&example("third-write.json")]), simulate([&example("scenario.json")])],
    );
}

#[test]
fn errors_have_their_place_and_nothing_is_played() {
    snapshot("simulate-errors", [simulate(["wrong-scenario.json"]), simulate(["ragged.knob"])]);
}

#[test]
fn a_file_that_cannot_be_read_is_a_wrong_argument() {
    snapshot("simulate-unreadable", [simulate(["none.json"])]);
}

#[test]
fn endless_files_are_read_up_to_a_limit() {
    let policy = r#"{"programs": {"p": {"policy": "/dev/zero"}, "o": {"object": "/dev/zero"}}, "steps": []}"#;
    snapshot("simulate-endless", [simulate(["/dev/zero"]), simulate(["-"]).stdin(policy)]);
}

#[test]
fn a_scenario_can_come_from_standard_input() {
    let text =
        r#"{"programs": {"p": {"insns": "b700000001000000 9500000000000000"}}, "steps": [{"load": "p"}]}"#;
    snapshot("simulate-stdin", [simulate(["-"]).stdin(text)]);
}

#[test]
fn where_a_kernel_would_crash_the_play_ends_with_status_1() {
    let text = include_str!("../policies/crash.json");
    let fixed = text.replacen('{', r#"{ "profile": "6.12.117","#, 1);
    snapshot("simulate-crash", [simulate(["crash.json"]), simulate(["-"]).stdin(fixed)]);
}

#[test]
fn what_is_not_as_expected_is_shown_in_every_format() {
    snapshot(
        "simulate-unexpected",
        ["json", "tap", "junit"].map(|format| simulate(["--format", format, "unexpected.json"])),
    );
}

#[test]
fn a_program_that_is_not_modelled_ends_with_status_5() {
    snapshot(
        "simulate-unmodelled",
        [
            simulate(["unmodelled.json"]),
            simulate(["kfunc.json"]),
            simulate(["--format", "tap", "kfunc.json"]),
            simulate(["--format", "junit", "kfunc.json"]),
        ],
    );
}

#[test]
fn of_several_scenarios_each_line_and_each_test_point_has_its_file() {
    snapshot(
        "simulate-several",
        [
            simulate(["unmodelled.json", "fault.json"]),
            simulate([
                "--format",
                "tap",
                "unexpected.json",
                "wrong-scenario.json",
                "none.json",
                "fault.json",
            ]),
            simulate(["--format", "tap", "fault.json"]),
        ],
    );
}

#[test]
fn a_scenario_is_played_again_when_it_or_a_file_that_it_names_changes() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let scenario = |value: &str| {
        format!(
            r#"{{"knobs": [{{"name": "vm.x", "value": "{value}", "handler": {{"kind": "int"}}}}], "cgroups": ["a"],
                 "programs": {{"p": {{"policy": "p.knob"}}}},
                 "steps": [{{"attach": {{"program": "p", "cgroup": "a", "mode": "link"}}}}, {{"read": {{"knob": "vm.x", "cgroup": "a"}}}}]}}"#
        )
    };
    std::fs::write(file("s.json"), scenario("1")).unwrap();
    std::fs::write(file("p.knob"), "policy p\nallow read **\n").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_knobgate"));
    command.args(["simulate", "--watch"]).arg(file("s.json"));
    let mut playing = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(playing.stdout.take().unwrap()).lines();
    let mut notes = BufReader::new(playing.stderr.take().unwrap()).lines();
    let mut play = |expected: &str| {
        assert!(lines.next().unwrap().unwrap().starts_with(r#"{"step":0,"ok":true"#));
        let read = lines.next().unwrap().unwrap();
        assert!(read.contains(expected), "{read}");
        // Nothing may change before it is watched.
        notes.find(|note| note.as_ref().unwrap().contains("watching 2 files")).unwrap().unwrap();
    };
    play(r#""data":"1\n""#);
    // Editors write another file and rename it.
    std::fs::write(file("s.json.new"), scenario("2")).unwrap();
    std::fs::rename(file("s.json.new"), file("s.json")).unwrap();
    play(r#""data":"2\n""#);
    std::fs::write(file("p.knob"), "policy p\ndeny read **\n").unwrap();
    play(r#""errno":"EPERM""#);
    ProcessId::of_child(&playing).send(Signal::INT).unwrap();
    assert_eq!(playing.wait().unwrap().signal(), Some(Signal::INT.as_raw()));
}

#[test]
fn standard_input_cannot_be_watched() {
    snapshot("simulate-watch-stdin", [simulate(["--watch", "-"]).stdin("{}")]);
}

#[test]
fn a_fault_ends_with_status_1() {
    // Fills a map with more than the hook in user space has for maps, if the position is 8.
    snapshot("simulate-fault", [simulate(["fault.json"])]);
}
