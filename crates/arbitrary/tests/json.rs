//! Policies as JSON: nothing is lost, and what is printed is as the schema says.

use knobgate_policy::{CheckOptions, PolicyFile, json_schema, parse_json, print_json};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

proptest! {
    #[test]
    fn a_policy_comes_back_from_json(policy in knobgate_arbitrary::policy()) {
        let json = print_json(&policy);
        let again = parse_json("x.json", &json, &CheckOptions::default()).map(PolicyFile::into_policy);
        prop_assert_eq!(again, Ok(policy), "{}", json);
    }
}

#[test]
fn printed_json_fits_the_schema() {
    let schema = jsonschema::validator_for(&json_schema()).unwrap();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..50 {
        let policy = knobgate_arbitrary::policy().new_tree(&mut runner).unwrap().current();
        let json = serde_json::from_str(&print_json(&policy)).unwrap();
        if let Err(error) = schema.validate(&json) {
            panic!("{error}\n{json:#}");
        }
    }
    let json = r#"{"name": "x", "rules": [{"action": "alow", "kinds": ["write"], "knobs": ["a.b"]}]}"#;
    assert!(schema.validate(&serde_json::from_str(json).unwrap()).is_err());
}
