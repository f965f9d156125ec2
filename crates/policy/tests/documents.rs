//! The policies in README.md and in the pages of the book (docs/SUMMARY.md) parse, and their tests pass.
//!
//! | a block | is a policy |
//! | --- | --- |
//! | ```` ```knob ```` | without errors and warnings, with tests, which pass |
//! | ```` ```knob,fails=CODE ```` | with this error |
//! | ```` ```knob,warns=CODE ```` | with this warning |
//! | ```` ```knob,fails-its-tests ```` | without errors and warnings, and one of its tests fails |
//!
//! At the end there can be `,file=NAME`: commands on the page show what the policy does, so it may have warnings, and needs no tests.
//! Each line of a block that begins with ```` ```filter ```` is a filter.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use knobgate_policy::filter::Filter;
use knobgate_policy::selector::{Engine, Selector, SelectorField, SelectorFields, Trust, trust};
use knobgate_policy::{
    CheckOptions, Diagnostic, Expected, Policy, Severity, Source, Verdict, evaluate, limits, parse,
};

/// README.md and the pages of the book, from the root of the project.
fn documents() -> Vec<String> {
    let summary = document("docs/SUMMARY.md");
    let pages = summary.lines().filter_map(|line| line.split_once("](")?.1.strip_suffix(')'));
    let mut documents: Vec<String> = pages.map(|page| format!("docs/{page}")).collect();
    documents.push("README.md".to_owned());
    documents
}

/// A policy in a document.
struct Block {
    /// Its place.
    place: String,
    /// The text after `knob` in the opening line.
    expectation: String,
    text: String,
}

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn document(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The policies in a document.
fn blocks(path: &str) -> Vec<Block> {
    let document = document(path);
    let mut blocks = Vec::new();
    let mut lines = document.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        // A block in a list is indented.
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let inside = lines.by_ref().map(|(line, _)| line).take_while(|line| line.trim_start() != "```");
        let text = inside.fold(String::new(), |text, line| text + line + "\n");
        let place = format!("{path}:{number}");
        match info.strip_prefix("knob") {
            Some(expectation) => blocks.push(Block { place, expectation: expectation.to_owned(), text }),
            None => {
                let first = text.lines().next().unwrap_or_default().split(' ').collect::<Vec<_>>();
                assert!(!matches!(first[..], ["policy", _]), "{place}: a policy belongs in a block ```knob");
            }
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
    let (expectation, is_used) = match expectation.split_once(",file=") {
        Some((expectation, _)) => (expectation, true),
        None => (expectation.as_str(), false),
    };
    match (expectation.split_once('='), parsed) {
        (Some((",fails", code)), Err(error)) => {
            assert!(has(error.diagnostics(), Severity::Error, code), "{place}: {error:#?}");
        }
        (Some((",warns", code)), Ok(file)) => {
            assert!(has(file.warnings(), Severity::Warning, code), "{place}: {:#?}", file.warnings());
        }
        (None, Ok(file)) => {
            assert!(is_used || file.warnings().is_empty(), "{place}: {:#?}", file.warnings());
            let has_tests = file.policy().tests().iter().any(|test| !test.steps.is_empty());
            assert!(is_used || has_tests, "{place}: shows nothing");
            match expectation {
                "" => assert_eq!(failures(file.policy()), [""; 0], "{place}"),
                ",fails-its-tests" => assert!(!failures(file.policy()).is_empty(), "{place}: all tests pass"),
                other => panic!("{place}: ```knob{other} means nothing"),
            }
        }
        (_, Ok(_)) => panic!("{place}: has no error"),
        (_, Err(error)) => panic!("{place}: {error:#?}"),
    }
}

/// The steps of a policy's tests that fail.
fn failures(policy: &Policy) -> Vec<String> {
    let mut failures = Vec::new();
    for test in policy.tests() {
        for step in &test.steps {
            let verdict = evaluate(policy, step.access()).verdict;
            if !is_as_stated(step.expected(), &verdict) {
                failures.push(format!("\"{}\": {step:?}, and it is {verdict:?}", test.name));
            }
        }
    }
    failures
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
    let blocks: Vec<Block> = documents().iter().flat_map(|path| blocks(path)).collect();
    blocks.iter().for_each(check);
    let with = |page: &str| blocks.iter().filter(|block| block.place.starts_with(page)).count();
    for page in ["README.md:", "docs/language.md:", "docs/recipes.md:", "docs/operations.md:"] {
        assert!(with(page) > 0, "{page} has no policy");
    }
    assert!(blocks.len() > 50, "{} policies", blocks.len());
}

#[test]
fn the_examples_parse_and_their_tests_pass() {
    for (directory, least) in [("examples", 4), ("examples/sysctl.d", 6)] {
        let files = fs::read_dir(Path::new(ROOT).join(directory)).unwrap().map(|entry| entry.unwrap().path());
        let policies: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|end| end == "knob")).collect();
        assert!(policies.len() >= least, "{policies:?}");
        for path in policies {
            let text = fs::read_to_string(&path).unwrap();
            let parsed = parse(Source::new(path.display().to_string(), text), &CheckOptions::default());
            let file = parsed.unwrap_or_else(|error| panic!("{error:#?}"));
            assert!(file.warnings().is_empty(), "{}: {:#?}", path.display(), file.warnings());
            assert_eq!(failures(file.policy()), [""; 0], "{}", path.display());
        }
    }
}

