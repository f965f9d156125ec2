//! The commands in some pages of docs/, and what they print.
//!
//! ```` ```LANGUAGE,file=NAME ```` begins a file, and ```` ```console ```` commands with their output. Commands after the prompt of
//! root are left out. To rewrite the output: `SNAPSHOTS=overwrite`, as for the snapshots.

use std::fs;
use std::path::Path;
use std::process::Command;

use snapbox::data::DataFormat;
use snapbox::{Assert, Data};
use tempfile::TempDir;

use crate::TESTS;

/// What `command` prints in `directory`, on standard output and standard error.
fn printed(command: &str, directory: &Path) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_knobgate")).parent().unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .current_dir(directory)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn commands_print_what_the_page_on_diffs_says() {
    commands_print_what_the_page_says("diff.md", &tempfile::tempdir().unwrap());
}

#[test]
fn commands_print_what_the_page_on_import_says() {
    commands_print_what_the_page_says("import.md", &tempfile::tempdir().unwrap());
}

#[test]
fn commands_print_what_the_page_on_knobs_says() {
    commands_print_what_the_page_says("knobs.md", &tempfile::tempdir().unwrap());
}

#[test]
fn commands_print_what_the_page_on_presets_says() {
    commands_print_what_the_page_says("presets.md", &tempfile::tempdir().unwrap());
}

#[test]
fn commands_print_what_the_page_on_replay_says() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(format!("{TESTS}/policies/web-events.jsonl"), directory.path().join("events.jsonl")).unwrap();
    commands_print_what_the_page_says("replay.md", &directory);
}

#[test]
fn commands_print_what_the_page_on_reports_says() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(format!("{TESTS}/policies/web-events.jsonl"), directory.path().join("events.jsonl")).unwrap();
    commands_print_what_the_page_says("report.md", &directory);
}

#[test]
fn commands_print_what_the_page_on_scenarios_says() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(format!("{TESTS}/../../../examples"), directory.path().join("examples"))
        .unwrap();
    commands_print_what_the_page_says("simulate.md", &directory);
}

#[test]
fn commands_print_what_the_page_on_tests_says() {
    commands_print_what_the_page_says("testing.md", &tempfile::tempdir().unwrap());
}

#[track_caller]
fn commands_print_what_the_page_says(page: &str, directory: &TempDir) {
    let path = format!("{TESTS}/../../../docs/{page}");
    let page = fs::read_to_string(&path).unwrap();
    let (mut actual, mut commands) = (String::new(), 0);
    for (index, block) in page.split("```").enumerate() {
        let (info, content) = block.split_once('\n').unwrap_or((block, ""));
        let is_block = index % 2 == 1;
        actual += if index == 0 { "" } else { "```" };
        if is_block && info == "console" && !content.starts_with("# ") {
            actual += "console\n";
            for command in content.lines().filter_map(|line| line.strip_prefix("$ ")) {
                commands += 1;
                actual += &format!("$ {command}\n{}", printed(command, directory.path()));
            }
            continue;
        }
        if let Some((_, name)) = info.split_once(",file=").filter(|_| is_block) {
            fs::write(directory.path().join(name), content).unwrap();
        }
        actual += block;
    }
    assert!(commands > 0, "the page has commands");
    let expected = Data::read_from(path.as_ref(), Some(DataFormat::Text)).raw();
    Assert::new().action_env(snapbox::assert::DEFAULT_ACTION_ENV).eq(actual, expected);
}
