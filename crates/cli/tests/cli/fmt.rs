use std::fs;

use crate::{TESTS, knobgate, snapshot};

#[test]
fn changes_are_shown_as_a_diff() {
    snapshot("fmt-check", [knobgate(["fmt", "--check", "ragged.knob", "audit.knob"])]);
}

#[test]
fn standard_input_goes_to_standard_output() {
    let ragged = include_str!("../policies/ragged.knob");
    snapshot(
        "fmt-filter",
        [knobgate(["fmt", "-"]).stdin(ragged), knobgate(["fmt", "-", "--check"]).stdin("policy x\n")],
    );
}

#[test]
fn files_with_errors_are_not_formatted() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let wrong = "policy x\nalow   write vm.swappiness\n";
    fs::copy(format!("{TESTS}/policies/ragged.knob"), path("ragged.knob")).unwrap();
    fs::write(path("wrong.knob"), wrong).unwrap();

    snapshot(
        "fmt-in-place",
        [
            knobgate(["fmt", "ragged.knob", "wrong.knob"]).current_dir(directory.path()),
            knobgate(["fmt", "ragged.knob"]).current_dir(directory.path()),
        ],
    );
    assert_eq!(fs::read_to_string(path("wrong.knob")).unwrap(), wrong);
}

#[test]
fn files_that_cannot_be_read_are_usage_errors() {
    snapshot("fmt-unreadable", [knobgate(["fmt", "nowhere.knob", ".", "x.json"])]);
}
