use crate::sarif::assert_is_sarif;
use crate::{knobgate, snapshot};

#[test]
fn a_valid_policy_has_no_errors() {
    snapshot("check-good", [knobgate(["check", "--any-machine", "web.knob", "audit.knob"])]);
}

#[test]
fn every_error_has_its_place_and_a_help_text() {
    snapshot("check-errors", [knobgate(["check", "many-errors.knob"])]);
}

#[test]
fn warnings_alone_do_not_fail() {
    snapshot("check-warnings", [knobgate(["check", "warnings.knob"])]);
}

#[test]
fn an_unknown_knob_is_a_warning_unless_the_policy_is_for_other_machines() {
    let policy = "policy x\nallow write kernel.no_such_knob, kernel.ostype\n";
    snapshot(
        "check-unknown-knob",
        [knobgate(["check", "-"]).stdin(policy), knobgate(["check", "--any-machine", "-"]).stdin(policy)],
    );
}

#[test]
fn files_that_cannot_be_read_are_reported_and_the_others_are_checked() {
    snapshot("check-unreadable", [knobgate(["check", "nowhere.knob", ".", "warnings.knob"])]);
}

#[test]
fn json_has_one_object_for_each_error() {
    snapshot(
        "check-json",
        [knobgate(["check", "nowhere.knob", "many-errors.knob", "warnings.knob", "--json"])],
    );
}

#[test]
fn policies_in_json_are_checked() {
    snapshot(
        "check-json-policies",
        [
            knobgate(["check", "machine.json"]),
            knobgate(["check", "wrong.json"]),
            knobgate(["check", "wrong.json", "--json"]),
            knobgate(["explain", "--policy", "machine.json", "write", "vm.swappiness", "1", "--old", "60"]),
        ],
    );
}

#[test]
fn files_that_are_not_policies_are_errors() {
    snapshot(
        "check-no-policy",
        [
            knobgate(["check", "-"]).stdin(""),
            knobgate(["check", "-"]).stdin(&b"\x7fELF\x02\x01\x00\xff\xfe\x00"[..]),
            knobgate(["check", "/dev/zero"]),
        ],
    );
}

#[test]
fn lines_may_end_with_carriage_returns() {
    snapshot(
        "check-crlf",
        [knobgate(["check", "-"])
            .stdin("policy x\r\nallow wirte vm.swappiness\r\n\r\nalow write vm.swappiness\r\n")],
    );
}

#[test]
fn a_policy_cannot_drive_the_terminal() {
    let hostile = "policy x\nalow\u{1b}]0;pwned\u{7} write \u{9b}2J \u{202e}lmth\n";
    snapshot(
        "check-hostile",
        [knobgate(["check", "-"]).stdin(hostile), knobgate(["fmt", "-"]).stdin(hostile)],
    );

    let printed = knobgate(["check", "--color", "always", "-"]).stdin(hostile).output().unwrap().stderr;
    let printed = String::from_utf8(printed).unwrap();
    let without_styles = printed.replace("\u{1b}[", "");
    let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!without_styles.contains(obeyed), "{printed:?}");
    assert!(!printed.contains("\u{1b}]"), "{printed:?}");
}

#[test]
fn a_policy_that_no_kernel_accepts_is_an_error_at_the_rule() {
    // An automaton that remembers which of the last 23 characters were an `a`.
    let policy = "policy x\nallow write vm.swappiness\nallow write **a???????????????????????\n";
    snapshot("check-too-large", [knobgate(["check", "--any-machine", "-"]).stdin(policy)]);
}

#[test]
fn no_file_is_a_usage_error() {
    knobgate(["check"]).assert().code(2);
}

#[test]
fn sarif_has_one_result_for_each_error() {
    let check = |files: &[&str]| {
        let mut command = knobgate(["check", "--any-machine", "--format", "sarif"]);
        for file in files {
            command = command.arg(file);
        }
        command.output().unwrap()
    };
    let objects = knobgate(["check", "--any-machine", "--json", "many-errors.knob", "warnings.knob"]);
    let objects = String::from_utf8(objects.output().unwrap().stdout).unwrap();
    let output = check(&["many-errors.knob", "warnings.knob", "nowhere.knob"]);
    assert_eq!(output.status.code(), Some(2));
    let results = assert_is_sarif(&output.stdout);
    assert_eq!(results.len(), objects.lines().count());
    let mut fixes = 0;
    for (result, object) in results.iter().zip(objects.lines()) {
        let object: serde_json::Value = serde_json::from_str(object).unwrap();
        assert_eq!((&result["ruleId"], &result["level"]), (&object["code"], &object["severity"]));
        let region = &result["locations"][0]["physicalLocation"]["region"];
        for (member, value) in [
            ("startLine", &object["line"]),
            ("startColumn", &object["column"]),
            ("endLine", &object["end"]["line"]),
            ("endColumn", &object["end"]["column"]),
        ] {
            assert_eq!(&region[member], value, "{result:#}");
        }
        let message = result["message"]["text"].as_str().unwrap();
        assert!(object["help"].as_str().is_none_or(|help| message.contains(help)), "{message}");
        let fix = &result["fixes"][0]["artifactChanges"][0]["replacements"][0]["insertedContent"]["text"];
        assert_eq!(fix, &object["suggestion"]["replacement"]);
        fixes += u32::from(!fix.is_null());
    }
    assert!(fixes > 0, "no fix");

    // The errors of a policy in JSON have no place in its text.
    let results = assert_is_sarif(&check(&["wrong.json"]).stdout);
    assert!(!results.is_empty());
    assert!(results.iter().all(|result| result["locations"][0]["physicalLocation"]["region"].is_null()));
    assert!(assert_is_sarif(&check(&["web.knob"]).stdout).is_empty());
}

#[test]
fn a_policy_under_which_an_engine_starts_no_container_gets_a_warning() {
    let check = || knobgate(["check", "--any-machine", "-"]);
    snapshot(
        "check-engines",
        [
            check().stdin("policy web\napply if container == \"web\"\ndefault write deny\n\nallow write vm.swappiness\n"),
            check().stdin(
                "policy web\napply if engine == docker\ndefault write allow\n\
                 deny write net.ipv4.ping_group_range # nobody\n",
            ),
            check().stdin("policy web\napply if unit == \"nginx.service\"\ndefault write deny\n"),
        ],
    );
}
