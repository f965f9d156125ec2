use std::path::PathBuf;

use serde_json::{Value, json};

use super::client::uri;
use super::{Client, FakeMachine};

fn machine(files: &[(&str, &str)]) -> FakeMachine {
    let files = files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    FakeMachine { files, values: [("vm/swappiness", "60\n")].into() }
}

#[test]
fn errors_and_warnings_have_places_codes_and_related_places() {
    let mut client = Client::initialized(machine(&[]));
    client
        .open("/x.knob", "policy x\nallow write vm.**\ndeny write vm.swappiness # \u{e9}\nalow read vm.**\n");
    let all = client.diagnostics("/x.knob");
    let codes: Vec<_> = all.iter().map(|one| (&one["severity"], one["code"].as_str().unwrap())).collect();
    assert_eq!(codes, [(&json!(2), "unreachable-rule"), (&json!(1), "unknown-action")]);
    let range = json!({"start": {"line": 2, "character": 0}, "end": {"line": 2, "character": 24}});
    assert_eq!(all[0]["range"], range);
    assert_eq!(all[0]["source"], "knobgate");
    assert_eq!(all[0]["relatedInformation"][0]["location"]["range"]["start"]["line"], 1);
    assert_eq!(all[1]["message"], "there is no action `alow`\nhelp: did you mean `allow`?");

    client.change("/x.knob", 2, "policy too-large\nallow write vm.swappiness\n");
    assert_eq!(client.codes("/x.knob"), ["1 too-large"]);
    client.change("/x.knob", 3, "policy x\nallow write vm.swappiness\nallow write vm.unknown\n");
    assert_eq!(client.codes("/x.knob"), ["2 unknown-knob"]);
    client.change("/x.knob", 4, "policy x\n");
    assert_eq!(client.codes("/x.knob"), [""; 0]);
}

#[test]
fn what_was_typed_while_the_server_was_busy_is_checked_once() {
    let mut client = Client::initialized(machine(&[]));
    client.open("/x.knob", "policy x\n");
    for version in 2..100 {
        client.change("/x.knob", version, "policy x\nalow read vm.**\n");
    }
    let mut told = 0;
    loop {
        let params = client.notification("textDocument/publishDiagnostics");
        told += 1;
        if params["version"] == 99 {
            break;
        }
    }
    assert!(told < 99, "{told} reports");
}

#[test]
fn an_included_file_has_its_own_reports_from_the_disk_or_the_editor() {
    let mut client = Client::initialized(machine(&[
        ("/p/parts/vm.knob", "allow write vm.swappiness\nalow write vm.swappiness\n"),
        ("/p/other.knob", "policy other\ninclude \"parts/vm.knob\"\n"),
    ]));
    client.open("/p/web.knob", "policy web\ninclude \"parts/vm.knob\"\ndeny write vm.swappiness\n");
    assert_eq!(client.codes("/p/parts/vm.knob"), ["1 unknown-action"]);
    // The editor has another text of it.
    client.open("/p/parts/vm.knob", "allow write vm.swappiness\n");
    assert_eq!(client.codes("/p/parts/vm.knob"), [""; 0]);
    let all = client.diagnostics("/p/web.knob");
    assert_eq!(all[0]["code"], "unreachable-rule");
    assert_eq!(all[0]["relatedInformation"][0]["location"]["uri"], uri("/p/parts/vm.knob"));
    // It is not saved, and closed: the file is as it was.
    client.close("/p/parts/vm.knob");
    while client.codes("/p/parts/vm.knob") != ["1 unknown-action"] {}
    client.close("/p/web.knob");
    assert_eq!(client.codes("/p/parts/vm.knob"), [""; 0]);
}

#[test]
fn a_file_for_policies_to_include_needs_no_header() {
    let mut client = Client::initialized(machine(&[("/p/vm.knob", "")]));
    client.open("/p/vm.knob", "allow write vm.swappiness\nalow write vm.swappiness\n");
    assert_eq!(client.codes("/p/vm.knob"), ["3 missing-header", "1 unknown-action"]);
    client.open("/p/web.knob", "policy web\ninclude \"vm.knob\"\n");
    while client.codes("/p/vm.knob") != ["1 unknown-action"] {}
    client.close("/p/web.knob");
    while client.codes("/p/vm.knob") != ["3 missing-header", "1 unknown-action"] {}
    // With a statement that only a policy has, it lacks its header.
    client.change("/p/vm.knob", 2, "mode audit\n");
    while client.codes("/p/vm.knob") != ["1 missing-header"] {}
}

