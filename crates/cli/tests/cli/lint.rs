use snapbox::cmd::Command;

use crate::{TESTS, knobgate, snapshot};

/// `knobgate` in `tests/settings`.
fn in_settings<const N: usize>(args: [&str; N]) -> Command {
    knobgate(args).current_dir(format!("{TESTS}/settings"))
}

#[test]
fn every_setting_has_a_verdict() {
    snapshot("lint-conf", [in_settings(["lint", "--policy", "app.knob", "app.conf"])]);
}

#[test]
fn every_kind_of_file_is_read() {
    snapshot(
        "lint-kinds",
        [
            in_settings(["lint", "--policy", "app.knob", "deployment.yaml", "compose.yaml", "web.container"]),
            in_settings(["lint", "--policy", "app.knob", "--kind", "quadlet", "-"])
                .stdin("[Container]\nSysctl=net.core.somaxconn=5\n"),
        ],
    );
}

#[test]
fn no_notation_of_a_file_hides_what_it_sets() {
    let deny = "policy d\ndefault write deny\n";
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("d.knob"), deny).unwrap();
    let sets = "[kernel.core_pattern=x]";
    for (name, text, status) in [
        (
            "compose.json",
            r#"{"services": {"web": {"labels": {"kind": "x"}, "sysctls": ["kernel.core_pattern=x"]}}}"#,
            1,
        ),
        ("quoted.yaml", &format!("\"services\":\n  web:\n    sysctls: {sets}\n"), 1),
        ("bom.yaml", &format!("\u{feff}services:\n  web:\n    sysctls: {sets}\n"), 1),
        ("flow.yaml", &format!("{{services: {{web: {{sysctls: {sets}}}}}}}\n"), 1),
        ("bom.container", "\u{feff}[Container]\nSysctl=kernel.core_pattern=x\n", 1),
        ("args.container", "[Container]\nPodmanArgs=--sysctl kernel.core_pattern=x\n", 1),
        // It does not say what it is.
        ("service.yaml", &format!("web:\n  sysctls: {sets}\n"), 2),
        ("nothing.yaml", "# nothing\n", 0),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
        let output = knobgate(["lint", "--policy", "d.knob", name]).current_dir(&directory).output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        assert_eq!(output.status.code(), Some(status), "{name}: {}", String::from_utf8_lossy(&printed));
    }
}

#[test]
fn a_policy_allows_the_files_it_was_imported_from() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("10.conf", "net.ipv4.conf.*.rp_filter = 1\n");
    write("20.conf", "net.ipv4.conf.eth0.rp_filter = 2\n-net.ipv4.conf.lo.rp_filter\n");
    for command in [
        knobgate(["import", "-o", "both.knob", "10.conf", "20.conf"]),
        knobgate(["lint", "--policy", "both.knob", "10.conf", "20.conf"]),
        knobgate(["lint", "--policy", "both.knob", "20.conf", "10.conf"]),
    ] {
        let output = command.current_dir(&directory).output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&printed));
    }
}

#[test]
fn json_has_one_object_for_each_verdict() {
    snapshot("lint-json", [in_settings(["lint", "--policy", "app.knob", "--json", "app.conf"])]);
}

#[test]
fn if_everything_is_allowed_the_status_says_so() {
    let audit = "policy a\nmode audit\ndefault write allow\n";
    snapshot(
        "lint-allowed",
        [
            in_settings(["lint", "--policy", "app.knob", "-"]).stdin("net.core.somaxconn = 1\n"),
            in_settings(["lint", "--policy", "-", "web.container"]).stdin(audit),
            in_settings(["lint", "--policy", "app.knob", "--kind", "compose", "-"]).stdin("services: {}\n"),
        ],
    );
}

#[test]
fn what_cannot_be_read_is_reported() {
    snapshot(
        "lint-usage",
        [
            in_settings(["lint", "app.conf"]),
            in_settings(["lint", "--policy", "-", "-"]),
            in_settings(["lint", "--policy", "app.knob", "nowhere.conf", "app.knob"]),
            in_settings(["lint", "--policy", "app.conf", "app.conf"]),
            in_settings(["lint", "--policy", "app.knob", "--kind", "kubernetes", "-"])
                .stdin("a: {{ .x }}\n b: [\n"),
        ],
    );
}
