//! Where the agent listens, and what a connection may cost it.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::routes::Routes;
use crate::service_error::ServiceError;

/// How many connections of a listener are served at once. Others wait.
pub(crate) const CONNECTIONS_MAX: usize = 8;
/// How long a peer may take to send its request.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection may last, with the answer read.
const CONNECTION_WITHIN: Duration = Duration::from_secs(30);
/// How much is buffered of a request: its head has to fit in there.
const REQUEST_BYTES: usize = 16 << 10;
/// How many headers a request may have.
const HEADERS_MAX: usize = 64;
/// The pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens at a path, where nobody else may: the lock of the agent is held.
pub(crate) fn unix(path: &Path) -> Result<StdUnixListener, ServiceError> {
    let failed = |source| ServiceError::Socket { path: path.to_owned(), source };
    let taken = |why| ServiceError::Taken { path: path.to_owned(), why };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(there) if !there.file_type().is_socket() => return Err(taken("there is something else")),
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(taken("another process listens there")),
        // That of an agent that was killed.
        Ok(_) => fs::remove_file(path).map_err(failed)?,
    }
    let listener = StdUnixListener::bind(path).map_err(failed)?;
    // The directory is for root alone already.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Listens at an address.
pub(crate) fn tcp(address: SocketAddr) -> Result<std::net::TcpListener, ServiceError> {
    let failed = |source| ServiceError::Listen { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// A listener of either kind.
pub(crate) trait Listen {
    /// A connection; `None` if its peer may not have one.
    async fn accept(&self) -> io::Result<Option<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>>;
}

impl Listen for UnixListener {
    async fn accept(&self) -> io::Result<Option<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>> {
        let (stream, _) = Self::accept(self).await?;
        // SO_PEERCRED: who it was when it connected.
        let is_root = stream.peer_cred().is_ok_and(|peer| peer.uid() == 0);
        Ok(is_root.then_some(stream))
    }
}

impl Listen for TcpListener {
    async fn accept(&self) -> io::Result<Option<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>> {
        let (stream, _) = Self::accept(self).await?;
        Ok(Some(stream))
    }
}

/// Answers requests, for as long as the runtime runs.
pub(crate) async fn serve(listener: impl Listen, routes: Arc<Routes>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // It is never closed.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok(Some(stream)) => stream,
            Ok(None) => continue,
            Err(_) => {
                // There may be no descriptors left.
                sleep(PAUSE).await;
                continue;
            }
        };
        let (routes, permit) = (Arc::clone(&routes), Arc::new(permit));
        tokio::spawn(async move {
            let of_answer = Arc::clone(&permit);
            let answer =
                service_fn(move |request| Arc::clone(&routes).answer(request, Arc::clone(&of_answer)));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_WITHIN)
                .keep_alive(false)
                .max_buf_size(REQUEST_BYTES)
                .max_headers(HEADERS_MAX)
                .serve_connection(TokioIo::new(stream), answer);
            // A peer that misbehaves is nobody's concern but its own.
            let _ = timeout(CONNECTION_WITHIN, connection).await;
            drop(permit);
        });
    }
}
