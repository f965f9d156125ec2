//! Connecting, and connecting again.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::plugin::Plugin;
use crate::plugin_id::PluginId;
use crate::session::{SessionError, serve};

/// The longest that the runtime may take to register the plugin, as it grants the plugin, and to read an answer.
const REGISTRATION: Duration = Duration::from_secs(5);

/// The time between attempts to connect. Containers pass without the plugin meanwhile, and an attempt costs next to nothing.
const RETRY: Duration = Duration::from_millis(100);

/// The longest that this time gets when the runtime registers the plugin and leaves it at once, again and again.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Connects to the runtime at this socket, registers the plugin, and serves it. When the connection ends or there is none, it tries
/// again. Returns when that is of no use: why the runtime rejects the plugin, or that this process may not use the socket.
pub fn run(socket: &Path, id: &PluginId, plugin: &mut impl Plugin) -> SessionError {
    let (mut reported, mut retry) = (None, RETRY);
    loop {
        let start = Instant::now();
        let Err(error) = session(socket, id, plugin, &mut reported);
        match error {
            SessionError::Rejected(_) => return error,
            SessionError::Connect(ref why) if why.kind() == io::ErrorKind::PermissionDenied => return error,
            _ => {}
        }
        let (why, no_connection) = (describe(&error), matches!(error, SessionError::Connect(_)));
        let is_news = reported.as_ref().is_none_or(|reported| !no_connection && *reported != why);
        if is_news {
            plugin.disconnected(&error);
            reported = Some(why);
        }
        let was_brief = !no_connection && start.elapsed() < RETRY_MAX;
        retry = if was_brief { (retry * 2).min(RETRY_MAX) } else { RETRY };
        thread::sleep(retry);
    }
}

/// One connection. When the runtime knows the plugin, what was reported before is over.
fn session(
    socket: &Path,
    id: &PluginId,
    plugin: &mut impl Plugin,
    reported: &mut Option<String>,
) -> Result<Infallible, SessionError> {
    let mut stream = connect(socket).map_err(SessionError::Connect)?;
    serve(&mut stream, id, plugin, |stream| {
        *reported = None;
        stream.set_read_timeout(None)
    })
}

fn connect(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(REGISTRATION))?;
    stream.set_write_timeout(Some(REGISTRATION))?;
    Ok(stream)
}

/// The error with its causes.
fn describe(error: &SessionError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
