use snapbox::cmd::Command;

use crate::{knobgate, snapshot};

fn test<const N: usize>(arguments: [&str; N]) -> Command {
    knobgate(["test"]).args(arguments)
}

#[test]
fn tests_that_pass() {
    snapshot(
        "test-passed",
        [
            test(["tested.knob"]),
            test(["tested.knob", "failing.knob", "--test", "values", "--profile", "7.2"]),
        ],
    );
}

#[test]
fn a_failed_test_shows_the_expected_and_the_actual_verdict_and_why() {
    snapshot("test-failed", [test(["failing.knob"])]);
}

#[test]
fn a_denial_instead_of_a_rewrite_is_explained() {
    snapshot("test-profile", [test(["failing.knob", "--test", "values", "--profile", "6.8"])]);
}

#[test]
fn a_policy_that_a_kernel_does_not_support_is_an_error() {
    snapshot(
        "test-kernels",
        [
            test(["comm.knob", "--profile", "5.15"]),
            test(["tested.knob", "--profile", "5.4"]),
            test(["tested.knob", "--profile", "2.6"]),
        ],
    );
}

#[test]
fn a_policy_without_tests_gets_a_warning() {
    snapshot(
        "test-none",
        [test(["web.knob"]), test(["web.knob", "tested.knob"]), test(["tested.knob", "--test", "no such"])],
    );
}

#[test]
fn policies_with_errors_and_files_that_cannot_be_read() {
    let policy = "policy x\nalow write vm.swappiness\ntest \"x\" {\n  read vm.swappiness => allow\n}\n";
    snapshot(
        "test-wrong",
        [
            test(["-", "tested.knob"]).stdin(policy),
            test(["nowhere.knob", "tested.knob"]),
            test(["wrong.json"]),
        ],
    );
}

#[test]
fn json_has_everything_in_one_object() {
    snapshot(
        "test-json",
        [
            test(["--format", "json", "failing.knob", "--profile", "6.8"]),
            test(["--format", "json", "nowhere.knob", "warnings.knob", "wrong.json", "-"])
                .stdin("policy x\nalow write vm.swappiness\n"),
        ],
    );
}

#[test]
fn junit_has_a_suite_for_each_file() {
    snapshot(
        "test-junit",
        [
            test(["--format", "junit", "failing.knob", "tested.knob", "web.knob"]),
            test(["--format", "junit", "nowhere.knob", "-"]).stdin("policy x\nalow write vm.swappiness\n"),
        ],
    );
}

#[test]
fn a_test_cannot_drive_the_terminal() {
    let hostile = "policy x\ntest \"\u{1b}]0;pwned\u{7}\" {\n  write vm.x \"\u{9b}2J\" => allow\n}\n";
    for format in ["pretty", "json", "junit"] {
        let printed = test(["-", "--format", format]).stdin(hostile).output().unwrap().stdout;
        let printed = String::from_utf8(printed).unwrap();
        assert!(!printed.contains(|c: char| c.is_control() && c != '\n'), "{printed:?}");
    }
}
