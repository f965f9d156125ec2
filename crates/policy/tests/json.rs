//! Policies as JSON: nothing is lost, and everything is checked.

use std::fs;

use knobgate_policy::{CheckOptions, json_schema, parse_json};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/policy.schema.json");

/// Every error, one per line.
fn errors(json: &str) -> String {
    match parse_json("x.json", json, &CheckOptions::default()) {
        Ok(_) => "none\n".to_owned(),
        Err(error) => error
            .into_iter()
            .map(|error| {
                format!(
                    "{error}{}\n",
                    error.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default()
                )
            })
            .collect(),
    }
}

/// A document with the rule `allow write kernel.panic`, and a second rule with these fields.
fn rule(fields: &str) -> String {
    format!(
        r#"{{"name": "x", "rules": [{{"action": "allow", "kinds": ["write"], "knobs": ["kernel.panic"]}}, {{{fields}}}]}}"#
    )
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
        "schemas/policy.schema.json is stale: run this test with KNOBGATE_UPDATE_SCHEMA=1"
    );
}

#[test]
fn errors_name_the_path() {
    let head = r#""kinds": ["write"], "knobs": ["a.b"]"#;
    let allow = format!(r#""action": "allow", {head}"#);
    let condition = |condition: &str| rule(&format!(r#"{allow}, "condition": {condition}"#));
    let mut table = String::new();
    for json in [
        "".to_owned(),
        "[]".to_owned(),
        r#"{"name": "x"} {}"#.to_owned(),
        r#"{"rules": []}"#.to_owned(),
        r#"{"name": "x\nallow write **"}"#.to_owned(),
        r#"{"name": "x", "mod": "audit"}"#.to_owned(),
        r#"{"name": "x", "mode": "audits"}"#.to_owned(),
        r#"{"name": "x", "defaults": {"write": {"action": {"deny": "EPREM"}}}}"#.to_owned(),
        rule(r#""action": "alow", "kinds": ["write"], "knobs": ["a.b"]"#),
        rule(r#""action": "allow", "kinds": [], "knobs": ["a.b"]"#),
        rule(r#""action": "allow", "kinds": ["write"], "knobs": []"#),
        rule(r#""action": "allow", "kinds": ["write"], "knobs": ["a.b", "a..b"]"#),
        rule(r#""action": "allow", "kinds": ["write"], "knobs": ["a.b if new == 1"]"#),
        rule(&format!(r#""action": {{"set": "a\nb"}}, {head}"#)),
        rule(&format!(r#""action": {{"set": {{"hex": "0"}}}}, {head}"#)),
        rule(&format!(r#""action": {{"set": 5}}, {head}"#)),
        rule(&format!(r#""action": {{"clamp": []}}, {head}"#)),
        rule(&format!(r#""action": {{"clamp": [{{"low": 2, "high": 1}}, {{}}]}}, {head}"#)),
        rule(r#""action": "ignore", "kinds": ["read"], "knobs": ["a.b"]"#),
        rule(&format!(r#"{allow}, "log": "al""#)),
        rule(&format!(r#"{allow}, "log": {{"per_second": 0}}"#)),
        r#"{"name": "x", "defaults": {"read": {"action": "allow", "log": {"per_second": 1000001}}}}"#.to_owned(),
        condition(r#"{"in_set": {"operand": "new", "members": [1, {"low": 2, "high": 1}, {}]}}"#),
        condition(r#"{"in_set": {"operand": "new", "members": [18446744073709551616]}}"#),
        condition(r#"{"in_set": {"operand": "new", "members": [{"lo": 2}]}}"#),
        condition(r#"{"list": {"of": "new", "test": {"equals": []}}}"#),
        condition(r#"{"list": {"of": "old", "test": {"in": [{}, {}]}}}"#),
        condition(r#"{"list": {"of": "uid", "test": {"differs": [1]}}}"#),
        condition(r#"{"chain": {"first": {"masked": {"operand": "uid", "mask": 0}}, "links": [{"relation": "<", "operand": {"each": "new"}}]}}"#),
        condition(r#"{"chain": {"first": {"each": "new"}, "links": [{"relation": "<", "operand": {"each": "new"}}]}}"#),
        condition(r#"{"ranges": {"of": "new", "members": []}}"#),
        condition(r#"{"ranges": {"of": "new", "members": [{}]}}"#),
        condition(r#"{"all": []}"#),
        condition(r#"{"all": [{"not": {"in_set": {"operand": "new", "members": []}}}, {"chain": {"first": "uid", "links": []}}]}"#),
        condition(r#"{"any": [{"text": {"operand": "new", "test": {"equals": "a\u0000"}}}, {"text": {"operand": "comm", "test": {"matches": "[a"}}}]}"#),
        condition(r#"{"chain": {"first": {"literal": 18446744073709551616}, "links": [{"relation": "<", "operand": "new"}]}}"#),
        condition(r#"{"chain": {"first": {"literal": 1}, "links": [{"relation": "<", "operand": {"literal": 2}}]}}"#),
        condition(r#"{"chain": {"first": {"element": {"of": "new", "index": 8}}, "links": [{"relation": "=", "operand": "old"}]}}"#),
        condition(r#"{"chain": {"first": {"element": {"of": "new", "index": 8}}, "links": [{"relation": "<", "operand": "old"}]}}"#),
        condition(r#"{"in_range": {"operand": "new", "range": {}}}"#),
        condition(&format!("{}{}{}", r#"{"not":"#.repeat(33), r#"{"in_set": {"operand": "new", "members": [1]}}"#, "}".repeat(33))),
        condition(&format!("{}{}", r#"{"not":"#.repeat(3000), "}".repeat(3000))),
        r#"{"name": "x", "tests": [{"name": "t", "steps": [{"knob": "a.*", "expect": "allow"}]}]}"#.to_owned(),
        r#"{"name": "x", "tests": [{"name": "t", "steps": [{"knob": "a.b", "expect": {"set": "x"}}]}]}"#.to_owned(),
        r#"{"name": "x", "tests": [{"name": "t", "steps": [{"knob": "a.b", "uid": -1, "expect": "allow"}]}]}"#.to_owned(),
    ] {
        let shown: String = json.chars().take(200).collect();
        table.push_str(&format!("{shown}\n{}\n", errors(&json)));
    }
    insta::assert_snapshot!(table);
}

#[test]
fn only_the_name_is_required() {
    let file =
        parse_json("x.json", r#"{"$schema": "policy.schema.json", "name": "x"}"#, &CheckOptions::default())
            .unwrap();
    assert_eq!(file.policy().defaults(), knobgate_policy::Defaults::default());
    assert_eq!(file.source().name(), "x.json");
}

#[test]
fn policies_in_json_get_warnings_too() {
    let rules = r#"
        {"action": {"clamp": [{"high": 4294967296}]}, "kinds": ["write"], "knobs": ["kernel.panic"]},
        {"action": "allow", "kinds": ["write"], "knobs": ["kernel.panic"]},
        {"action": "allow", "kinds": ["write"], "knobs": ["vm.a"],
         "condition": {"text": {"operand": "comm", "test": {"equals": "sysctl"}}}}"#;
    let json = format!(r#"{{"name": "x", "rules": [{rules}]}}"#);
    let file = parse_json("x.json", &json, &CheckOptions::default()).unwrap();
    let line = |span: knobgate_policy::Span| file.source().line(span.start);
    let found: Vec<_> =
        file.warnings().iter().map(|warning| (warning.code, line(warning.primary.span))).collect();
    assert_eq!(found, [("beyond-width", 6), ("unreachable-rule", 7), ("chosen-comm", 8)]);
}
