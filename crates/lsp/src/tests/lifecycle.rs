use serde_json::{Value, json};

use super::client::uri;
use super::{Client, FakeMachine, NoMachine};
use crate::Exit;

const NOT_INITIALIZED: i32 = -32002;
const INVALID_REQUEST: i32 = -32600;
const NO_METHOD: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
const INTERNAL: i32 = -32603;
const CANCELLED: i32 = -32800;

#[test]
fn the_first_request_is_initialize_and_the_last_one_is_shutdown() {
    let mut client = Client::new(NoMachine);
    assert_eq!(client.request("textDocument/hover", &json!({})), Err(NOT_INITIALIZED));
    assert_eq!(client.request("shutdown", &Value::Null), Err(NOT_INITIALIZED));
    client.open("/x.knob", "");
    let params = json!({"processId": 1, "rootUri": null, "capabilities": {}});
    let result = client.request("initialize", &params).unwrap();
    assert_eq!(result["serverInfo"]["name"], "knobgate");
    assert_eq!(result["capabilities"]["positionEncoding"], "utf-16");
    assert_eq!(client.request("initialize", &params), Err(INVALID_REQUEST));
    assert_eq!(client.request("shutdown", &Value::Null), Ok(Value::Null));
    assert_eq!(client.request("shutdown", &Value::Null), Err(INVALID_REQUEST));
    client.notify("exit", &Value::Null);
    assert_eq!(client.wait(), Exit::Orderly);
}

#[test]
fn an_exit_without_shutdown_is_abrupt() {
    let mut client = Client::initialized(NoMachine);
    client.notify("exit", &Value::Null);
    assert_eq!(client.wait(), Exit::Abrupt);
    assert_eq!(Client::initialized(NoMachine).wait(), Exit::Abrupt);
    assert_eq!(Client::new(NoMachine).wait(), Exit::Abrupt);
    assert_eq!(Client::initialized(NoMachine).exit(), Exit::Orderly);
}

#[test]
fn what_cannot_be_answered_is_an_error_and_no_end() {
    let mut client = Client::initialized(NoMachine);
    assert_eq!(client.request("textDocument/nonsense", &json!({})), Err(NO_METHOD));
    assert_eq!(client.request("textDocument/hover", &json!({"textDocument": 1})), Err(INVALID_PARAMS));
    assert_eq!(client.request("textDocument/hover", &json!([])), Err(INVALID_PARAMS));
    let of_unknown =
        json!({"textDocument": {"uri": "file:///unknown"}, "position": {"line": 0, "character": 0}});
    for method in ["hover", "completion", "definition"] {
        assert_eq!(
            client.request(&format!("textDocument/{method}"), &of_unknown),
            Ok(Value::Null),
            "{method}"
        );
    }
    client.notify("textDocument/didOpen", &json!({"textDocument": 1}));
    let log = client.notification("window/logMessage");
    assert!(log["message"].as_str().unwrap().starts_with("textDocument/didOpen: "), "{log}");
    client.notify("$/nonsense", &json!({}));
    client.notify("textDocument/didClose", &json!({"textDocument": {"uri": "file:///unknown"}}));
    client.change("/unknown", 2, "x");
    assert_eq!(client.exit(), Exit::Orderly);
}

#[test]
fn a_panic_is_an_error_and_no_end() {
    let values = [("vm/panic_on_oom", "1\n")].into_iter().collect();
    let mut client = Client::initialized(FakeMachine { values, ..FakeMachine::default() });
    client.open("/x.knob", "policy x\nallow write vm.panic_on_oom\n");
    let position = json!({"line": 1, "character": 14});
    let params = json!({"textDocument": {"uri": uri("/x.knob")}, "position": position});
    assert_eq!(client.request("textDocument/hover", &params), Err(INTERNAL));
    let on_allow = json!({"textDocument": {"uri": uri("/x.knob")}, "position": {"line": 1, "character": 0}});
    assert!(client.request("textDocument/hover", &on_allow).is_ok());
    assert_eq!(client.exit(), Exit::Orderly);
}

#[test]
fn a_request_that_waits_can_be_cancelled() {
    let mut client = Client::new(NoMachine);
    // The server waits for nothing, so whether a request still waits is up to the scheduler: it is answered once, either way.
    for _ in 0..20 {
        let id = client.send("textDocument/hover", &json!({}));
        client.notify("$/cancelRequest", &json!({"id": id}));
        assert!(matches!(client.answer(id), Err(NOT_INITIALIZED | CANCELLED)));
    }
    client.notify("$/cancelRequest", &json!({"id": 4711}));
    client.notify("$/cancelRequest", &json!({}));
    assert_eq!(client.wait(), Exit::Abrupt);
}
