//! The policies in the documents parse, and their tests pass.
//!
//! A block that begins with ```` ```knob ```` is a policy without errors and warnings, ```` ```knob,fails=CODE ```` one
//! with this error, and ```` ```knob,warns=CODE ```` one with this warning. Each line of a block that begins with
//! ```` ```filter ```` is a filter.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use knobgate_policy::filter::Filter;
use knobgate_policy::{
    CheckOptions, Diagnostic, Expected, Severity, Source, Verdict, evaluate, limits, parse,
};

/// The documents, from the root of the project, and how many policies each holds at least.
const DOCUMENTS: [(&str, usize); 3] = [("README.md", 1), ("docs/language.md", 12), ("docs/presets.md", 2)];

/// A policy in a document.
struct Block {
    /// Its place.
    place: String,
    /// The text after `knob` in the opening line.
    expectation: String,
    text: String,
}

fn document(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn blocks(path: &str) -> Vec<Block> {
    let document = document(path);
    let mut blocks = Vec::new();
    let mut lines = document.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(info) = line.strip_prefix("```").filter(|info| !info.is_empty()) else { continue };
        let inside = lines.by_ref().map(|(line, _)| line).take_while(|line| *line != "```");
        let text = inside.fold(String::new(), |text, line| text + line + "\n");
        if let Some(expectation) = info.strip_prefix("knob") {
            blocks.push(Block {
                place: format!("{path}:{number}"),
                expectation: expectation.to_owned(),
                text,
            });
        }
    }
    blocks
}

/// Whether one of these has the code `code`.
fn has(diagnostics: &[Diagnostic], severity: Severity, code: &str) -> bool {
    diagnostics.iter().any(|found| found.severity == severity && found.code == code)
}

fn check(block: &Block) {
    let Block { place, expectation, text } = block;
    let parsed = parse(Source::new(place.as_str(), text.as_str()), &CheckOptions::default());
    match (expectation.split_once('='), parsed) {
        (Some((",fails", code)), Err(error)) => {
            assert!(has(error.diagnostics(), Severity::Error, code), "{place}: {error:#?}");
        }
        (Some((",warns", code)), Ok(file)) => {
            assert!(has(file.warnings(), Severity::Warning, code), "{place}: {:#?}", file.warnings());
        }
        (None, Ok(file)) => {
            assert!(expectation.is_empty(), "{place}: ```knob{expectation} means nothing");
            assert!(file.warnings().is_empty(), "{place}: {:#?}", file.warnings());
            let policy = file.policy();
            assert!(policy.tests().iter().any(|test| !test.steps.is_empty()), "{place}: shows nothing");
            for test in policy.tests() {
                for step in &test.steps {
                    let verdict = evaluate(policy, step.access()).verdict;
                    assert!(
                        is_as_stated(step.expected(), &verdict),
                        "{place}: \"{}\": {step:?}, and it is {verdict:?}",
                        test.name
                    );
                }
            }
        }
        (_, Ok(_)) => panic!("{place}: has no error"),
        (_, Err(error)) => panic!("{place}: {error:#?}"),
    }
}

fn is_as_stated(expected: &Expected, verdict: &Verdict) -> bool {
    match (expected, verdict) {
        (Expected::Allow, Verdict::Allow) | (Expected::Deny(None), Verdict::Deny(_)) => true,
        (Expected::Deny(Some(stated)), Verdict::Deny(errno)) => stated == errno,
        (Expected::Set(stated), Verdict::Rewrite(bytes)) => stated.as_bytes() == bytes,
        _ => false,
    }
}

#[test]
fn the_policies_in_the_documents_parse_and_their_tests_pass() {
    for (path, least) in DOCUMENTS {
        let blocks = blocks(path);
        assert!(blocks.len() >= least, "{path} holds {} policies", blocks.len());
        blocks.iter().for_each(check);
    }
}

#[test]
fn the_tour_in_the_readme_is_the_one_in_the_examples() {
    let quoted = blocks("README.md").into_iter().next().map(|block| block.text);
    assert_eq!(quoted.as_deref(), Some(document("examples/tour.knob").as_str()));
}

#[test]
fn the_limits_in_the_reference_are_those_of_the_language() {
    let reference = document("docs/language.md");
    let table = reference.split("\n## Limits\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let table = table.expect("a section on limits");
    for row in [
        format!("a policy file, with all that it includes | {} MiB", limits::FILE_MAX >> 20),
        format!("that a policy includes | 1,000, {} deep", limits::INCLUDE_DEPTH_MAX),
        format!("the name of a policy | {} bytes", limits::POLICY_NAME_MAX),
        format!("a glob for texts | {} bytes", limits::PATTERN_MAX),
        format!("to compare with | {} bytes", limits::VALUE_MAX),
        format!("`{{…}}` in patterns | {}", limits::NESTING_MAX),
        format!("that can be named | {}", limits::ELEMENTS_MAX),
        format!("the name of a knob | {} bytes", limits::NAME_MAX),
        format!("that is looked at | {} bytes", limits::VALUE_MAX),
        format!(
            "as numbers | {}, the last ending within {} bytes",
            limits::ELEMENTS_MAX,
            limits::NUMBERS_END_MAX
        ),
        format!("one number in a value | {} characters", limits::NUMBER_CHARS_MAX),
        format!(
            "one rule in one cgroup | {} a second, if it states no other limit",
            limits::EVENTS_PER_SECOND
        ),
    ] {
        assert!(table.contains(&format!("{row} |")), "the reference does not say: {row}");
    }
}

/// The section on filters in the reference.
fn filters() -> String {
    let reference = document("docs/language.md");
    let section = reference.split("\n## Filters\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    section.expect("a section on filters").to_owned()
}

#[test]
fn the_filters_in_the_reference_parse() {
    let section = filters();
    let block = section.split("```filter\n").nth(1).and_then(|rest| rest.split("```").next());
    let block = block.expect("a block of filters");
    assert!(block.lines().count() > 3);
    for line in block.lines() {
        Filter::parse(Source::new("docs/language.md", line))
            .unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn the_reference_lists_the_fields_of_filters() {
    let quoted =
        |text: &str| -> BTreeSet<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let section = filters();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let listed: BTreeSet<String> = rows.flat_map(quoted).collect();
    let error = Filter::parse(Source::new("x", "no_such_field == 1")).unwrap_err();
    let help = error.diagnostics()[0].help.as_deref().expect("the names of all fields");
    let known: BTreeSet<String> =
        quoted(help).into_iter().filter(|operand| !operand.contains(['[', '('])).collect();
    assert_eq!(listed, known);
}
