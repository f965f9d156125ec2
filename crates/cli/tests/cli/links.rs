//! The documents and the book that is made of them: every link leads somewhere, and the book has every page.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::TESTS;

fn root() -> PathBuf {
    Path::new(TESTS).join("../../..")
}

/// README.md and the other documents at the top, and the pages of the book, by their paths from the root of the project.
fn documents() -> Vec<PathBuf> {
    let in_directory = |directory: &str| {
        let entries = fs::read_dir(root().join(directory)).unwrap();
        let names: Vec<PathBuf> = entries.map(|entry| PathBuf::from(entry.unwrap().file_name())).collect();
        let directory = PathBuf::from(directory);
        names
            .into_iter()
            .filter(|name| name.extension().is_some_and(|it| it == "md"))
            .map(move |name| directory.join(name))
    };
    let mut documents: Vec<PathBuf> = in_directory("").chain(in_directory("docs")).collect();
    documents.sort();
    documents
}

/// The lines of a document that are in no block of code, with their numbers.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut is_code = false;
    for (line, number) in text.lines().zip(1..) {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push((number, line.to_owned()));
        }
    }
    lines
}

/// Where the links and images of a line lead.
fn targets(line: &str) -> Vec<&str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()).collect()
}

/// The anchors of a document's headings, as both mdBook and hosts of repositories make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let Some(heading) = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#')) else { continue };
        let kept = |char: &char| char.is_alphanumeric() || matches!(char, '-' | '_' | ' ');
        let anchor: String = heading.trim().to_lowercase().chars().filter(kept).collect();
        let anchor = anchor.replace(' ', "-");
        let before = seen.entry(anchor.clone()).or_default();
        anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    anchors
}

/// A path without `..`, or `None` if it leads out of the project.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir if normal.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(normal)
}

/// What is wrong with a link in `document`.
fn wrong(document: &Path, target: &str) -> Option<&'static str> {
    if target.starts_with("https://") || target.starts_with("http://") {
        return None;
    }
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let path = if path.is_empty() {
        document.to_owned()
    } else {
        match normal(&document.parent().unwrap_or(Path::new("")).join(path)) {
            Some(path) => path,
            None => return Some("leads out of the project"),
        }
    };
    let is_page = path.extension().is_some_and(|it| it == "md");
    if !root().join(&path).exists() {
        return Some("leads to nothing");
    }
    if is_page && document.starts_with("docs") && !path.starts_with("docs") {
        return Some("leads out of the book, which has only the pages of docs/");
    }
    let anchor = anchor?;
    let known = is_page && anchors(&fs::read_to_string(root().join(&path)).unwrap()).contains(anchor);
    if known { None } else { Some("leads to no heading") }
}

#[test]
fn every_link_leads_somewhere() {
    let (mut count, mut errors) = (0, String::new());
    for document in documents() {
        let text = fs::read_to_string(root().join(&document)).unwrap();
        for (number, line) in prose(&text) {
            for target in targets(&line) {
                count += 1;
                if let Some(error) = wrong(&document, target) {
                    errors += &format!("{}:{number}: {target} {error}\n", document.display());
                }
            }
        }
    }
    assert!(errors.is_empty(), "{errors}");
    assert!(count > 300, "{count} links");
}

#[test]
fn links_that_lead_nowhere_are_found() {
    let page = Path::new("docs/language.md");
    for target in
        ["observing.md", "observing.md#the-stream-json", "#a-policy", "../examples", "https://example.org/x"]
    {
        assert_eq!(wrong(page, target), None, "{target}");
    }
    for target in
        ["no.md", "observing.md#no", "#no", "../examples/no", "../../../etc", "../README.md", "../examples#x"]
    {
        assert!(wrong(page, target).is_some(), "{target}");
    }
    assert_eq!(targets("[a](b.md), ![c](d.svg \"e\") and [f] (g)"), ["b.md", "d.svg"]);
    let headings = "# A `b`: c's d\n## Same\n## Same\n```sh\n# no heading\n```\n";
    assert_eq!(anchors(headings), BTreeSet::from(["a-b-cs-d", "same", "same-1"].map(str::to_owned)));
}

#[test]
fn the_book_has_every_page_once() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let mut listed: Vec<&str> = summary.lines().flat_map(targets).collect();
    listed.sort_unstable();
    let mut pages: Vec<String> = documents()
        .iter()
        .filter_map(|path| Some(path.strip_prefix("docs").ok()?.display().to_string()))
        .filter(|name| name != "SUMMARY.md")
        .collect();
    pages.sort_unstable();
    assert_eq!(listed, pages, "docs/SUMMARY.md lists other pages than there are");
}
