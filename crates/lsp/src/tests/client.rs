//! A client in the same process, and the machines that its servers run on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use knobgate_policy::{Diagnostic, IncludeError, IncludeLoader, IncludedText, KnobName, PolicyFile};
use lsp_server::{Connection, Message, Notification, Request};
use serde_json::{Value, json};

use crate::environment::Environment;
use crate::{Exit, serve};

/// Has no files, no knobs and no values.
#[derive(Debug)]
pub(crate) struct NoMachine;

/// Has these files, and knobs with these values.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeMachine {
    pub(crate) files: BTreeMap<PathBuf, String>,
    pub(crate) values: BTreeMap<&'static str, &'static str>,
}

impl IncludeLoader for NoMachine {
    fn policy_id(&self) -> Option<PathBuf> {
        None
    }

    fn load(&self, name: &str, _: Option<&Path>, _: usize) -> Result<IncludedText, IncludeError> {
        Err(IncludeError::Unreadable { name: name.to_owned(), error: "there are no files".into() })
    }
}

impl Environment for NoMachine {
    fn knobs(&self) -> Option<Vec<KnobName>> {
        None
    }

    fn value(&self, _: &KnobName) -> Result<Vec<u8>, String> {
        Err("there are no knobs".to_owned())
    }

    fn check(&self, _: &PolicyFile) -> Option<Diagnostic> {
        None
    }

    fn files(&self, _: &Path) -> Box<dyn IncludeLoader> {
        Box::new(NoMachine)
    }

    fn canonical(&self, _: &Path) -> Option<PathBuf> {
        None
    }
}

/// The files of a [`FakeMachine`] that the policy at a path includes.
#[derive(Debug)]
struct FakeFiles(FakeMachine, PathBuf);

impl IncludeLoader for FakeFiles {
    fn policy_id(&self) -> Option<PathBuf> {
        Some(self.1.clone())
    }

    fn load(&self, name: &str, from: Option<&Path>, _: usize) -> Result<IncludedText, IncludeError> {
        let path = from.unwrap_or(&self.1).parent().unwrap().join(name);
        let name = path.display().to_string();
        match self.0.files.get(&path) {
            Some(text) => Ok(IncludedText::new(name, path, text.as_str())),
            None => Err(IncludeError::Unreadable { name, error: "there is no such file".into() }),
        }
    }
}

impl Environment for FakeMachine {
    fn knobs(&self) -> Option<Vec<KnobName>> {
        Some(self.values.keys().map(|name| KnobName::from_path(*name).unwrap()).collect())
    }

    fn value(&self, knob: &KnobName) -> Result<Vec<u8>, String> {
        let name = str::from_utf8(knob.as_bytes()).unwrap();
        assert_ne!(name, "vm/panic_on_oom", "this one makes the server panic");
        self.values.get(name).map(|value| value.as_bytes().to_vec()).ok_or("there is no such knob".to_owned())
    }

    fn check(&self, file: &PolicyFile) -> Option<Diagnostic> {
        let too_large = file.policy().name() == "too-large";
        too_large.then(|| Diagnostic::error("too-large", knobgate_policy::Span::new(0, 6), "it is too large"))
    }

    fn files(&self, policy: &Path) -> Box<dyn IncludeLoader> {
        Box::new(FakeFiles(self.clone(), policy.to_owned()))
    }

    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        self.files.contains_key(path).then(|| path.to_owned())
    }
}

/// A client, with its server in another thread.
pub(crate) struct Client {
    connection: Connection,
    server: JoinHandle<Exit>,
    last: i32,
    /// The notifications that no test has looked at yet.
    notifications: Vec<Notification>,
}

impl Client {
    /// A client whose server has not heard of it yet.
    pub(crate) fn new(machine: impl Environment + Send + 'static) -> Self {
        let (server, connection) = Connection::memory();
        let server = thread::spawn(move || serve(&server, &machine));
        Self { connection, server, last: 0, notifications: Vec::new() }
    }

    /// A client with these capabilities.
    pub(crate) fn with(machine: impl Environment + Send + 'static, capabilities: &Value) -> Self {
        let mut client = Self::new(machine);
        client
            .request("initialize", &json!({"processId": null, "rootUri": null, "capabilities": capabilities}))
            .unwrap();
        client.notify("initialized", &json!({}));
        client
    }

