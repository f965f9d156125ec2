//! The server: its state, and what it does with each message.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use gen_lsp_types::{
    CancelNotification, CodeActionRequest, CompletionRequest, DefinitionRequest,
    DidChangeTextDocumentNotification, DidChangeWatchedFilesNotification, DidCloseTextDocumentNotification,
    DidOpenTextDocumentNotification, DidSaveTextDocumentNotification, DocumentFormattingRequest,
    DocumentSymbolRequest, ExitNotification, HoverRequest, InitializeParams, InitializeRequest,
    InitializeResult, LogMessageNotification, LogMessageParams, MarkupKind, MessageType, Notification,
    PublishDiagnosticsNotification, PublishDiagnosticsParams, Request, ShutdownRequest, Uri,
};
use knobgate_policy::KnobName;
use lsp_server::{Connection, ErrorCode, Message, RequestId, Response};
use serde_json::Value;

use crate::analysis::Analysis;
use crate::documents::{Document, Documents};
use crate::environment::Environment;
use crate::reports::{self, Reports};
use crate::text_lines::Encoding;
use crate::{capabilities, code_actions, completion, definition, formatting, hover, symbols};

/// How the client ended the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By `shutdown` and then `exit`.
    Orderly,
    /// By `exit` alone, or by closing the connection.
    Abrupt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before `initialize`.
    New,
    Running,
    /// After `shutdown`.
    ShutDown,
}

/// A request that cannot be answered.
pub(crate) struct Refusal {
    code: ErrorCode,
    why: String,
}

impl Refusal {
    fn new(code: ErrorCode, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }
}

pub(crate) struct Server<'a> {
    connection: &'a Connection,
    pub(crate) environment: &'a dyn Environment,
    phase: Phase,
    /// What has arrived.
    queue: VecDeque<Message>,
    pub(crate) encoding: Encoding,
    /// How the client shows what it hovers over.
    pub(crate) markup: MarkupKind,
    pub(crate) documents: Documents,
    /// The knobs of this machine, if policies are for it.
    pub(crate) knobs: Option<Vec<KnobName>>,
    reports: Reports,
}

/// Serves one client until it exits. `connection` is the server's side.
///
/// Messages are handled in their order, by one thread. What the client has to be told about errors waits until no message does: so
/// a text is checked once, however fast somebody types. A request that was cancelled is not answered if it is still waiting.
pub fn serve(connection: &Connection, environment: &dyn Environment) -> Exit {
    let mut server = Server {
        connection,
        environment,
        phase: Phase::New,
        queue: VecDeque::new(),
        encoding: Encoding::Utf16,
        markup: MarkupKind::PlainText,
        documents: Documents::default(),
        knobs: None,
        reports: Reports::default(),
    };
    loop {
        server.receive();
        if let Some(message) = server.queue.pop_front() {
            if let Some(exit) = server.handle(message) {
                return exit;
            }
        } else if !server.report_next() {
            match connection.receiver.recv() {
                Ok(message) => server.enqueue(message),
                // The client is gone.
                Err(_) => return Exit::Abrupt,
            }
        }
    }
}

