//! The language server, with a client that speaks the protocol over its standard input and output.

use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use lsp_server::{Message, Notification, Request};
use serde_json::{Value, json};

use crate::tree;

/// A client of `knobgate lsp`.
struct Client {
    server: Child,
    input: Option<ChildStdin>,
    /// What the server sends, until it ends.
    messages: Receiver<Message>,
    last: i32,
    notifications: Vec<Notification>,
}

impl Client {
    /// A client that has the server count UTF-16, as every client can.
    fn initialized(args: &[&str]) -> Self {
        let mut server = Command::new(env!("CARGO_BIN_EXE_knobgate"))
            .env_clear()
            .arg("lsp")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(server.stdout.take().unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            while let Some(message) = Message::read(&mut output).unwrap() {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let input = server.stdin.take();
        let mut client = Self { server, input, messages, last: 0, notifications: Vec::new() };
        let params = json!({"processId": null, "rootUri": null, "capabilities": {}});
        client.request("initialize", &params).unwrap();
        client.notify("initialized", &json!({}));
        client
    }

    fn write(&mut self, message: impl Into<Message>) {
        message.into().write(self.input.as_mut().unwrap()).unwrap();
    }

    fn next(&mut self) -> Message {
        self.messages.recv_timeout(Duration::from_secs(120)).expect("a message from the server")
    }

    /// The result of a request, or the code of its error.
    fn request(&mut self, method: &str, params: &Value) -> Result<Value, i32> {
        self.last += 1;
        let id = self.last.into();
        self.write(Request::new(self.last.into(), method.to_owned(), params));
        loop {
            match self.next() {
                Message::Response(response) if response.id == id => {
                    return response.response_result.map_err(|error| error.code);
                }
                Message::Notification(notification) => self.notifications.push(notification),
                message => panic!("{message:?}"),
            }
        }
    }

    fn notify(&mut self, method: &str, params: &Value) {
        self.write(Notification::new(method.to_owned(), params));
    }

    /// Waits for the codes of the diagnostics of a file, of this version if one is given.
    fn codes(&mut self, path: &Path, version: Option<i32>) -> Vec<String> {
        loop {
            let is_it = |notification: &Notification| {
                let params = &notification.params;
                params["uri"] == uri(path) && version.is_none_or(|version| params["version"] == version)
            };
            if let Some(at) = self.notifications.iter().position(is_it) {
                let params = self.notifications.remove(at).params;
                let all = params["diagnostics"].as_array().unwrap().iter();
                return all.map(|one| one["code"].as_str().unwrap().to_owned()).collect();
            }
            match self.next() {
                Message::Notification(notification) => self.notifications.push(notification),
                message => panic!("{message:?}"),
            }
        }
    }

    fn open(&mut self, path: &Path, text: &str) {
        let document = json!({"uri": uri(path), "languageId": "knob", "version": 1, "text": text});
        self.notify("textDocument/didOpen", &json!({"textDocument": document}));
    }

    /// A request about a place in a file.
    fn at(&mut self, method: &str, path: &Path, line: u32, character: u32) -> Value {
        let position = json!({"line": line, "character": character});
        let params = json!({"textDocument": {"uri": uri(path)}, "position": position});
        self.request(method, &params).unwrap()
    }

    /// Waits until the server ends.
    fn wait(mut self) -> ExitStatus {
        drop(self.input.take());
        self.server.wait().unwrap()
    }
}

/// A server does not outlive its test.
impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

#[test]
fn the_exit_status_says_whether_the_editor_shut_the_server_down() {
    let mut client = Client::initialized(&[]);
    assert_eq!(client.request("shutdown", &Value::Null), Ok(Value::Null));
    client.notify("exit", &Value::Null);
    let input = client.input.take();
    assert_eq!(client.server.wait().unwrap().code(), Some(0), "with its input still open");
    drop(input);

    let mut client = Client::initialized(&[]);
    client.notify("exit", &Value::Null);
    assert_eq!(client.wait().code(), Some(1));

    let client = Client::initialized(&[]);
    assert_eq!(client.wait().code(), Some(1), "the input ended");
}

#[test]
fn what_is_no_message_is_answered() {
    let mut output = String::new();
    // The answer has no id, which is no message of `lsp_server`.
    let mut child = Command::new(env!("CARGO_BIN_EXE_knobgate"))
        .arg("lsp")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"Content-Length: 9\r\n\r\nnonsense!").unwrap();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(output.contains(r#""code":-32700"#) && output.contains(r#""id":null"#), "{output}");
}

#[test]
fn a_policy_with_an_included_file_is_checked_while_it_is_written() {
    let files = tree(&[
        ("web.knob", "policy web\n"),
        ("parts/vm.knob", "allow write vm.swappiness\n"),
        ("parts/net.knob", "alow write net.core.somaxconn\n"),
    ]);
    let (web, vm, net) = (
        files.path().join("web.knob"),
        files.path().join("parts/vm.knob"),
        files.path().join("parts/net.knob"),
    );
    let mut client = Client::initialized(&[]);
    client.open(&web, "policy web\ninclude \"parts/net.knob\"\n");
    assert_eq!(client.codes(&net, None), ["unknown-action"]);

    // The second line now includes the other file; the third one is typed.
    let edit = |start: (u32, u32), end: (u32, u32), text: &str| {
        let position = |(line, character): (u32, u32)| json!({"line": line, "character": character});
        json!({"range": {"start": position(start), "end": position(end)}, "text": text})
    };
    let document = json!({"uri": uri(&web), "version": 2});
    let changes =
        [edit((1, 15), (1, 18), "vm"), edit((2, 0), (2, 0), "deny write vm.swappiness # \u{1f600}\n")];
    client.notify("textDocument/didChange", &json!({"textDocument": document, "contentChanges": changes}));
    assert_eq!(client.codes(&web, Some(2)), ["unreachable-rule"]);
    assert_eq!(client.codes(&net, None), [""; 0]);
    let target = client.at("textDocument/definition", &web, 2, 3);
    assert_eq!(target[0]["uri"], uri(&vm));
    let target = client.at("textDocument/definition", &web, 1, 12);
    assert_eq!(target[0]["uri"], uri(&vm));

    // The file has another text in the editor, and then none.
    client.open(&vm, "allow write vm.dirty_ratio\n");
    assert_eq!(client.codes(&web, Some(2)), [""; 0]);
    client.notify("textDocument/didClose", &json!({"textDocument": {"uri": uri(&vm)}}));
    assert_eq!(client.codes(&web, Some(2)), ["unreachable-rule"]);
}

#[test]
fn a_fix_repairs_the_policy_and_the_layout_follows() {
    let files = tree(&[]);
    let path = files.path().join("x.knob");
    let text = "policy x\r\nalow  write kernel.hostname  # \u{1f600}\r\n";
    let mut client = Client::initialized(&["--any-machine"]);
    client.open(&path, text);
    assert_eq!(client.codes(&path, Some(1)), ["unknown-action"]);
    let document = json!({"uri": uri(&path)});
    let layout = json!({"textDocument": document, "options": {"tabSize": 4, "insertSpaces": true}});
    assert_eq!(client.request("textDocument/formatting", &layout), Ok(Value::Null), "it has an error");

    let range = json!({"start": {"line": 1, "character": 0}, "end": {"line": 1, "character": 0}});
    let params = json!({"textDocument": document, "range": range, "context": {"diagnostics": []}});
    let actions = client.request("textDocument/codeAction", &params).unwrap();
    let change = &actions[0]["edit"]["changes"][uri(&path)][0];
    assert_eq!(change["newText"], "allow");
    let change = json!({"range": change["range"], "text": change["newText"]});
    let version = json!({"uri": uri(&path), "version": 2});
    client.notify("textDocument/didChange", &json!({"textDocument": version, "contentChanges": [change]}));
    assert_eq!(client.codes(&path, Some(2)), [""; 0]);
    let edits = client.request("textDocument/formatting", &layout).unwrap();
    assert_eq!(edits.as_array().unwrap().len(), 1);
    assert_eq!(edits[0]["newText"], "allow write kernel.hostname  # \u{1f600}\r\n");
}

#[test]
fn the_server_knows_this_machine_unless_the_policy_is_for_another() {
    let files = tree(&[]);
    let path = files.path().join("x.knob");
    let text = "policy x\nallow read kernel.ostype\ndeny write kernel.nonsense\nallow write kernel.os\n";
    for (args, here) in [(&[][..], true), (&["--any-machine"], false)] {
        let mut client = Client::initialized(args);
        client.open(&path, text);
        assert_eq!(client.codes(&path, Some(1)), ["unknown-knob"; 2]);
        let hover = client.at("textDocument/hover", &path, 1, 20);
        let help = hover["contents"]["value"].as_str().unwrap();
        assert!(help.contains("`allow read kernel.ostype` in line 2"), "{help}");
        assert_eq!(help.contains("Here: `Linux`"), here, "{help}");
        let items = client.at("textDocument/completion", &path, 3, 21);
        let text = |item: &Value| item["textEdit"]["newText"].as_str().unwrap().to_owned();
        let items: Vec<String> = items.as_array().unwrap().iter().map(text).collect();
        assert!(items.contains(&"kernel.ostype".to_owned()), "{items:?}");
    }
}
