//! A language server for policies: what an editor asks while somebody writes one.
//!
//! **In** come the messages of the [Language Server Protocol](https://microsoft.github.io/language-server-protocol/), version 3.17,
//! over a pair of byte streams or a [`Connection`](lsp_server::Connection). **Out** go answers and diagnostics. The texts are those
//! that the editor has open. What else the server asks, it asks its [`Environment`]: files that policies include, the knobs of this
//! machine and their values, and whether a policy compiles.
//!
//! ```
//! use lsp_server::{Connection, Message, Notification};
//!
//! # use knobgate_policy::{Diagnostic, IncludeError, IncludeLoader, IncludedText, KnobName, PolicyFile};
//! # use std::path::{Path, PathBuf};
//! # #[derive(Debug)]
//! # struct NoMachine;
//! # impl IncludeLoader for NoMachine {
//! #     fn policy_id(&self) -> Option<PathBuf> { None }
//! #     fn load(&self, name: &str, _: Option<&Path>, _: usize) -> Result<IncludedText, IncludeError> {
//! #         Err(IncludeError::Unreadable { name: name.to_owned(), error: "no files".into() })
//! #     }
//! # }
//! # impl knobgate_lsp::Environment for NoMachine {
//! #     fn knobs(&self) -> Option<Vec<KnobName>> { None }
//! #     fn value(&self, _: &KnobName) -> Result<Vec<u8>, String> { Err("no machine".to_owned()) }
//! #     fn check(&self, _: &PolicyFile) -> Option<Diagnostic> { None }
//! #     fn files(&self, _: &Path) -> Box<dyn IncludeLoader> { Box::new(NoMachine) }
//! #     fn canonical(&self, _: &Path) -> Option<PathBuf> { None }
//! # }
//! let (server, client) = Connection::memory();
//! client.sender.send(Message::Notification(Notification::new("exit".to_owned(), ())))?;
//! assert_eq!(knobgate_lsp::serve(&server, &NoMachine), knobgate_lsp::Exit::Abrupt);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Words
//!
//! * A *document* is a text that the client has open. A *policy* among them may include others, which are checked with it.
//! * An *analysis* is what is known about one version of a document: its diagnostics, its outline, and its [`PolicyFile`], if it has
//!   no errors. It is made when something asks for it, and forgotten when the text or what it includes may have changed.
//! * A *report* is a diagnostic as the client is told it.
//!
//! # Where to look
//!
//! | for | see |
//! | --- | --- |
//! | which message is handled where, and when | `server.rs` |
//! | messages as bytes | `transport.rs` |
//! | lines and columns | `text_lines.rs` |
//! | what may come at a place | [`knobgate_policy::editor`]; `completion.rs`, `knob_names.rs` |
//!
//! [`PolicyFile`]: knobgate_policy::PolicyFile
#![forbid(unsafe_code)]

mod analysis;
mod capabilities;
mod code_actions;
mod completion;
mod definition;
mod documents;
mod environment;
mod formatting;
mod hover;
mod knob_help;
mod knob_names;
mod open_files;
mod reports;
mod server;
mod symbols;
#[cfg(test)]
mod tests;
mod text_lines;
mod transport;
mod uri;
mod word_help;

use std::io::{BufRead, Write};

pub use environment::Environment;
pub use server::{Exit, serve};

/// Serves the client at the other end of two byte streams until it exits, as [`serve`] does. What is no valid message is answered
/// with an error.
pub fn serve_streams(
    input: impl BufRead + Send + 'static,
    output: impl Write + Send + 'static,
    environment: &dyn Environment,
) -> Exit {
    let (connection, writer) = transport::start(input, output);
    let exit = serve(&connection, environment);
    drop(connection);
    writer.join();
    exit
}
