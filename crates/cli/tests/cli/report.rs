use std::fs;
use std::path::Path;

use snapbox::cmd::Command;

use crate::{TESTS, knobgate, snapshot};

/// `knobgate report` in a directory with events, whose name the output does not have.
fn report<const N: usize>(directory: &Path, arguments: [&str; N]) -> Command {
    knobgate(["report"]).current_dir(directory).args(arguments)
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in ["events.jsonl", "hostile-events.jsonl", "web-events.jsonl"] {
        fs::copy(format!("{TESTS}/policies/{file}"), directory.path().join(file)).unwrap();
    }
    directory
}

fn title(page: &str) -> &str {
    page.split_once("<h1>").unwrap().1.split_once("</h1>").unwrap().0
}

#[test]
fn a_page_is_written_to_a_file_or_to_standard_output() {
    let directory = directory();
    let path = directory.path().join("report.html");
    snapshot(
        "report",
        [
            report(directory.path(), ["events.jsonl", "-o", "report.html"]),
            report(directory.path(), ["events.jsonl", "web-events.jsonl", "-o", "report.html"]),
            report(
                directory.path(),
                ["events.jsonl", "-o", "report.html", "--filter", "knob == kernel.core_pattern"],
            ),
            report(directory.path(), ["-", "-o", "report.html"]),
        ],
    );
    assert_eq!(title(&fs::read_to_string(path).unwrap()), "No events");
    for arguments in [&["events.jsonl"][..], &["events.jsonl", "-o", "-"]] {
        let output = report(directory.path(), []).args(arguments).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let page = String::from_utf8(output.stdout).unwrap();
        assert_eq!(title(&page), "17 events, 12 denied");
        assert!(page.ends_with("</html>\n"));
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4, "no temporary file is left");
}

#[test]
fn a_page_has_the_sources_the_filter_and_what_was_not_sent() {
    let directory = directory();
    let filter = "knob matches net.** or uid == 0";
    let output = report(directory.path(), ["events.jsonl", "--filter", filter]).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    for text in [
        "<code>events.jsonl</code>",
        "<code>knob matches net.** or uid == 0</code>",
        "38 events were suppressed",
        "12 events were lost",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn nothing_is_written_if_something_is_wrong() {
    let directory = directory();
    let path = directory.path().join("report.html");
    fs::write(&path, "the report of yesterday").unwrap();
    let stream = fs::read_to_string(directory.path().join("events.jsonl")).unwrap();
    let good = stream.lines().next().unwrap();
    fs::write(directory.path().join("bad.jsonl"), format!("{good}\n{}\n{good}\n", &good[..good.len() - 7]))
        .unwrap();
    fs::write(directory.path().join("not-events.jsonl"), "{\"schema\":\"\u{9b}2J\"}\n").unwrap();
    let output = ["-o", "report.html"];
    snapshot(
        "report-wrong",
        [
            report(directory.path(), ["bad.jsonl"]).args(output),
            report(directory.path(), ["events.jsonl", "not-events.jsonl"]).args(output),
            report(directory.path(), ["no-such-file.jsonl"]).args(output),
            report(directory.path(), ["."]).args(output),
            report(directory.path(), ["-", "-"]).args(output),
            report(directory.path(), ["events.jsonl", "--filter", "verdict == dny"]).args(output),
            report(directory.path(), ["events.jsonl", "-o", "."]),
            report(directory.path(), ["events.jsonl", "-o", "no-such-directory/report.html"]),
            report(directory.path(), ["events.jsonl", "-o", "events.jsonl/report.html"]),
            report(directory.path(), ["events.jsonl", "-o", "./events.jsonl"]),
            report(directory.path(), ["events.jsonl", "-o", "/dev/full"]),
            report(directory.path(), ["-o", "report.html"]),
        ],
    );
    assert_eq!(fs::read_to_string(path).unwrap(), "the report of yesterday");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 6, "no temporary file is left");
}

#[test]
fn a_stream_that_was_cut_is_reported_up_to_there() {
    let directory = directory();
    let stream = fs::read_to_string(directory.path().join("events.jsonl")).unwrap();
    let good = stream.lines().next().unwrap();
    let cut = format!("{good}\n{}", &good[..good.len() - 7]);
    snapshot("report-cut", [report(directory.path(), ["-", "-o", "report.html"]).stdin(cut)]);
}

#[test]
fn a_page_is_not_printed_to_a_terminal() {
    let directory = directory();
    let command = format!("{} report events.jsonl", env!("CARGO_BIN_EXE_knobgate"));
    let output = std::process::Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .current_dir(directory.path())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("a page is not printed to a terminal: name a file with -o"), "{printed}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn nothing_that_was_chosen_by_others_drives_the_terminal() {
    let directory = directory();
    let output = report(directory.path(), ["hostile-events.jsonl"]).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(!page.contains(|c: char| c != '\n' && knobgate_events::terminal::is_interpreted(c)));
}
