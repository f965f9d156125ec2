//! Scenarios as JSON: the checker finds errors, and the schema is that of the types.

mod expectations;
mod limits;
mod messages;

use std::fs;
use std::io;

use knobgate_scenario::{Document, Scenario, json_schema};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/scenario.schema.json");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

const ALLOW: &str = "b700000001000000 9500000000000000";

/// The files that the documents here name.
fn files(name: &str) -> io::Result<Vec<u8>> {
    match name {
        "good.knob" => Ok(b"policy good\nallow read **\n".to_vec()),
        "bad.knob" => Ok(b"policy bad\nallow reed **\nallow write vm.x if new <= \"9\"\n".to_vec()),
        _ => Err(io::Error::from_raw_os_error(2)),
    }
}

/// Every error, one a line.
fn errors(json: &str) -> String {
    match Scenario::parse(json, &mut files) {
        Ok(_) => "none\n".to_owned(),
        Err(errors) => errors.iter().map(|error| format!("{error}\n")).collect(),
    }
}

/// A document with one knob, map, program and cgroup, and these members besides or instead.
fn document(members: &str) -> String {
    let own = |name: &str| members.contains(&format!("\"{name}\":"));
    let mut text = format!("{{{members}");
    for (name, value) in [
        ("knobs", r#"[{"name": "vm.x", "value": "1", "handler": {"kind": "int"}}]"#.to_owned()),
        (
            "maps",
            r#"[{"name": "m", "type": "array", "key_size": 4, "value_size": 8, "max_entries": 1}]"#
                .to_owned(),
        ),
        ("programs", format!(r#"{{"p": {{"insns": "{ALLOW}"}}}}"#)),
        ("cgroups", r#"["a/b"]"#.to_owned()),
        ("steps", "[]".to_owned()),
    ] {
        if !own(name) {
            text.push_str(&format!("{}\"{name}\": {value}", if text.len() > 1 { ", " } else { "" }));
        }
    }
    text + "}"
}

fn step(step: &str) -> String {
    document(&format!(r#""steps": [{step}]"#))
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("KNOBGATE_UPDATE_SCHEMA").is_some() {
        fs::write(SCHEMA, &schema).unwrap();
    }
    let published = fs::read_to_string(SCHEMA).unwrap_or_default();
    assert!(
        published == schema,
        "schemas/scenario.schema.json is stale: run this test with KNOBGATE_UPDATE_SCHEMA=1"
    );
}

/// The names of the examples, with their texts.
fn examples() -> Vec<(String, String)> {
    let entries = fs::read_dir(EXAMPLES).unwrap().map(|entry| entry.unwrap().path());
    let scenarios = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    scenarios.map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn the_examples_are_right_and_fit_the_schema() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    let examples = examples();
    assert!(!examples.is_empty());
    for (name, text) in examples {
        let errors: Vec<String> = validator
            .iter_errors(&serde_json::from_str(&text).unwrap())
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        let checked = Scenario::parse(&text, &mut |file| fs::read(format!("{EXAMPLES}/{file}")));
        assert!(checked.is_ok(), "{name}: {checked:#?}");
    }
}

#[test]
fn the_schema_rejects_what_is_not_a_scenario() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    let fits = |text: &str| validator.is_valid(&serde_json::from_str(text).unwrap());
    assert!(fits(&document("")));
    for wrong in [
        document(r#""unknown": 1"#),
        document(r#""programs": {"p": {}}"#),
        document(r#""programs": {"p": {"policy": "x", "object": "y"}}"#),
        document(r#""programs": {"p": {"insns": "0"}}"#),
        step(r#"{"load": "p", "map": "m"}"#),
        step(r#"{"effective": "/", "wrte": 1}"#),
        step(r#"{"effective": "/", "exepct": {"ok": true}}"#),
        step(r#"{"write": {"knob": "vm.x", "cgroup": "/", "data": {"hex": "0"}}}"#),
    ] {
        assert!(!fits(&wrong), "{wrong}");
        assert_ne!(errors(&wrong), "none\n", "{wrong}");
    }
}

#[test]
fn a_document_survives_being_written() {
    for (name, text) in examples() {
        let document = Document::parse(&text).unwrap();
        let written = serde_json::to_string(&document).unwrap();
        assert_eq!(Document::parse(&written).unwrap(), document, "{name}");
    }
}
