//! Diffs as JSON match their schema.

use std::fs;

use knobgate_diff::{ClassEventsDocument, Diff, DiffDocument, EventsDocument, json_schema};
use knobgate_policy::{CheckOptions, PolicyFile, Source, parse};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/diff.schema.json");

fn policy(name: &str, rules: &str) -> PolicyFile {
    let source = Source::new(name, format!("policy p\n{rules}\n"));
    parse(source, &CheckOptions::default()).expect("a policy")
}

#[test]
fn the_published_schema_is_up_to_date() {
    let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("KNOBGATE_UPDATE_SCHEMA").is_some() {
        fs::write(SCHEMA, &schema).unwrap();
    }
    let published = fs::read_to_string(SCHEMA).unwrap_or_default();
    assert!(
        published == schema,
        "schemas/diff.schema.json is stale: run this test with KNOBGATE_UPDATE_SCHEMA=1"
    );
}

/// The document with as many events in each class as there are before it.
fn with_events(diff: &Diff, document: DiffDocument) -> DiffDocument {
    let of_class = |(count, _)| ClassEventsDocument {
        count: count as u64,
        denied_before: 0,
        first: Some("2026-11-29T12:04:31.732Z".to_owned()),
        last: None,
        workloads: vec!["docker/web-1".to_owned()],
        more_workloads: false,
    };
    let events = EventsDocument { same: 1, unknown: 2, suppressed: 3, lost: 4 };
    document.with_events(events, diff.classes().iter().enumerate().map(of_class))
}

#[test]
fn diffs_match_the_schema() {
    let schema = serde_json::to_value(json_schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let old = policy(
        "old.knob",
        "allow write vm.a if new <= 5\nset write vm.b to \"x\"\nallow write vm.c\ndeny write vm.d\n\
         allow write vm.e if count(new) < new[1]\ndeny read vm.f nolog\nallow read fs.** if comm starts with \"x\"",
    );
    let new = policy(
        "new.knob",
        "default read deny(EIO)\nallow write vm.a if new <= 6\nset write vm.b to \"\\xff\"\ndeny write vm.c\n\
         deny(EIO) write vm.d\nallow write vm.e if new[1] > count(new)\ndeny read vm.f log\n\
         allow write vm.g if uid == 7 and old in 1..2 and new == \"\\xfe\" and gid != 4 and pos < 5",
    );
    let elsewhere = policy("old.knob", "apply if pod == \"a\"");
    for (old, new) in [(&old, &new), (&new, &old), (&old, &old), (&old, &elsewhere)] {
        let diff = Diff::between(old.policy(), new.policy()).unwrap();
        let document = serde_json::to_value(DiffDocument::new(&diff, old, new)).unwrap();
        if let Err(error) = validator.validate(&document) {
            panic!("{error}\n{document:#}");
        }
        assert_eq!(document["classes"].as_array().map(Vec::len), Some(diff.classes().len()));
        let counts = document["counts"].as_object().unwrap();
        let all: u64 = counts.values().filter_map(serde_json::Value::as_u64).sum();
        assert_eq!(all, diff.classes().len() as u64);
    }
    let diff = Diff::between(old.policy(), new.policy()).unwrap();
    let document = serde_json::to_value(with_events(&diff, DiffDocument::new(&diff, &old, &new))).unwrap();
    assert!(validator.is_valid(&document), "{document:#}");
    assert_eq!(document["classes"][1]["events"]["count"], 1);
    assert_eq!(document["events"]["lost"], 4);
    assert!(document["counts"].as_object().unwrap().values().all(|count| *count != 0), "{document:#}");
}

#[test]
fn selectors_are_compared_whatever_their_order() {
    let old = policy("old.knob", "apply if pod == \"a\"\napply if pod == \"b\"");
    let new = policy("new.knob", "apply if pod == \"b\"\napply if image == \"nginx\"");
    let same = policy("same.knob", "apply if pod == \"b\"\napply if pod == \"a\"");
    let diff = Diff::between(old.policy(), new.policy()).unwrap();
    assert!(diff.classes().is_empty());
    let document = serde_json::to_value(DiffDocument::new(&diff, &old, &new)).unwrap();
    assert_eq!(
        document["apply_if"],
        serde_json::json!({
            "removed": ["pod == \"a\""],
            "added": ["image == \"docker.io/library/nginx:latest\""],
        })
    );
    let diff = Diff::between(old.policy(), same.policy()).unwrap();
    assert!(diff.selectors().is_empty());
    let document = serde_json::to_value(DiffDocument::new(&diff, &old, &same)).unwrap();
    assert!(document.get("apply_if").is_none());
}