    /// A client that counts bytes.
    pub(crate) fn initialized(machine: impl Environment + Send + 'static) -> Self {
        let text = json!({"hover": {"contentFormat": ["markdown"]}});
        Self::with(machine, &json!({"general": {"positionEncodings": ["utf-8"]}, "textDocument": text}))
    }

    pub(crate) fn send(&mut self, method: &str, params: &Value) -> i32 {
        self.last += 1;
        let request = Request::new(self.last.into(), method.to_owned(), params);
        self.connection.sender.send(request.into()).unwrap();
        self.last
    }

    /// The result of a request, or the code of its error.
    pub(crate) fn answer(&mut self, id: i32) -> Result<Value, i32> {
        loop {
            match self.connection.receiver.recv_timeout(Duration::from_secs(60)).unwrap() {
                Message::Response(response) if response.id == id.into() => {
                    return response.response_result.map_err(|error| error.code);
                }
                Message::Notification(notification) => self.notifications.push(notification),
                message => panic!("{message:?}"),
            }
        }
    }

    pub(crate) fn request(&mut self, method: &str, params: &Value) -> Result<Value, i32> {
        let id = self.send(method, params);
        self.answer(id)
    }

    pub(crate) fn notify(&mut self, method: &str, params: &Value) {
        self.connection.sender.send(Notification::new(method.to_owned(), params).into()).unwrap();
    }

    /// Waits for a notification.
    pub(crate) fn notification(&mut self, method: &str) -> Value {
        loop {
            if let Some(at) = self.notifications.iter().position(|notification| notification.method == method)
            {
                return self.notifications.remove(at).params;
            }
            match self.connection.receiver.recv_timeout(Duration::from_secs(60)).unwrap() {
                Message::Notification(notification) => self.notifications.push(notification),
                message => panic!("{message:?}"),
            }
        }
    }

    /// Waits for the diagnostics of a file. Those of others are lost.
    pub(crate) fn diagnostics(&mut self, path: &str) -> Vec<Value> {
        loop {
            let params = self.notification("textDocument/publishDiagnostics");
            if params["uri"] == uri(path) {
                return params["diagnostics"].as_array().unwrap().clone();
            }
        }
    }

    /// The codes of these, with their severities.
    pub(crate) fn codes(&mut self, path: &str) -> Vec<String> {
        let all = self.diagnostics(path);
        all.iter().map(|one| format!("{} {}", one["severity"], one["code"].as_str().unwrap())).collect()
    }

    pub(crate) fn open(&mut self, path: &str, text: &str) {
        let document = json!({"uri": uri(path), "languageId": "knob", "version": 1, "text": text});
        self.notify("textDocument/didOpen", &json!({"textDocument": document}));
    }

    pub(crate) fn change(&mut self, path: &str, version: i32, text: &str) {
        let document = json!({"uri": uri(path), "version": version});
        let params = json!({"textDocument": document, "contentChanges": [{"text": text}]});
        self.notify("textDocument/didChange", &params);
    }

    pub(crate) fn close(&mut self, path: &str) {
        self.notify("textDocument/didClose", &json!({"textDocument": {"uri": uri(path)}}));
    }

    /// A request about the place of a file that `text` has a `|` at. Opens the file with the rest of it.
    pub(crate) fn at_cursor(&mut self, method: &str, path: &str, text: &str) -> Value {
        let at = text.find('|').unwrap_or_else(|| panic!("no cursor in {text:?}"));
        let (before, after) = (&text[..at], &text[at + 1..]);
        self.open(path, &format!("{before}{after}"));
        let line = before.matches('\n').count();
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
        let position = json!({"line": line, "character": column});
        self.request(method, &json!({"textDocument": {"uri": uri(path)}, "position": position})).unwrap()
    }

    /// Ends the server as the protocol has it, or by dropping the connection.
    pub(crate) fn exit(mut self) -> Exit {
        self.request("shutdown", &Value::Null).unwrap();
        self.notify("exit", &Value::Null);
        self.wait()
    }

    /// Drops the connection.
    pub(crate) fn wait(self) -> Exit {
        drop(self.connection);
        self.server.join().unwrap()
    }
}

pub(crate) fn uri(path: &str) -> String {
    format!("file://{path}")
}