impl Server<'_> {
    /// Takes what has arrived, without waiting.
    fn receive(&mut self) {
        let connection = self.connection;
        for message in connection.receiver.try_iter() {
            self.enqueue(message);
        }
    }

    fn enqueue(&mut self, message: Message) {
        if let Message::Notification(notification) = &message
            && notification.method == CancelNotification::METHOD.as_str()
        {
            // An id that was never used cancels nothing.
            if let Ok(id) = serde_json::from_value::<RequestId>(notification.params["id"].clone()) {
                self.cancel(&id);
            }
            return;
        }
        self.queue.push_back(message);
    }

    fn cancel(&mut self, id: &RequestId) {
        let is_it = |message: &Message| matches!(message, Message::Request(request) if request.id == *id);
        if let Some(at) = self.queue.iter().position(is_it) {
            self.queue.remove(at);
            self.refuse(id.clone(), Refusal::new(ErrorCode::RequestCanceled, "cancelled"));
        }
    }

    fn send(&self, message: impl Into<Message>) {
        // Without a client, the loop ends.
        let _ = self.connection.sender.send(message.into());
    }

    fn refuse(&self, id: RequestId, Refusal { code, why }: Refusal) {
        self.send(Response::new_err(id, code as i32, why));
    }

    fn notify<N: Notification>(&self, params: N::Params) {
        self.send(lsp_server::Notification::new(N::METHOD.to_string(), params));
    }

    fn log(&self, message: String) {
        self.notify::<LogMessageNotification>(LogMessageParams { kind: MessageType::Error, message });
    }

    /// Handles one message. Returns how the client ended the server, if it did.
    fn handle(&mut self, message: Message) -> Option<Exit> {
        match message {
            Message::Request(request) => {
                let (id, method) = (request.id.clone(), request.method.clone());
                let answer = catch_unwind(AssertUnwindSafe(|| self.request(request))).unwrap_or_else(|_| {
                    let why = format!(
                        "{method} failed: this is a bug in knobgate, and its standard error has more"
                    );
                    Err(Refusal::new(ErrorCode::InternalError, why))
                });
                match answer {
                    Ok(result) => self.send(Response::new_ok(id, result)),
                    Err(refusal) => self.refuse(id, refusal),
                }
                None
            }
            Message::Notification(notification)
                if notification.method == ExitNotification::METHOD.as_str() =>
            {
                Some(if self.phase == Phase::ShutDown { Exit::Orderly } else { Exit::Abrupt })
            }
            Message::Notification(notification) => {
                let method = notification.method.clone();
                match catch_unwind(AssertUnwindSafe(|| self.notification(notification))) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => self.log(format!("{method}: {error}")),
                    Err(_) => self.log(format!("{method} failed: this is a bug in knobgate")),
                }
                None
            }
            // This server requests nothing.
            Message::Response(_) => None,
        }
    }

    fn request(&mut self, request: lsp_server::Request) -> Result<Value, Refusal> {
        let method = request.method.clone();
        let is_initialize = method == InitializeRequest::METHOD.as_str();
        match self.phase {
            Phase::New if !is_initialize => {
                return Err(Refusal::new(
                    ErrorCode::ServerNotInitialized,
                    "the first request is `initialize`",
                ));
            }
            Phase::Running if is_initialize => {
                return Err(Refusal::new(ErrorCode::InvalidRequest, "the server is initialized already"));
            }
            Phase::ShutDown => {
                return Err(Refusal::new(ErrorCode::InvalidRequest, "the server was shut down"));
            }
            Phase::New | Phase::Running => {}
        }
        if is_initialize {
            let params = params::<InitializeRequest>(request)?;
            return result::<InitializeRequest>(self.initialize(&params));
        }
        if method == ShutdownRequest::METHOD.as_str() {
            self.phase = Phase::ShutDown;
            return Ok(Value::Null);
        }
        // Each method, with what answers it.
        macro_rules! answer {
            ($($request:ty => $answer:expr;)*) => {
                $(if method == <$request>::METHOD.as_str() {
                    let answer: fn(&mut Self, <$request as Request>::Params) -> <$request as Request>::Result = $answer;
                    let params = params::<$request>(request)?;
                    return result::<$request>(answer(self, params));
                })*
            };
        }
        answer! {
            DocumentFormattingRequest => |server, params| {
                let document = server.documents.get(&params.text_document.uri)?;
                formatting::edits(document, server.encoding)
            };
            CodeActionRequest => code_actions::actions;
            CompletionRequest => completion::completion;
            HoverRequest => hover::hover;
            DefinitionRequest => definition::definition;
            DocumentSymbolRequest => symbols::symbols;
        }
        Err(Refusal::new(ErrorCode::MethodNotFound, format!("there is no method {method}")))
    }

    fn initialize(&mut self, params: &InitializeParams) -> InitializeResult {
        let capabilities = &params.capabilities;
        let general = capabilities.general.as_ref();
        let offered = general.and_then(|general| general.position_encodings.as_deref()).unwrap_or_default();
        self.encoding = Encoding::negotiate(offered);
        let hover = capabilities.text_document.as_ref().and_then(|text| text.hover.as_ref());
        let formats = hover.and_then(|hover| hover.content_format.as_deref()).unwrap_or_default();
        if formats.contains(&MarkupKind::Markdown) {
            self.markup = MarkupKind::Markdown;
        }
        self.phase = Phase::Running;
        capabilities::result(self.encoding)
    }

    fn notification(&mut self, notification: lsp_server::Notification) -> Result<(), serde_json::Error> {
        if self.phase != Phase::Running {
            return Ok(());
        }
        macro_rules! on {
            ($($notification:ty => $handler:expr;)*) => {
                $(if notification.method == <$notification>::METHOD.as_str() {
                    let handler: fn(&mut Self, <$notification as Notification>::Params) = $handler;
                    handler(self, serde_json::from_value(notification.params)?);
                    return Ok(());
                })*
            };
        }
        on! {
            DidOpenTextDocumentNotification => |server, params| {
                let item = params.text_document;
                server.knobs = server.environment.knobs();
                server.documents.insert(Document::new(item.uri, item.version, item.text, server.environment));
                server.check_includers();
            };
            DidChangeTextDocumentNotification => |server, params| {
                let encoding = server.encoding;
                let version = params.text_document.version;
                let uri = params.text_document.text_document_identifier.uri;
                if let Some(document) = server.documents.get_mut(&uri) {
                    document.change(version, params.content_changes, encoding);
                }
                server.check_includers();
            };
            DidSaveTextDocumentNotification => |server, _| {
                server.knobs = server.environment.knobs();
                server.check_includers();
            };
            DidChangeWatchedFilesNotification => |server, _| server.check_includers();
            DidCloseTextDocumentNotification => |server, params| {
                let uri = params.text_document.uri;
                if server.documents.remove(&uri).is_some() {
                    let news = server.reports.closed(&uri);
                    server.publish(news);
                }
                server.check_includers();
            };
        }
        // Other notifications may be ignored.
        Ok(())
    }

    /// Has each open text checked again that includes files, one of which may have changed, and each that may be included.
    fn check_includers(&mut self) {
        for document in self.documents.iter_mut() {
            let depends = |analysis: &Rc<Analysis>| analysis.includes_files() || analysis.is_for_inclusion();
            if document.analysis.as_ref().is_some_and(depends) {
                document.invalidate();
            }
        }
    }

    /// Tells the client what is wrong with one text, if there is one that it has not been told about.
    fn report_next(&mut self) -> bool {
        let Some((uri, version)) = self.dirty() else { return false };
        let found = catch_unwind(AssertUnwindSafe(|| self.found(&uri)));
        if let Some(document) = self.documents.get_mut(&uri) {
            document.is_dirty = false;
        }
        match found {
            Ok(found) => {
                let news = self.reports.found(&uri, Some(version), found);
                self.publish(news);
            }
            Err(_) => self.log(format!("{} cannot be checked: this is a bug in knobgate", uri.0)),
        }
        true
    }

    /// The next text that the client has not been told about, and its version. Policies come first: they decide which of the others
    /// are included.
    fn dirty(&mut self) -> Option<(Uri, i32)> {
        let dirty = self.documents.iter().filter(|document| document.is_dirty);
        let dirty: Vec<_> = dirty.map(|document| (document.uri.clone(), document.version)).collect();
        let mut is_policy = |uri: &Uri| {
            // A panic is reported with the text.
            let analysis = catch_unwind(AssertUnwindSafe(|| self.analysis(uri)));
            analysis.is_ok_and(|analysis| analysis.is_some_and(|analysis| !analysis.is_for_inclusion()))
        };
        dirty.iter().find(|(uri, _)| is_policy(uri)).or(dirty.first()).cloned()
    }

    /// What is wrong with the open text at `uri`, and with what it includes. Nothing is wrong with a text that an open policy
    /// includes: that is reported with the policy.
    fn found(&mut self, uri: &Uri) -> Vec<(Uri, gen_lsp_types::Diagnostic)> {
        let Some(analysis) = self.analysis(uri) else { return Vec::new() };
        if analysis.is_for_inclusion() && !self.includers(uri).is_empty() {
            return Vec::new();
        }
        let encoding = self.encoding;
        analysis
            .diagnostics
            .iter()
            .map(|diagnostic| reports::report(diagnostic, &analysis, encoding))
            .collect()
    }

    fn publish(&self, news: Vec<PublishDiagnosticsParams>) {
        for params in news {
            self.notify::<PublishDiagnosticsNotification>(params);
        }
    }

    /// What is known about the open text at `uri`.
    pub(crate) fn analysis(&mut self, uri: &Uri) -> Option<Rc<Analysis>> {
        let document = self.documents.get(uri)?;
        if let Some(known) = &document.analysis {
            return Some(Rc::clone(known));
        }
        let analysis = Analysis::of(
            document,
            &self.documents,
            self.environment,
            self.knobs.as_deref().unwrap_or_default(),
        );
        let analysis = Rc::new(analysis);
        if let Some(document) = self.documents.get_mut(uri) {
            document.analysis = Some(Rc::clone(&analysis));
        }
        Some(analysis)
    }

    /// The open policies that include the file at `uri`.
    fn includers(&mut self, uri: &Uri) -> Vec<Rc<Analysis>> {
        let open: Vec<Uri> = self.documents.iter().map(|document| document.uri.clone()).collect();
        let others = open.iter().filter(|other| *other != uri);
        let analyses: Vec<_> = others.filter_map(|other| self.analysis(other)).collect();
        analyses
            .into_iter()
            .filter(|analysis| !analysis.is_for_inclusion() && analysis.includes(uri))
            .collect()
    }

    /// What is known about the open text at `uri` as a part of policies: of those that include it, or by itself.
    pub(crate) fn analyses_with(&mut self, uri: &Uri) -> Vec<Rc<Analysis>> {
        let Some(analysis) = self.analysis(uri) else { return Vec::new() };
        let includers = self.includers(uri);
        if analysis.is_for_inclusion() && !includers.is_empty() {
            return includers;
        }
        std::iter::once(analysis).chain(includers).collect()
    }
}

fn params<R: Request>(request: lsp_server::Request) -> Result<R::Params, Refusal> {
    serde_json::from_value(request.params)
        .map_err(|error| Refusal::new(ErrorCode::InvalidParams, format!("{}: {error}", request.method)))
}

fn result<R: Request>(result: R::Result) -> Result<Value, Refusal> {
    serde_json::to_value(result).map_err(|error| Refusal::new(ErrorCode::InternalError, error.to_string()))
}
