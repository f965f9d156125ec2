//! The lists of helpers and of types of map in docs/programs.md are those of the tables.

use std::collections::BTreeMap;

use knobgate_bpf::{Helper, MapKind, MapSupport};

const DOCUMENT: &str = include_str!("../../../docs/programs.md");

/// The rows of the document: the helpers by first release, and those without a prototype.
fn rows() -> Vec<String> {
    let mut by_release: BTreeMap<Option<(u16, u16)>, Vec<String>> = BTreeMap::new();
    for helper in Helper::ALL {
        let (since, note) = match &helper.proto {
            Some(proto) => (Some(proto.since), if proto.gpl_only { " (GPL)" } else { "" }),
            None => (None, ""),
        };
        let name = helper.name.trim_start_matches("bpf_");
        by_release.entry(since).or_default().push(format!("`{name}`{note}"));
    }
    let row = |(since, names): (Option<(u16, u16)>, Vec<String>)| {
        let since = since.map_or("not modelled".to_owned(), |(major, minor)| format!("{major}.{minor}"));
        format!("| {since} | {} |", names.join(", "))
    };
    by_release.into_iter().map(row).collect()
}

/// The rows of the first table of a section.
fn listed(section: &str) -> Vec<&'static str> {
    DOCUMENT
        .lines()
        .skip_while(|line| *line != section)
        .skip_while(|line| !line.starts_with("| ---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect()
}

#[test]
fn the_document_lists_all_types_of_map() {
    let row = |kind: &MapKind| {
        let (kernel, model) = match kind.support() {
            MapSupport::Modelled { since: (major, minor) } => (format!("{major}.{minor}"), "yes"),
            MapSupport::KernelOnly { since: (major, minor) } => (format!("{major}.{minor}"), "no"),
            MapSupport::Unsupported { reason } => (format!("no: {reason}"), "no"),
            other => panic!("{other:?} has no row"),
        };
        format!("| `{}` | {kernel} | {model} |", kind.name())
    };
    let expected: Vec<String> = MapKind::ALL.iter().map(row).collect();
    assert_eq!(listed("## Maps"), expected, "the rows should be:\n{}", expected.join("\n"));
}

#[test]
fn the_document_lists_all_helpers() {
    let listed = listed("## Helpers");
    let mut expected = rows();
    // Helpers without a prototype come last.
    expected.rotate_left(1);
    assert_eq!(listed, expected, "the rows should be:\n{}", expected.join("\n"));
}
