//! What systemd is told: sd_notify(3). Elsewhere, nothing happens.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// What systemd knows.
#[derive(Debug, Default)]
pub(crate) struct Systemd {
    is_reloading: AtomicBool,
}

impl Systemd {
    /// The agent does its work.
    pub(crate) fn ready(&self) {
        notify(&[NotifyState::Ready]);
    }

    /// The policies are going to be read again.
    pub(crate) fn reloading(&self) {
        self.is_reloading.store(true, Ordering::Relaxed);
        // `Type=notify-reload` compares it with when it sent the signal.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            notify(&[NotifyState::Reloading, now]);
        }
    }

    /// They were read.
    pub(crate) fn reloaded(&self) {
        if self.is_reloading.swap(false, Ordering::Relaxed) {
            self.ready();
        }
    }

    /// The agent ends.
    pub(crate) fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }

    /// What `systemctl status` shows: one line.
    pub(crate) fn status(&self, text: &str) {
        notify_if_room(&NotifyState::Status(&text.replace('\n', " ")));
    }

    /// The agent works.
    pub(crate) fn feed_watchdog(&self) {
        notify_if_room(&NotifyState::Watchdog);
    }

    /// How often systemd wants to hear that it works.
    pub(crate) fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())
    }
}

fn notify(state: &[NotifyState<'_>]) {
    // Whoever does not listen does not need to know.
    let _ = sd_notify::notify(state);
}

/// Says what may be missed, unless there is no room for it: whoever does not read it must not stop the agent.
fn notify_if_room(state: &NotifyState<'_>) -> Option<()> {
    let path = std::env::var_os("NOTIFY_SOCKET")?;
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.send_to_addr(format!("{state}\n").as_bytes(), &address.ok()?).ok()?;
    Some(())
}
