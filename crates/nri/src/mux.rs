//! The multiplexer: several logical connections in one. A frame has the number of the connection and the length of its payload,
//! as four bytes each with the most significant first, and the payload. Nothing is said when a connection is opened.

use std::io::{self, Read, Write};

/// The connection with the plugin's service, on which the runtime sends requests.
pub(crate) const PLUGIN_SERVICE: u32 = 1;
/// The connection with the runtime's service, on which the plugin sends requests.
pub(crate) const RUNTIME_SERVICE: u32 = 2;

/// The longest payload that a runtime sends: a ttrpc message with its header.
const MAX_READ: usize = crate::ttrpc::HEADER + crate::ttrpc::MAX_DATA;

/// The longest payload that is sent. The other side (Go) reads one frame at a time into its buffer, and fails if that is too small. It
/// is never smaller than this.
const MAX_WRITE: usize = 4096;

/// Why the multiplexed connections cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MuxError {
    /// The other side has closed the connection.
    #[error("the runtime has closed the connection")]
    Closed,
    /// The other side has closed the connection inside of a frame.
    #[error("the runtime has closed the connection in the middle of a message")]
    Truncated,
    /// A frame is longer than any that a runtime sends. This is not NRI.
    #[error("the runtime announces {length} bytes on connection {connection}, which is more than NRI allows")]
    TooLong {
        /// The number of the connection.
        connection: u32,
        /// The length.
        length: u32,
    },
    /// The other side neither answers nor reads.
    #[error("it does not answer in time")]
    TimedOut,
    /// Reading or writing fails.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for MuxError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Io(error),
        }
    }
}

/// The payload of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) connection: u32,
    pub(crate) payload: Vec<u8>,
}

/// Reads a frame.
pub(crate) fn read_frame(stream: &mut impl Read) -> Result<Frame, MuxError> {
    let mut header = [0; 8];
    // An end is only orderly where a frame would start.
    let first = loop {
        match stream.read(&mut header[..1]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    if first == 0 {
        return Err(MuxError::Closed);
    }
    read_all(stream, &mut header[1..])?;
    let [connection, length] =
        [0, 4].map(|at| u32::from_be_bytes(std::array::from_fn(|byte| header[at + byte])));
    if length as usize > MAX_READ {
        return Err(MuxError::TooLong { connection, length });
    }
    let mut payload = vec![0; length as usize];
    read_all(stream, &mut payload)?;
    Ok(Frame { connection, payload })
}

fn read_all(stream: &mut impl Read, buffer: &mut [u8]) -> Result<(), MuxError> {
    stream.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => MuxError::Truncated,
        _ => error.into(),
    })
}

/// Writes bytes to a connection, in as many frames as they need.
pub(crate) fn write(stream: &mut impl Write, connection: u32, bytes: &[u8]) -> Result<(), MuxError> {
    let mut frames = Vec::with_capacity(bytes.len() + 8 * bytes.len().div_ceil(MAX_WRITE));
    for payload in bytes.chunks(MAX_WRITE) {
        frames.extend(connection.to_be_bytes());
        frames.extend((payload.len() as u32).to_be_bytes());
        frames.extend(payload);
    }
    stream.write_all(&frames)?;
    Ok(stream.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(connection: u32, length: u32, payload: &[u8]) -> Vec<u8> {
        [&connection.to_be_bytes()[..], &length.to_be_bytes(), payload].concat()
    }

    #[test]
    fn what_is_written_is_read() {
        let long: Vec<u8> = (0..10_000_u32).map(|byte| byte as u8).collect();
        let mut bytes = Vec::new();
        write(&mut bytes, 2, &long).unwrap();
        write(&mut bytes, 1, b"short").unwrap();
        let mut read = &bytes[..];
        let (mut payload, mut lengths) = (Vec::new(), Vec::new());
        loop {
            match read_frame(&mut read) {
                Ok(Frame { connection: 2, payload: part }) => {
                    lengths.push(part.len());
                    payload.extend(part);
                }
                Ok(frame) => assert_eq!(frame, Frame { connection: 1, payload: b"short".to_vec() }),
                Err(MuxError::Closed) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(payload, long);
        assert_eq!(lengths, [4096, 4096, 1808]);
    }

    #[test]
    fn an_end_in_the_middle_is_an_error() {
        let whole = frame(1, 3, b"abc");
        for length in 1..whole.len() {
            let error = read_frame(&mut &whole[..length]).unwrap_err();
            assert!(matches!(error, MuxError::Truncated), "{length}: {error}");
        }
        assert!(matches!(read_frame(&mut &whole[..0]), Err(MuxError::Closed)));
        assert!(read_frame(&mut &whole[..]).is_ok());
    }

    #[test]
    fn a_length_that_no_runtime_sends_is_an_error_before_anything_is_allocated() {
        for length in [MAX_READ as u32 + 1, 0x4745_5420, u32::MAX] {
            let error = read_frame(&mut &frame(1, length, b"GET / HTTP/1.1")[..]).unwrap_err();
            assert!(
                matches!(error, MuxError::TooLong { connection: 1, length: said } if said == length),
                "{error}"
            );
        }
    }

    #[test]
    fn a_frame_may_be_empty() {
        assert_eq!(
            read_frame(&mut &frame(7, 0, b"")[..]).unwrap(),
            Frame { connection: 7, payload: Vec::new() }
        );
    }
}
