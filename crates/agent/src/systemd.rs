//! What systemd is told: sd_notify(3). Elsewhere, nothing happens.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// How long the first `READY=1` waits for room. If systemd misses it, it considers the start failed.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long other messages that systemd relies on may wait. The engine sends one of them, and handles no new cgroup meanwhile.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// What systemd knows.
#[derive(Debug, Default)]
pub(crate) struct Systemd {
    is_reloading: AtomicBool,
}

impl Systemd {
    /// The agent does its work.
    pub(crate) fn ready(&self) {
        notify(&[NotifyState::Ready], READY_TIMEOUT);
    }

    /// The policies are going to be read again.
    pub(crate) fn reloading(&self) {
        self.is_reloading.store(true, Ordering::Relaxed);
        // `Type=notify-reload` compares it with when it sent the signal.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            notify(&[NotifyState::Reloading, now], SEND_TIMEOUT);
        }
    }

    /// They were read.
    pub(crate) fn reloaded(&self) {
        if self.is_reloading.swap(false, Ordering::Relaxed) {
            notify(&[NotifyState::Ready], SEND_TIMEOUT);
        }
    }

    /// The agent ends.
    pub(crate) fn stopping(&self) {
        notify(&[NotifyState::Stopping], SEND_TIMEOUT);
    }

    /// What `systemctl status` shows: one line.
    pub(crate) fn status(&self, text: &str) {
        notify_if_room(NotifyState::Status(&text.replace('\n', " ")));
    }

    /// The agent works.
    pub(crate) fn feed_watchdog(&self) {
        notify_if_room(NotifyState::Watchdog);
    }

    /// How often systemd wants to hear that it works.
    pub(crate) fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())
    }
}

/// Says what systemd relies on. It waits for room, but not for ever: whoever does not read it must not stop the agent.
fn notify(state: &[NotifyState<'_>], within: Duration) {
    send(state, Some(within));
}

/// Says what may be missed, unless there is no room for it.
fn notify_if_room(state: NotifyState<'_>) {
    send(&[state], None);
}

fn send(state: &[NotifyState<'_>], within: Option<Duration>) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let message: String = state.iter().map(|state| format!("{state}\n")).collect();
    // Whoever does not listen does not need to know.
    let _ = send_to(&socket, message.as_bytes(), within);
}

/// Sends a message to a socket, whose queue has room for `net.unix.max_dgram_qlen` of them. Without room, it waits up to `within`, or
/// not at all.
fn send_to(socket: &OsStr, message: &[u8], within: Option<Duration>) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    }?;
    let sender = UnixDatagram::unbound()?;
    match within {
        Some(_) => sender.set_write_timeout(within)?,
        None => sender.set_nonblocking(true)?,
    }
    loop {
        match sender.send_to_addr(message, &address) {
            // A process that is stopped and goes on is interrupted where a wait has an end.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => return sent.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::io::ErrorKind;
    use std::thread;
    use std::time::Instant;

    use super::*;

    /// A socket whose queue is full, and its address.
    fn full(name: &str) -> (UnixDatagram, OsString) {
        let name = format!("knobgate-test-{name}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let (receiver, address) =
            (UnixDatagram::bind_addr(&address).expect("a socket"), OsString::from(format!("@{name}")));
        while send_to(&address, b"WATCHDOG=1\n", None).is_ok() {}
        (receiver, address)
    }

    #[test]
    fn a_message_for_which_there_is_no_room_is_dropped() {
        let (_receiver, address) = full("dropped");
        for (within, at_least) in
            [(None, Duration::ZERO), (Some(Duration::from_millis(50)), Duration::from_millis(40))]
        {
            let began = Instant::now();
            let sent = send_to(&address, b"READY=1\n", within);
            assert_eq!(sent.expect_err("it is full").kind(), ErrorKind::WouldBlock);
            assert!(began.elapsed() >= at_least, "{within:?} {:?}", began.elapsed());
        }
    }

    #[test]
    fn a_message_waits_for_room() {
        let (receiver, address) = full("waits");
        let sending = thread::spawn(move || send_to(&address, b"READY=1\n", Some(Duration::from_secs(60))));
        thread::sleep(Duration::from_millis(50));
        assert!(!sending.is_finished());
        let mut buffer = [0; 64];
        receiver.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        loop {
            let length = receiver.recv(&mut buffer).expect("a message");
            match &buffer[..length] {
                b"READY=1\n" => break,
                message => assert_eq!(message, b"WATCHDOG=1\n"),
            }
        }
        sending.join().expect("no panic").expect("it is sent");
    }
}
