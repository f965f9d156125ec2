use serde_json::{Value, json};

use super::client::uri;
use super::{Client, NoMachine};
use crate::text_lines::{Encoding, TextLines};

/// `text` after these edits.
fn edited(text: &str, edits: &[Value], encoding: Encoding) -> String {
    let lines = TextLines::of(text);
    let mut edits: Vec<(knobgate_policy::Span, &str)> = edits
        .iter()
        .map(|edit| {
            let range = serde_json::from_value(edit["range"].clone()).unwrap();
            (lines.span(text, range, encoding), edit["newText"].as_str().unwrap())
        })
        .collect();
    edits.sort_by_key(|(span, _)| span.start);
    let mut text = text.to_owned();
    for (span, new) in edits.into_iter().rev() {
        text.replace_range(span.range(), new);
    }
    text
}

fn actions(client: &mut Client, path: &str, line: u32, only: Option<&str>) -> Vec<Value> {
    let range = json!({"start": {"line": line, "character": 0}, "end": {"line": line, "character": 1000}});
    let context = match only {
        Some(kind) => json!({"diagnostics": [], "only": [kind]}),
        None => json!({"diagnostics": []}),
    };
    let params = json!({"textDocument": {"uri": uri(path)}, "range": range, "context": context});
    client.request("textDocument/codeAction", &params).unwrap().as_array().unwrap().clone()
}

#[test]
fn a_fix_is_applied_and_the_text_has_no_error_then() {
    for (encoding, name) in [(Encoding::Utf8, "utf-8"), (Encoding::Utf16, "utf-16")] {
        let mut client = Client::with(NoMachine, &json!({"general": {"positionEncodings": [name]}}));
        let text = "policy x\r\ndeny write vm.dirty_ratio if comm == \"\u{1f600}\" adn uid == 0\r\n";
        client.open("/x.knob", text);
        let all = client.diagnostics("/x.knob");
        let fixes = actions(&mut client, "/x.knob", 1, Some("quickfix"));
        assert_eq!(fixes.len(), 1, "{fixes:?}");
        assert_eq!(fixes[0]["title"], "did you mean `and`?");
        assert_eq!(fixes[0]["diagnostics"][0]["range"], all[0]["range"]);
        let edits = fixes[0]["edit"]["changes"][uri("/x.knob")].as_array().unwrap();
        let fixed = edited(text, edits, encoding);
        assert_eq!(fixed, text.replace("adn", "and"));
        client.change("/x.knob", 2, &fixed);
        assert_eq!(client.codes("/x.knob"), [""; 0]);
        assert_eq!(actions(&mut client, "/x.knob", 0, None), [Value::Null; 0]);
    }
}

#[test]
fn a_fix_ends_lines_as_the_text_does() {
    let mut client = Client::initialized(NoMachine);
    client.open("/x.knob", "allow write vm.a\r\nmode audit\r\n");
    let fixes = actions(&mut client, "/x.knob", 0, Some("quickfix"));
    assert_eq!(fixes[0]["edit"]["changes"][uri("/x.knob")][0]["newText"], "policy NAME\r\n");
}

#[test]
fn all_errors_are_fixed_at_once_and_warnings_are_not() {
    let mut client = Client::initialized(NoMachine);
    let text =
        "policy x\nalow write vm.a\nallow wriet vm.b\ndeny(EPRM) write vm.c\nallow write all\nnonsense\n";
    client.open("/x.knob", text);
    let fixes = actions(&mut client, "/x.knob", 0, Some("source.fixAll"));
    assert_eq!(fixes.len(), 1, "{fixes:?}");
    assert_eq!(fixes[0]["kind"], "source.fixAll.knobgate");
    let edits = fixes[0]["edit"]["changes"][uri("/x.knob")].as_array().unwrap();
    assert_eq!(
        edited(text, edits, Encoding::Utf8),
        "policy x\nallow write vm.a\nallow write vm.b\ndeny(EPERM) write vm.c\nallow write all\nnonsense\n"
    );
    // What would make a policy of a file that policies include is no repair.
    client.open("/y.knob", "allow write vm.a\n");
    assert_eq!(actions(&mut client, "/y.knob", 0, Some("source")), [Value::Null; 0]);
}

#[test]
fn formatting_changes_the_lines_that_need_it() {
    let mut client = Client::initialized(NoMachine);
    for (text, changed) in [
        ("policy x\n\n\nallow  write vm.a\nallow write vm.b\n", 1),
        ("policy x\r\nallow  write vm.a   # \u{e9}\r\nallow write vm.b", 1),
        ("policy x\n", 0),
        ("# only a comment", 1),
        ("allow  write vm.a\n", 1),
    ] {
        client.open("/x.knob", text);
        let params = json!({"textDocument": {"uri": uri("/x.knob")}, "options": {"tabSize": 8, "insertSpaces": false}});
        let edits = client.request("textDocument/formatting", &params).unwrap();
        let edits = edits.as_array().unwrap();
        assert_eq!(edits.len(), changed, "{text:?}: {edits:?}");
        let source = knobgate_policy::Source::new("x", text);
        assert_eq!(edited(text, edits, Encoding::Utf8), knobgate_policy::format(&source).unwrap());
    }
    client.open("/x.knob", "policy x\nallow  nonsense\n");
    let params =
        json!({"textDocument": {"uri": uri("/x.knob")}, "options": {"tabSize": 8, "insertSpaces": false}});
    assert_eq!(client.request("textDocument/formatting", &params), Ok(Value::Null));
}