#[test]
fn the_tour_in_the_readme_is_the_one_in_the_examples() {
    let quoted = blocks("README.md").into_iter().next().map(|block| block.text);
    assert_eq!(quoted.as_deref(), Some(document("examples/tour.knob").as_str()));
}

#[test]
fn the_limits_in_the_reference_are_those_of_the_language() {
    let table = section("Limits");
    for row in [
        format!("a policy file, with all that it includes | {} MiB", limits::FILE_MAX >> 20),
        format!("that a policy includes | 1,000, {} deep", limits::INCLUDE_DEPTH_MAX),
        format!("the name of a policy | {} bytes", limits::POLICY_NAME_MAX),
        format!("a glob for texts | {} bytes", limits::PATTERN_MAX),
        format!("to compare with | {} bytes", grouped(limits::VALUE_MAX)),
        format!("a text to write | {} bytes", grouped(limits::REPLACED_MAX)),
        format!("`{{…}}` in patterns | {}", limits::NESTING_MAX),
        format!("that can be named | {}", limits::ELEMENTS_MAX),
        format!("the name of a knob | {} bytes", limits::NAME_MAX),
        format!(
            "that is looked at | {} bytes; {} before Linux 5.17",
            grouped(limits::VALUE_MAX),
            limits::SHORT_VALUE_MAX
        ),
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

/// A number of four digits.
fn grouped(number: usize) -> String {
    format!("{},{:03}", number / 1000, number % 1000)
}

/// A section of the reference.
fn section(heading: &str) -> String {
    let reference = document("docs/language.md");
    let section = reference.split(&format!("\n## {heading}\n")).nth(1);
    section.and_then(|rest| rest.split("\n## ").next()).expect("a section").to_owned()
}

/// The section on filters in the reference.
fn filters() -> String {
    section("Filters")
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

/// The container of the examples.
struct Container;

impl SelectorFields for Container {
    fn text(&self, field: &SelectorField) -> Option<Cow<'_, [u8]>> {
        let text = match field {
            SelectorField::Engine => "containerd",
            SelectorField::Cgroup => "/kubepods.slice/kubepods-pod2f1a.slice/cri-containerd-4f6b.scope",
            SelectorField::Unit => "",
            SelectorField::Container => "nginx",
            SelectorField::Pod => "web-0",
            SelectorField::Namespace => "prod",
            SelectorField::Image => "nginx:1.27",
            _ => return None,
        };
        Some(Cow::Borrowed(text.as_bytes()))
    }
}

#[test]
fn the_selectors_in_the_reference_hold_as_it_says() {
    let section = section("Where a policy applies");
    for field in [SelectorField::Pod, SelectorField::Image, SelectorField::Cgroup] {
        let text = Container.text(&field).expect("it is known").into_owned();
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(section.contains(&format!("| `{field}` | `{text}` |")), "the container has another {field}");
    }
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `apply if ")?.split_once("` | "));
    let mut count = 0;
    for (text, result) in rows {
        let selector = Selector::parse(Source::new("docs/language.md", text)).expect(text);
        let holds = match selector.holds(&Container) {
            Some(true) => "applies",
            Some(false) => "does not apply",
            None => "cannot be evaluated",
        };
        assert!(result.starts_with(holds), "{text}: {holds}");
        count += 1;
    }
    assert!(count > 7, "{count}");
}

/// Who chooses which field, as the reference says it.
fn trust_table() -> String {
    let fields = [
        SelectorField::Engine,
        SelectorField::Cgroup,
        SelectorField::Unit,
        SelectorField::Namespace,
        SelectorField::Pod,
        SelectorField::Container,
        SelectorField::Image,
        SelectorField::Label("KEY".into()),
    ];
    let mut table = "| field | of | chosen by | |\n| --- | --- | --- | --- |\n".to_owned();
    for field in fields {
        let mut groups: Vec<(Trust, Vec<&str>)> = Vec::new();
        for &engine in Engine::ALL {
            let trust = trust(engine, &field);
            match groups.iter_mut().find(|(other, _)| *other == trust) {
                Some((_, engines)) => engines.push(engine.name()),
                None => groups.push((trust, vec![engine.name()])),
            }
        }
        groups.sort_by_key(|(trust, _)| match trust {
            Trust::Trusted(_) => 0,
            Trust::Chosen(_) => 1,
            Trust::Unknown => 2,
            _ => 3,
        });
        for (trust, engines) in groups {
            let mark = match trust {
                Trust::Trusted(_) => "trusted",
                Trust::Chosen(_) => "not trusted",
                Trust::Unknown => "not known",
                _ => "has none",
            };
            let (engines, who) = (engines.join(", "), trust.chosen_by().unwrap_or_default());
            table += &format!(
                "| `{}` | {engines} | {who} | {mark} |\n",
                field.to_string().replace("\"KEY\"", "…")
            );
        }
    }
    table
}

#[test]
fn the_reference_says_whom_to_trust_as_the_library_does() {
    let table = trust_table();
    assert!(section("Where a policy applies").contains(&table), "the reference does not have:\n{table}");
}

#[test]
fn the_reference_lists_the_fields_of_selectors() {
    let section = section("Where a policy applies");
    let error = Selector::parse(Source::new("x", "no_such_field == \"a\"")).unwrap_err();
    let help = error.diagnostics()[0].help.as_deref().expect("the names of all fields");
    for field in help.split('`').skip(1).step_by(2) {
        assert!(section.contains(&format!("| `{field}` | ")), "{field}");
    }
    for engine in Engine::ALL {
        assert!(section.contains(&format!("`{engine}`")), "{engine}");
    }
}
