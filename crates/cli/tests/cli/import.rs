use std::path::{Path, PathBuf};
use std::process::Output;
use std::{fs, process};

use snapbox::cmd::Command;

use crate::{TESTS, knobgate, snapshot};

/// `knobgate` in `tests/settings`.
fn in_settings<const N: usize>(args: [&str; N]) -> Command {
    knobgate(args).current_dir(format!("{TESTS}/settings"))
}

#[test]
fn a_file_becomes_a_policy_with_its_comments() {
    snapshot("import-cis", [in_settings(["import", "cis.conf"])]);
}

#[test]
fn several_files_are_one_policy() {
    let other = "net.ipv4.ip_forward = 1\n# more\nvm.laptop_mode = 5\n";
    snapshot(
        "import-several",
        [
            in_settings(["import", "--name", "web", "cis.conf", "-"]).stdin(other),
            in_settings(["import", "-"]).stdin("# nothing\n"),
        ],
    );
}

#[test]
fn lines_that_are_wrong_are_all_reported() {
    snapshot("import-bad", [in_settings(["import", "bad.conf"])]);
}

#[test]
fn what_looks_odd_is_a_warning() {
    let text = "vm.swappiness = 10 # low\nfs.binfmt_misc.status = 1\nvm.a\u{202e} = \u{1b}[31m\n";
    snapshot("import-odd", [in_settings(["import", "-"]).stdin(text)]);
}

#[test]
fn wrong_arguments_are_usage_errors() {
    snapshot(
        "import-usage",
        [
            in_settings(["import"]),
            in_settings(["import", "nowhere.conf"]),
            in_settings(["import", "--name", "a b", "cis.conf"]),
            in_settings(["import", "-o", "./cis.conf", "cis.conf"]),
            in_settings(["import", "-o", "web.json", "cis.conf"]),
            in_settings(["import", "deployment.yaml"]),
            in_settings(["import", "-"]).stdin("[Container]\n"),
        ],
    );
}

#[test]
fn a_file_may_have_any_name() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("é 1.conf"), "vm.swappiness = 10\n").unwrap();
    let output = knobgate(["import", "é 1.conf"]).current_dir(&directory).output().unwrap();
    let policy = String::from_utf8(output.stdout).unwrap();
    assert!(policy.contains("\npolicy --1\n"), "{policy}");
}

/// The files of this machine, as far as there are some.
fn files_of_this_machine() -> impl Iterator<Item = PathBuf> {
    let directories = ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"];
    let entries =
        directories.into_iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
}

fn output<const N: usize>(args: [&str; N]) -> process::Output {
    in_settings(args).output().unwrap()
}

#[track_caller]
fn assert_success(path: &Path, output: &Output) {
    assert!(output.status.success(), "{}: {output:?}", path.display());
}

#[test]
fn an_imported_policy_is_checked_formatted_and_tested_and_allows_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.knob");
    let policy = policy.to_str().unwrap();
    for path in [PathBuf::from("cis.conf")].into_iter().chain(files_of_this_machine()) {
        let conf = path.to_str().unwrap();
        assert_success(&path, &output(["import", conf, "-o", policy]));
        let checked = output(["check", "--any-machine", policy]);
        assert_eq!(String::from_utf8_lossy(&checked.stdout), "1 file: no errors\n", "{conf}");
        assert_success(&path, &output(["fmt", "--check", policy]));
        assert_success(&path, &output(["test", policy]));
        if conf != "cis.conf" {
            assert_success(&path, &output(["lint", "--policy", policy, conf]));
        }
    }
}
