//! One unary call of gRPC, over a Unix socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method, Request};
use prost::Message;
use tokio::net::UnixStream;

/// The longest that a call may take. Starting a container takes less than a second.
const LIMIT: Duration = Duration::from_secs(60);

/// Why a call has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The runtime cannot be connected to.
    #[error("cannot connect to the runtime")]
    Connect(#[source] io::Error),
    /// The connection has failed.
    #[error("the connection to the runtime has failed")]
    Connection(#[from] h2::Error),
    /// The runtime reports an error.
    #[error("{message}")]
    Status {
        /// The code of gRPC.
        code: String,
        /// What the runtime says.
        message: String,
    },
    /// The answer is not of the type that the call has.
    #[error("the runtime's answer cannot be decoded")]
    Decode(#[from] prost::DecodeError),
    /// There is no answer, and no error either.
    #[error("the runtime has not answered")]
    NoAnswer,
}

/// Calls the method with this path, and waits for its answer.
pub(crate) fn call<A: Message + Default>(
    socket: &Path,
    path: &str,
    request: &impl Message,
) -> Result<A, CallError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CallError::Connect)?;
    runtime.block_on(async {
        let exchange = exchange(socket, path, request.encode_to_vec());
        let mut answer = tokio::time::timeout(LIMIT, exchange).await.map_err(|_| CallError::NoAnswer)??;
        // A byte that says whether the message is compressed, and its length.
        if answer.len() < 5 {
            return Err(CallError::NoAnswer);
        }
        answer.advance(5);
        Ok(A::decode(answer)?)
    })
}

async fn exchange(socket: &Path, path: &str, message: Vec<u8>) -> Result<Bytes, CallError> {
    let stream = UnixStream::connect(socket).await.map_err(CallError::Connect)?;
    let (client, connection) = h2::client::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await?;
    let head = Request::builder()
        .method(Method::POST)
        .uri(format!("http://localhost{path}"))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(())
        .expect("a valid request");
    let (response, mut body) = client.send_request(head, false)?;
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("messages of tests are small"));
    frame.put_slice(&message);
    body.send_data(frame.freeze(), true)?;
    let (head, mut body) = response.await?.into_parts();
    let mut answer = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        answer.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?;
    connection.abort();
    status(trailers.as_ref().unwrap_or(&head.headers))?;
    Ok(answer.freeze())
}

/// The error that the trailers report.
fn status(trailers: &HeaderMap) -> Result<(), CallError> {
    let text = |name| trailers.get(name).map(|value| percent_decoded(value.as_bytes()));
    match text("grpc-status") {
        Some(code) if code == "0" => Ok(()),
        Some(code) => Err(CallError::Status { message: text("grpc-message").unwrap_or_default(), code }),
        None => Err(CallError::NoAnswer),
    }
}

/// gRPC writes `%` and two hexadecimal digits for bytes that are not printable ASCII.
fn percent_decoded(mut bytes: &[u8]) -> String {
    let mut decoded = Vec::new();
    while let Some((&byte, rest)) = bytes.split_first() {
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                bytes = &rest[2..];
            }
            None => {
                decoded.push(byte);
                bytes = rest;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_errors_are_decoded() {
        for (encoded, decoded) in [("", ""), ("100%", "100%"), ("a%0Ab", "a\nb"), ("%c3%bc %zz", "ü %zz")] {
            assert_eq!(percent_decoded(encoded.as_bytes()), decoded);
        }
    }

    #[test]
    fn an_error_in_the_trailers_is_an_error() {
        let trailers = |status: &[(&'static str, &'static str)]| {
            status.iter().map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        assert!(matches!(status(&trailers(&[("grpc-status", "0")])), Ok(())));
        assert!(matches!(status(&trailers(&[])), Err(CallError::NoAnswer)));
        let error =
            status(&trailers(&[("grpc-status", "5"), ("grpc-message", "no%20such pod")])).unwrap_err();
        assert_eq!(error.to_string(), "no such pod");
    }
}
