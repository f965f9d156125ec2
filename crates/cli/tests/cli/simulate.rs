use std::path::PathBuf;

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
    snapshot("simulate-no-such-file", [simulate(["none.json"])]);
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
            // Subtracts addresses, which only a kernel has, if the position is 8.
            simulate(["address.json"]),
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
fn a_fault_ends_with_status_1() {
    // Fills a map with more than the hook in user space has for maps, if the position is 8.
    snapshot("simulate-fault", [simulate(["fault.json"])]);
}

#[test]
fn a_file_without_btf_is_a_wrong_argument() {
    let scenario = example("third-write.json");
    snapshot(
        "simulate-btf",
        [
            simulate(["--btf", "none.btf", &scenario]),
            simulate(["--btf", "ragged.knob", &scenario]),
            simulate(["--btf", "none.btf", "--on-kernel", &scenario]),
        ],
    );
}

#[test]
fn the_coverage_of_all_scenarios_is_written_as_lcov() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("limit.info");
    let covered = |scenarios: &[&str]| {
        let output = knobgate(["simulate", "--format", "tap"])
            .arg("--coverage")
            .arg(&file)
            .args(scenarios.iter().map(|name| example(name)))
            .assert()
            .success();
        (
            std::fs::read_to_string(&file).unwrap(),
            String::from_utf8(output.get_output().stderr.clone()).unwrap(),
        )
    };
    let (once, _) = covered(&["limit-test.json"]);
    assert!(
        once.starts_with("TN:\nSF:./../limit/limit.bpf.c\nFN:6,limit\nFNDA:3,limit\nFNF:1\nFNH:1\nDA:6,3\n"),
        "{once}"
    );
    assert!(once.contains("\nDA:20,1\n") && once.ends_with("LF:9\nLH:9\nend_of_record\n"), "{once}");
    let (twice, notes) = covered(&["limit-test.json", "third-write.json", "limit-test.json"]);
    assert!(twice.contains("\nFNDA:6,limit\n") && twice.contains("\nDA:20,2\n"), "{twice}");
    assert_eq!(twice.lines().count(), once.lines().count());
    let note = "note: no coverage of \"two writes\": without line information, which clang writes with -g\n";
    assert!(notes.contains(note), "{notes}");
}

#[test]
fn coverage_overwrites_no_file_that_was_read() {
    let directory = tempfile::tempdir().unwrap();
    let object = directory.path().join("limit.bpf.o");
    std::fs::copy(example("limit/limit.bpf.o"), &object).unwrap();
    std::fs::copy(example("limit/limit.json"), directory.path().join("limit.json")).unwrap();
    let before = std::fs::read(&object).unwrap();
    let command = knobgate(["simulate", "--coverage", "limit.bpf.o", "limit.json"]);
    let output = command.current_dir(&directory).assert().code(2);
    let message = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(message.contains("limit.bpf.o is one of the files to read"), "{message}");
    assert_eq!(std::fs::read(&object).unwrap(), before);
}

#[test]
fn the_kernel_counts_no_coverage() {
    snapshot(
        "simulate-coverage-on-kernel",
        [simulate(["--on-kernel", "--coverage", "x.info", "fault.json"])],
    );
}

#[test]
fn long_values_are_cut_where_they_differ() {
    let (one, other) = ("é".repeat(1500), format!("{}\u{202e}x", "é".repeat(1499)));
    let text = format!(
        r#"{{
            "knobs": [{{ "name": "kernel.domainname", "value": "{one}", "handler": {{ "kind": "string" }} }}],
            "maps": [{{ "name": "m", "type": "array", "key_size": 4, "value_size": 1, "max_entries": 22 }}],
            "steps": [
                {{ "read": {{ "knob": "kernel.domainname", "cgroup": "/" }}, "expect": {{ "data": "{other}" }} }},
                {{ "read": {{ "knob": "kernel.domainname", "cgroup": "/", "count": 3 }}, "expect": {{ "data": "x" }} }},
                {{ "map": "m", "expect": {{ "entries": [{}] }} }}
            ]
        }}"#,
        (0..22).map(|key| format!(r#"["{key:02x}000000", "01"]"#)).collect::<Vec<_>>().join(", ")
    );
    snapshot("simulate-long", [simulate(["--format", "tap", "-"]).stdin(text)]);
}
