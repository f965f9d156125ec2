//! The result as JSON matches its schema.

use std::fs;

use knobgate_drift::{ConfiguredKnob, Drift, DriftDocument, Here, Running, UnmatchedGlob, json_schema};
use knobgate_events::json::StreamReader;
use knobgate_policy::KnobName;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/drift.schema.json");

#[test]
fn the_published_schema_is_up_to_date() {
    let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("KNOBGATE_UPDATE_SCHEMA").is_some() {
        fs::write(SCHEMA, &schema).unwrap();
    }
    let published = fs::read_to_string(SCHEMA).unwrap_or_default();
    assert!(
        published == schema,
        "schemas/drift.schema.json is stale: run this test with KNOBGATE_UPDATE_SCHEMA=1"
    );
}

#[test]
fn every_state_matches_the_schema() {
    let configured = |(index, knob): (usize, &str)| ConfiguredKnob {
        knob: KnobName::parse(knob).unwrap(),
        value: "1".to_owned(),
        file: "a.conf".to_owned(),
        line: index + 1,
        glob: (index == 0).then(|| "vm.*".to_owned()),
        ignores_errors: index == 1,
    };
    let knobs = ["vm.same", "vm.differs", "vm.absent", "vm.write_only", "vm.fails", "vm.tcp_fastopen_key"];
    let running = |knob: &KnobName| match knob.to_string().as_str() {
        "vm.same" => Running::Value(b"1\n".into()),
        "vm.differs" => Running::Value(b"\xff".into()),
        "vm.absent" => Running::NoSuchKnob,
        "vm.write_only" => Running::WriteOnly,
        _ => Running::Unreadable("Input/output error (os error 5)".to_owned()),
    };
    let mut drift = Drift::new(knobs.into_iter().enumerate().map(configured), running, Here::default());
    for (time, new) in [(1, "1"), (2, "2")] {
        let line = format!(
            r#"{{"schema":"knobgate.events","version":1,"type":"event","sequence":1,"boot_time":{time},"policy":"p",
            "mode":"enforce","verdict":"allow","access":"write","knob":"vm.differs","position":0,"new":{{"text":"{new}"}},
            "rule":{{"default":"write","text":{{"text":"x"}}}},"cgroup":{{"id":1}}}}"#
        );
        drift.add(&StreamReader::new(line.replace('\n', " ").as_bytes()).next().unwrap().unwrap());
    }
    let unmatched = UnmatchedGlob { glob: "vm.x*".to_owned(), file: "a.conf".to_owned(), line: 9 };
    let document = serde_json::to_value(DriftDocument::new(&drift, vec![unmatched])).unwrap();

    let schema = serde_json::to_value(json_schema()).unwrap();
    if let Err(error) = jsonschema::validator_for(&schema).unwrap().validate(&document) {
        panic!("{error}\n{document:#}");
    }
    let states: Vec<_> = document["knobs"].as_array().unwrap().iter().map(|knob| &knob["state"]).collect();
    assert_eq!(states, ["same", "differs", "no-such-knob", "write-only", "unreadable", "secret"]);
    assert!(document["counts"].as_object().unwrap().values().all(|count| *count == 1), "{document:#}");
    let differs = &document["knobs"][1];
    assert_eq!(differs["running"]["hex"], "ff");
    assert_eq!(differs["written"]["event"]["new"]["text"], "2");
    assert_eq!(differs["written"]["explains"], false);
    assert_eq!(document["knobs"][5]["configured"], serde_json::Value::Null, "it is secret");
}
