//! Messages over a pair of byte streams.
//!
//! `lsp_server` has this for standard input and output. Its reader ends at the first message that is no valid JSON, so that the
//! whole server does, and takes every length for granted. This one answers such a message with an error, and goes on.

use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use knobgate_policy::limits;
use lsp_server::{Connection, ErrorCode, Message};
use serde_json::{Value, json};

/// The longest message, in bytes: that of a policy of the greatest size in which JSON escapes every byte.
const MESSAGE_MAX: usize = 6 * limits::FILE_MAX + (1 << 20);

/// The longest line of a header, in bytes.
const HEADER_LINE_MAX: u64 = 4096;

/// The thread that writes. It ends when the server's side of the connection is dropped.
#[derive(Debug)]
pub(crate) struct Writer(JoinHandle<()>);

impl Writer {
    /// Waits until everything is written.
    pub(crate) fn join(self) {
        // A thread that panicked has said so on standard error.
        let _ = self.0.join();
    }
}

/// Starts to exchange messages. The reading thread ends with `input`, and after an `exit` notification.
pub(crate) fn start(
    input: impl BufRead + Send + 'static,
    output: impl Write + Send + 'static,
) -> (Connection, Writer) {
    let (server, client) = Connection::memory();
    let output = Arc::new(Mutex::new(output));
    let (to_server, from_server) = (client.sender, client.receiver);
    let errors = Arc::clone(&output);
    thread::spawn(move || {
        let mut input = input;
        loop {
            match read(&mut input) {
                Ok(Some(Frame::Message(message))) => {
                    let is_exit = matches!(&message, Message::Notification(exit) if exit.method == "exit");
                    if to_server.send(message).is_err() || is_exit {
                        break;
                    }
                }
                Ok(Some(Frame::Invalid { id, code, why })) => {
                    if write_error(&errors, &id, code, &why).is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    // There is no telling where the next message begins.
                    let _ = write_error(&errors, &Value::Null, ErrorCode::ParseError, &error.to_string());
                    break;
                }
            }
        }
    });
    let writer = thread::spawn(move || {
        for message in from_server {
            if message.write(&mut *output.lock().unwrap_or_else(PoisonError::into_inner)).is_err() {
                break;
            }
        }
    });
    (server, Writer(writer))
}

/// What one frame has.
#[derive(Debug)]
enum Frame {
    Message(Message),
    /// No message, with the id that it has, or null.
    Invalid {
        id: Value,
        code: ErrorCode,
        why: String,
    },
}

/// Reads one frame; `None` at the end of the input.
///
/// # Errors
/// The input cannot be read, or is no sequence of frames.
fn read(input: &mut impl BufRead) -> io::Result<Option<Frame>> {
    let Some(length) = read_header(input)? else { return Ok(None) };
    if length > MESSAGE_MAX {
        return Err(invalid(format!("a message of {length} bytes, which is more than {MESSAGE_MAX}")));
    }
    let mut body = Vec::new();
    input.by_ref().take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Ok(None);
    }
    Ok(Some(message(&body)))
}

