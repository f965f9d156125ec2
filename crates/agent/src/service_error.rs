//! Why the agent cannot be asked.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the agent cannot answer to others.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Something listens at the socket's path already, or it is no socket.
    #[error("cannot listen at {path}: {why}", path = path.display())]
    Taken {
        /// The path.
        path: PathBuf,
        /// What is there.
        why: &'static str,
    },
    /// The socket cannot be made.
    #[error("cannot listen at {path}", path = path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The address for metrics cannot be used.
    #[error("cannot listen for metrics at {address}, as agent.toml asks for")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
    /// The main thread cannot wait for requests and signals.
    #[error("cannot wait for requests and signals")]
    Wait(#[source] io::Error),
}