#[test]
fn two_policies_with_the_same_file_report_its_errors_once() {
    let mut client = Client::initialized(machine(&[("/p/vm.knob", "alow write vm.swappiness\n")]));
    client.open("/p/a.knob", "policy a\ninclude \"vm.knob\"\n");
    assert_eq!(client.codes("/p/vm.knob"), ["1 unknown-action"]);
    let related = |value: &Value| value["relatedInformation"][0]["location"]["uri"].clone();
    client.open("/p/b.knob", "policy b\ninclude \"vm.knob\"\n");
    let all = client.diagnostics("/p/vm.knob");
    // They differ in the statement that includes the file.
    let statements: Vec<Value> = all.iter().map(related).collect();
    assert_eq!(statements, [uri("/p/a.knob"), uri("/p/b.knob")]);
}

#[test]
fn a_text_in_no_file_includes_presets_alone() {
    let mut client = Client::initialized(machine(&[]));
    let text = "policy x\ninclude preset \"node-bounds@1\"\ninclude \"a.knob\"\n";
    let document = json!({"uri": "untitled:Untitled-1", "languageId": "knob", "version": 1, "text": text});
    client.notify("textDocument/didOpen", &json!({"textDocument": document}));
    let params = client.notification("textDocument/publishDiagnostics");
    assert_eq!(params["uri"], "untitled:Untitled-1");
    assert_eq!(params["diagnostics"][0]["code"], "no-files");
    assert_eq!(params["diagnostics"].as_array().unwrap().len(), 1, "{params}");
}

#[test]
fn definitions_are_earlier_rules_and_files() {
    let files = [("/p/parts/vm.knob", "allow write vm.**\n"), ("/p/empty.knob", "")];
    for (text, expected) in [
        ("policy x\nallow write vm.**\ndeny write vm.sw|appiness\n", vec![("/x.knob", 1)]),
        ("policy x\ninclude \"parts/|vm.knob\"\n", vec![("/p/parts/vm.knob", 0)]),
        ("policy x\nincl|ude \"./parts/../empty.knob\"\n", vec![]),
        ("policy x\ninclude \"parts/vm.knob\"\ndeny write| vm.swappiness\n", vec![("/p/parts/vm.knob", 0)]),
        ("policy x\ninclude \"missing.kno|b\"\n", vec![]),
        ("policy x\ninclude preset \"node-bo|unds@1\"\n", vec![]),
        ("policy x\nmode audit\nmode en|force\n", vec![("/x.knob", 1)]),
        ("policy x\nallow write| vm.**\n", vec![]),
    ] {
        let mut client = Client::initialized(machine(&files));
        let result = client.at_cursor("textDocument/definition", "/p/x.knob", text);
        let places: Vec<(String, u64)> = result
            .as_array()
            .into_iter()
            .flatten()
            .map(|place| {
                (place["uri"].as_str().unwrap().to_owned(), place["range"]["start"]["line"].as_u64().unwrap())
            })
            .collect();
        let expected: Vec<(String, u64)> = expected
            .into_iter()
            .map(|(path, line)| (uri(if path == "/x.knob" { "/p/x.knob" } else { path }), line))
            .collect();
        assert_eq!(places, expected, "{text}");
    }
}

#[test]
fn the_outline_has_what_is_named() {
    let mut client = Client::initialized(machine(&[]));
    client.open("/x.knob", "policy web\nallow write vm.swappiness,\n  vm.b\nallow nonsense x\ntest \"\" {\n  read a => allow\n}\n");
    let params = json!({"textDocument": {"uri": uri("/x.knob")}});
    let result = client.request("textDocument/documentSymbol", &params).unwrap();
    let names: Vec<_> =
        result.as_array().unwrap().iter().map(|symbol| symbol["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["web", "allow write vm.swappiness, vm.b", "\"\""]);
    assert_eq!(result[2]["range"]["end"]["line"], 5);
}