/// The length of the next message.
fn read_header(input: &mut impl BufRead) -> io::Result<Option<usize>> {
    let mut length = None;
    loop {
        let mut line = Vec::new();
        input.by_ref().take(HEADER_LINE_MAX).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        let line = str::from_utf8(&line).ok().and_then(|line| line.strip_suffix("\r\n"));
        let line = line.ok_or_else(|| invalid("a line of a header that does not end in CRLF"))?;
        if line.is_empty() {
            return length.ok_or_else(|| invalid("a header without Content-Length")).map(Some);
        }
        let (name, value) =
            line.split_once(':').ok_or_else(|| invalid("a line of a header without a colon"))?;
        if name.eq_ignore_ascii_case("Content-Length") {
            let value = value.trim().parse().map_err(|_| invalid("a Content-Length that is no number"))?;
            length = Some(value);
        }
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn message(body: &[u8]) -> Frame {
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => {
            return Frame::Invalid { id: Value::Null, code: ErrorCode::ParseError, why: error.to_string() };
        }
    };
    let id = value.get("id").cloned();
    // An id of another type would be dropped, and the request be taken for a notification.
    let has_id = matches!(&id, Some(Value::String(_)))
        || id.as_ref().and_then(Value::as_i64).is_some_and(|id| i32::try_from(id).is_ok());
    let why = if id.is_some() && !has_id {
        "an id is a string or an integer of 32 bits".to_owned()
    } else {
        match serde_json::from_value(value) {
            Ok(message) => return Frame::Message(message),
            Err(_) => "this is no request, response or notification".to_owned(),
        }
    };
    Frame::Invalid { id: id.unwrap_or_default(), code: ErrorCode::InvalidRequest, why }
}

/// Writes an error whose id may be null, which `lsp_server` has no message for.
fn write_error(output: &Mutex<impl Write>, id: &Value, code: ErrorCode, why: &str) -> io::Result<()> {
    let error =
        json!({"jsonrpc": "2.0", "id": id, "error": {"code": code as i32, "message": why}}).to_string();
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    write!(output, "Content-Length: {}\r\n\r\n{error}", error.len())?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, pipe};

    use super::*;

    /// What is answered to `input`, and the methods of the messages that arrive.
    fn exchange(input: &str) -> (Vec<(Value, i64)>, Vec<String>) {
        let (mut answers, output) = pipe().unwrap();
        let (connection, writer) = start(Cursor::new(input.as_bytes().to_vec()), output);
        let methods = connection
            .receiver
            .iter()
            .map(|message| match message {
                Message::Request(request) => request.method,
                Message::Notification(notification) => notification.method,
                Message::Response(response) => response.id.to_string(),
            })
            .collect();
        drop(connection);
        writer.join();
        let mut text = String::new();
        answers.read_to_string(&mut text).unwrap();
        let bodies = text.split("Content-Length: ").filter_map(|part| part.split_once("\r\n\r\n"));
        let answer = |body: &str| {
            let body: Value = serde_json::from_str(body).unwrap();
            (body["id"].clone(), body["error"]["code"].as_i64().unwrap())
        };
        (bodies.map(|(_, body)| answer(body)).collect(), methods)
    }

    fn frame(body: &str) -> String {
        format!("Content-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn what_is_no_message_is_answered_and_the_next_one_is_read() {
        let next = frame(r#"{"jsonrpc":"2.0","id":1,"method":"next"}"#);
        for (body, id, code) in [
            ("{", Value::Null, -32700),
            ("\u{1}", Value::Null, -32700),
            ("[]", Value::Null, -32600),
            ("{}", Value::Null, -32600),
            (r#"{"id":7}"#, json!(7), -32600),
            (r#"{"id":"seven","method":1}"#, json!("seven"), -32600),
            (r#"{"id":1.5,"method":"x"}"#, json!(1.5), -32600),
            (r#"{"id":99999999999,"method":"x"}"#, json!(99_999_999_999_i64), -32600),
            (r#"{"id":null,"method":"x"}"#, Value::Null, -32600),
        ] {
            let (answers, methods) = exchange(&(frame(body) + &next));
            assert_eq!(answers, [(id, code)], "{body}");
            assert_eq!(methods, ["next"], "{body}");
        }
    }

    #[test]
    fn a_broken_frame_is_answered_and_ends_the_input() {
        let next = frame(r#"{"method":"next"}"#);
        for broken in [
            "Content-Length: x\r\n\r\n{}",
            "Content-Length: 99999999999999999999\r\n\r\n",
            "Content-Length: 999999999999\r\n\r\n",
            "Content-Type: x\r\n\r\n{}",
            "nonsense\r\n\r\n",
            "Content-Length: 2\n\n{}",
        ] {
            let (answers, methods) = exchange(&format!("{broken}{next}"));
            assert_eq!(answers, [(Value::Null, -32700)], "{broken}");
            assert_eq!(methods, [""; 0], "{broken}");
        }
    }

    #[test]
    fn the_end_of_the_input_is_no_error() {
        for input in ["", "Content-Length: 20\r\n\r\n{}", "Content-Length: 20\r\n"] {
            assert_eq!(exchange(input), (Vec::new(), Vec::new()), "{input}");
        }
        let input = "content-length:17\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n{\"method\":\"x\"}   ";
        assert_eq!(exchange(input).1, ["x"]);
    }

    #[test]
    fn nothing_is_read_after_exit() {
        let input = frame(r#"{"method":"exit"}"#) + "nonsense";
        assert_eq!(exchange(&input), (Vec::new(), vec!["exit".to_owned()]));
    }
}
