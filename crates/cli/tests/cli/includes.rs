use crate::sarif::assert_is_sarif;
use crate::{knobgate, snapshot};

#[test]
fn places_in_included_files_are_shown_there() {
    snapshot(
        "includes-check",
        [
            knobgate(["check", "--any-machine", "including.knob"]),
            knobgate(["check", "--any-machine", "including-wrong.knob"]),
            knobgate(["check", "--any-machine", "--json", "including-wrong.knob"]),
        ],
    );
}

#[test]
fn sarif_has_the_included_file_and_fixes_it() {
    let sarif = knobgate(["check", "--any-machine", "--format", "sarif", "including-wrong.knob"]);
    let results = assert_is_sarif(&sarif.output().unwrap().stdout);
    let uri = |location: &serde_json::Value| location["artifactLocation"]["uri"].clone();
    let wrong = results.iter().find(|result| result["ruleId"] == "empty-range").unwrap();
    let location = &wrong["locations"][0]["physicalLocation"];
    assert_eq!(uri(location), "parts/wrong.knob");
    assert_eq!(location["region"]["startLine"], 2);
    let included_by = &wrong["relatedLocations"][0]["physicalLocation"];
    assert_eq!(
        (uri(included_by), &included_by["region"]["startLine"]),
        ("including-wrong.knob".into(), &3.into())
    );
    let change = &wrong["fixes"][0]["artifactChanges"][0];
    assert_eq!(uri(change), "parts/wrong.knob");
    assert_eq!(change["replacements"][0]["deletedRegion"]["startLine"], 2);
}

#[test]
fn commands_name_the_file_of_a_rule() {
    let explain = |access: [&str; 3]| {
        knobgate(["explain", "--policy", "including.knob"]).args(access).args(["--old", r"1\n"])
    };
    snapshot(
        "includes-explain",
        [
            explain(["write", "net.ipv4.tcp_max_syn_backlog", r"1\n"]),
            explain(["write", "net.core.somaxconn", r"99999\n"]),
            explain(["write", "net.ipv4.tcp_syncookies", r"7\n"]),
            explain(["write", "kernel.shm_rmid_forced", r"1\n"]),
            explain(["write", "kernel.hostname", r"1\n"]),
            explain(["write", "net.ipv4.tcp_fin_timeout", r"1\n"]).arg("--json"),
            knobgate(["lint", "--policy", "including.knob", "--kind", "sysctl", "-"])
                .stdin("net.core.somaxconn = 99999\nnet.ipv4.tcp_max_syn_backlog = 1\n"),
        ],
    );
}

#[test]
fn tests_of_included_files_run() {
    snapshot(
        "includes-test",
        [
            knobgate(["test", "including.knob"]),
            knobgate(["test", "--format", "json", "including.knob"]),
            knobgate(["test", "--format", "junit", "including.knob"]),
        ],
    );
}

#[test]
fn standard_input_includes_presets_alone() {
    snapshot(
        "includes-stdin",
        [
            knobgate(["check", "--any-machine", "-"]).stdin("policy x\ninclude \"parts/net.knob\"\n"),
            knobgate(["check", "--any-machine", "-"])
                .stdin("policy x\ninclude preset \"docker-runtime@1\"\n"),
        ],
    );
}

#[test]
fn learning_changes_no_policy_that_includes_others() {
    snapshot(
        "includes-learn",
        [
            knobgate(["learn", "--merge", "including.knob", "--from", "events.jsonl"]),
            knobgate(["learn", "--review", "including.knob", "--from", "events.jsonl"]).stdin(""),
        ],
    );
}
