//! What SARIF 2.1.0 requires of the members that are written.

use serde_json::Value;

/// Asserts that `printed` is one SARIF document with everything in it that has to be, and returns its results.
#[track_caller]
pub(crate) fn assert_is_sarif(printed: &[u8]) -> Vec<Value> {
    let log: Value = serde_json::from_slice(printed).unwrap();
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().ends_with("/sarif-schema-2.1.0.json"));
    let [run] = &log["runs"].as_array().unwrap()[..] else { panic!("one run: {log:#}") };
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "knobgate");
    let rules: Vec<&str> =
        driver["rules"].as_array().unwrap().iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    for rule in driver["rules"].as_array().unwrap() {
        assert_text(&rule["shortDescription"]);
        rule.get("help").into_iter().for_each(assert_text);
    }
    let [invocation] = &run["invocations"].as_array().unwrap()[..] else { panic!("one: {run:#}") };
    let problems = invocation["toolExecutionNotifications"].as_array().unwrap();
    problems.iter().for_each(|problem| assert_text(&problem["message"]));
    assert_eq!(invocation["executionSuccessful"], problems.is_empty());
    let results = run["results"].as_array().unwrap();
    for result in results {
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(result["ruleId"], rules[index]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert_text(&result["message"]);
        assert_location(&result["locations"][0]["physicalLocation"]);
        for related in result.get("relatedLocations").and_then(Value::as_array).into_iter().flatten() {
            assert_location(&related["physicalLocation"]);
            assert_text(&related["message"]);
        }
        for fix in result.get("fixes").and_then(Value::as_array).into_iter().flatten() {
            assert_text(&fix["description"]);
            let change = &fix["artifactChanges"][0];
            assert!(change["artifactLocation"]["uri"].is_string());
            assert_region(&change["replacements"][0]["deletedRegion"]);
            assert!(change["replacements"][0]["insertedContent"]["text"].is_string());
        }
    }
    results.clone()
}

#[track_caller]
fn assert_text(message: &Value) {
    assert!(message["text"].as_str().is_some_and(|text| !text.is_empty()), "{message}");
}

#[track_caller]
fn assert_location(location: &Value) {
    let uri = location["artifactLocation"]["uri"].as_str().unwrap();
    assert!(!uri.is_empty() && uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{uri}");
    location.get("region").into_iter().for_each(assert_region);
}

#[track_caller]
fn assert_region(region: &Value) {
    let at = |member: &str| region[member].as_u64().unwrap();
    let (start, end) = ((at("startLine"), at("startColumn")), (at("endLine"), at("endColumn")));
    assert!(start.0 >= 1 && start.1 >= 1 && start <= end, "{region}");
}
