//! The messages in docs/troubleshooting.md are those of the commands, and so are the findings in docs/threat-model.md and what the
//! agent notices in docs/operations.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use knobgate_agent::{NoticeKind, Severity};

use crate::TESTS;

/// What the page has of other programs.
const OF_OTHERS: [&str; 7] = [
    "I/O error",
    "Invalid argument",
    "Operation not permitted",
    "Permission denied",
    "Read-only file system",
    "no such file or directory",
    "operation not permitted",
];

/// Adds the sources below a directory, with strings that continue on the next line in one.
fn add_sources(directory: &Path, sources: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_sources(&path, sources);
        } else if path.extension().is_some_and(|it| it == "rs") {
            for part in fs::read_to_string(&path).unwrap().split("\\\n") {
                *sources += part.trim_start();
            }
        }
    }
}

/// The sources of what commands print.
fn sources() -> String {
    let mut sources = String::new();
    for part in ["cli/src", "agent/src", "knobgate/src", "kernel/src"] {
        add_sources(&Path::new(TESTS).join("../..").join(part), &mut sources);
    }
    sources
}

/// A page of docs/.
fn page(name: &str) -> String {
    fs::read_to_string(Path::new(TESTS).join("../../../docs").join(name)).unwrap()
}

#[test]
fn the_messages_in_the_page_on_troubleshooting_are_in_the_program() {
    let (page, sources) = (page("troubleshooting.md"), sources());
    let seen = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let messages = seen.flat_map(|seen| seen.split('`').skip(1).step_by(2));
    let messages: Vec<&str> =
        messages.filter(|text| text.contains(' ') && !OF_OTHERS.contains(text)).collect();
    for message in &messages {
        assert!(sources.contains(message), "no command says: {message}");
    }
    assert!(messages.len() > 5, "{messages:?}");
}

#[test]
fn doctor_has_the_findings_in_the_threat_model() {
    let (page, sources) = (page("threat-model.md"), sources());
    let findings = page.lines().filter_map(|line| line.strip_prefix("| **")?.split("**").next());
    let findings: Vec<&str> = findings.collect();
    for finding in &findings {
        assert!(sources.contains(&format!("\"{finding}\"")), "doctor has no finding {finding}");
    }
    assert!(findings.len() > 5, "{findings:?}");
}

#[test]
fn the_page_on_operations_has_what_the_agent_notices() {
    let page = page("operations.md");
    let table = page.split("| kind | means |").nth(1).unwrap().split("\n\n").next().unwrap();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let listed: BTreeSet<&str> =
        cells.flat_map(|cell| cell.split(['`', ',', ' '])).filter(|it| !it.is_empty()).collect();
    // What is no more than a step, or good news, needs nobody.
    let matter = NoticeKind::ALL.iter().filter(|kind| kind.severity() <= Severity::Warning);
    // It is an entry of the log itself, and no notice.
    let gaps = "unlogged";
    assert!(sources().contains(&format!("name: \"{gaps}\"")));
    assert_eq!(listed, matter.map(|kind| kind.name()).chain([gaps]).collect());
}
