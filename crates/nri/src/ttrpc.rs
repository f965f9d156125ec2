//! ttrpc: requests and responses on one connection. A message has the length of its data, a stream, a type and flags, and
//! the data. Here all calls are unary: one request and one response, which have the same stream.

use prost::Message as _;

/// The length of a message's header.
pub(crate) const HEADER: usize = 10;
/// The most data that a message may have.
pub(crate) const MAX_DATA: usize = 4 << 20;

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
/// The flag of a request that more data follows.
const REMOTE_OPEN: u8 = 2;

/// Codes of errors, which are those of gRPC.
const UNKNOWN: i32 = 2;
const UNIMPLEMENTED: i32 = 12;

/// Why what comes is not ttrpc, or not what can be expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TtrpcError {
    /// A message is longer than any may be.
    #[error("a message of {0} bytes is longer than ttrpc allows")]
    TooLong(u32),
    /// A message has a type that is not expected on this connection.
    #[error("an unexpected message of type {0}")]
    UnexpectedType(u8),
    /// A request opens a stream. NRI has none.
    #[error("a request that opens a stream, which NRI does not have")]
    Stream,
    /// The data of a message cannot be decoded.
    #[error("a message that cannot be decoded")]
    Decode(#[from] prost::DecodeError),
}

/// A request.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Request {
    #[prost(string, tag = "1")]
    pub(crate) service: String,
    #[prost(string, tag = "2")]
    pub(crate) method: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) payload: Vec<u8>,
}

/// A response.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Response {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
    #[prost(bytes = "vec", tag = "2")]
    payload: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

impl Response {
    pub(crate) fn ok(message: &impl prost::Message) -> Self {
        Self { status: None, payload: message.encode_to_vec() }
    }

    /// An error. Its code is none of those that a runtime takes for the end of the connection.
    pub(crate) fn error(message: impl ToString) -> Self {
        Self { status: Some(Status { code: UNKNOWN, message: message.to_string() }), payload: Vec::new() }
    }

    pub(crate) fn unimplemented(method: &str) -> Self {
        let message = format!("there is no method {method}");
        Self { status: Some(Status { code: UNIMPLEMENTED, message }), payload: Vec::new() }
    }

    /// The message that it carries, if it is no error.
    #[cfg(test)]
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The message of the error that this is.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.status.as_ref().filter(|status| status.code != 0).map(|status| &*status.message)
    }
}

/// The bytes of a request.
pub(crate) fn request(stream: u32, request: &Request) -> Vec<u8> {
    message(stream, REQUEST, &request.encode_to_vec())
}

/// The bytes of a response.
pub(crate) fn response(stream: u32, response: &Response) -> Vec<u8> {
    message(stream, RESPONSE, &response.encode_to_vec())
}

fn message(stream: u32, kind: u8, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("messages of plugins are small");
    [&length.to_be_bytes()[..], &stream.to_be_bytes(), &[kind, 0], data].concat()
}

/// What has come on one connection, and is no whole message yet.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    bytes: Vec<u8>,
}

impl Incoming {
    /// Adds what has come.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// The next request, if a whole message has come, with its stream.
    pub(crate) fn request(&mut self) -> Result<Option<(u32, Request)>, TtrpcError> {
        let Some(message) = self.message(REQUEST)? else { return Ok(None) };
        if message.flags & REMOTE_OPEN != 0 {
            return Err(TtrpcError::Stream);
        }
        Ok(Some((message.stream, Request::decode(&*message.data)?)))
    }

    /// The next response, if a whole message has come, with its stream.
    pub(crate) fn response(&mut self) -> Result<Option<(u32, Response)>, TtrpcError> {
        let Some(message) = self.message(RESPONSE)? else { return Ok(None) };
        Ok(Some((message.stream, Response::decode(&*message.data)?)))
    }

    fn message(&mut self, expected: u8) -> Result<Option<RawMessage>, TtrpcError> {
        let Some((&[l0, l1, l2, l3, s0, s1, s2, s3, kind, flags], rest)) =
            self.bytes.split_first_chunk::<HEADER>()
        else {
            return Ok(None);
        };
        let (length, stream) = (u32::from_be_bytes([l0, l1, l2, l3]), u32::from_be_bytes([s0, s1, s2, s3]));
        if length as usize > MAX_DATA {
            return Err(TtrpcError::TooLong(length));
        }
        if kind != expected {
            return Err(TtrpcError::UnexpectedType(kind));
        }
        let Some(data) = rest.get(..length as usize) else { return Ok(None) };
        let message = RawMessage { stream, flags, data: data.to_vec() };
        self.bytes.drain(..HEADER + length as usize);
        Ok(Some(message))
    }
}

struct RawMessage {
    stream: u32,
    flags: u8,
    data: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configure() -> Request {
        Request { service: "s".to_owned(), method: "Configure".to_owned(), payload: vec![1, 2, 3] }
    }

    #[test]
    fn messages_come_in_any_pieces() {
        let bytes = [request(1, &configure()), request(3, &configure())].concat();
        for piece in 1..bytes.len() {
            let (mut incoming, mut streams) = (Incoming::default(), Vec::new());
            for part in bytes.chunks(piece) {
                incoming.push(part);
                while let Some((stream, request)) = incoming.request().unwrap() {
                    assert_eq!(request, configure());
                    streams.push(stream);
                }
            }
            assert_eq!(streams, [1, 3], "in pieces of {piece}");
        }
    }

    #[test]
    fn errors_are_responses_with_a_status() {
        let mut incoming = Incoming::default();
        incoming.push(&response(1, &Response::error("no")));
        incoming.push(&response(3, &Response::ok(&configure())));
        assert_eq!(incoming.response().unwrap().unwrap().1.failure(), Some("no"));
        assert_eq!(incoming.response().unwrap().unwrap().1.failure(), None);
    }

    #[test]
    fn what_is_not_ttrpc_is_an_error() {
        let of = |bytes: &[u8]| {
            let mut incoming = Incoming::default();
            incoming.push(bytes);
            incoming.request().unwrap_err().to_string()
        };
        assert_eq!(of(b"GET / HTTP/1.1"), "a message of 1195725856 bytes is longer than ttrpc allows");
        assert_eq!(of(&response(1, &Response::error("no"))), "an unexpected message of type 2");
        assert_eq!(of(&message(1, 3, b"")), "an unexpected message of type 3");
        assert_eq!(of(&message(1, REQUEST, b"\xff\xff\xff")), "a message that cannot be decoded");
        let mut opening = request(1, &configure());
        opening[9] = REMOTE_OPEN;
        assert_eq!(of(&opening), "a request that opens a stream, which NRI does not have");
        // Text that is not UTF-8.
        assert_eq!(of(&message(1, REQUEST, b"\x0a\x01\xff")), "a message that cannot be decoded");
    }
}
