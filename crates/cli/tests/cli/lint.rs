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
