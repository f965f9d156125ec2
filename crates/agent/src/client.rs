//! Asks a running agent.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::lock::RUN_DIRECTORY;
use crate::service::Service;
use crate::status::Status;

/// How long the agent may take, which says itself after 5 seconds that its engine does not answer.
const WITHIN: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const ANSWER_MAX: u64 = 64 << 20;

/// Why a running agent cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No agent runs.
    #[error("no agent runs")]
    NoAgent,
    /// The socket cannot be used.
    #[error("cannot ask the agent at {path}", path = path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The agent is there, and does not answer.
    #[error("the agent has not answered for {} s: it hangs, or somebody has stopped it", WITHIN.as_secs())]
    Silent,
    /// The agent says that it cannot tell.
    #[error("the agent says: {0}")]
    Refused(String),
    /// The answer is none that this version of knobgate understands.
    #[error("the answer of the agent cannot be read: another version of knobgate may have given it")]
    Answer(#[source] Option<serde_json::Error>),
}

impl Status {
    /// Asks the agent that runs on this machine.
    ///
    /// # Errors
    ///
    /// [`AskError`].
    pub fn ask() -> Result<Self, AskError> {
        Self::ask_at(&Path::new(RUN_DIRECTORY).join(Service::SOCKET))
    }

    /// Asks the agent that listens at this path.
    ///
    /// # Errors
    ///
    /// [`AskError`].
    pub(crate) fn ask_at(path: &Path) -> Result<Self, AskError> {
        let failed = |source: io::Error| match source.kind() {
            // Of one that was killed, the socket is left.
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => AskError::NoAgent,
            _ => AskError::Socket { path: path.to_owned(), source },
        };
        let mut stream = UnixStream::connect(path).map_err(failed)?;
        let answer = exchange(&mut stream).map_err(|source| match source.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => AskError::Silent,
            _ => AskError::Socket { path: path.to_owned(), source },
        })?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(AskError::Answer(None))?;
        match head.split(' ').nth(1) {
            Some("200") => serde_json::from_str(body).map_err(|error| AskError::Answer(Some(error))),
            Some(_) => Err(AskError::Refused(body.trim_end().to_owned())),
            None => Err(AskError::Answer(None)),
        }
    }
}

fn exchange(stream: &mut UnixStream) -> io::Result<String> {
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    // With version 1.0, the body comes in one piece, and the connection ends after it.
    stream.write_all(b"GET /status HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}
