//! The journal of systemd: what a program says that nobody watches.
//!
//! A datagram in the journal's native protocol, which systemd documents for programs without its library
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>). That is a few lines. The crates for it want `tracing`, whose events have the
//! fields that their place in the code names, and not those that a notice has; and they wait for a journal that is stuck.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use rustix::fs::fstat;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// How urgent a message is, as in syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

/// Sends a message to the journal, with more fields. Returns whether the journal has it. If it does not take the message at once, it is
/// waited for `within` that time, or not at all.
pub(crate) fn send(
    priority: Priority,
    message: &str,
    fields: &[(&str, &str)],
    within: Option<Duration>,
) -> bool {
    send_to(Path::new(SOCKET), &datagram(priority, message, fields), within).is_ok()
}

/// Whether standard error goes to the journal, as systemd tells the processes that it starts (`$JOURNAL_STREAM`, systemd.exec(5)).
pub(crate) fn is_standard_error() -> bool {
    let Ok(stat) = fstat(io::stderr()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

fn send_to(socket: &Path, datagram: &[u8], within: Option<Duration>) -> io::Result<usize> {
    let from = UnixDatagram::unbound()?;
    match within {
        Some(_) => from.set_write_timeout(within)?,
        None => from.set_nonblocking(true)?,
    }
    from.send_to(datagram, socket)
}

fn datagram(priority: Priority, message: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let priority = (priority as u8).to_string();
    let own = [("MESSAGE", message), ("PRIORITY", &priority), ("SYSLOG_IDENTIFIER", "knobgate")];
    let mut datagram = Vec::new();
    for (name, value) in own.iter().chain(fields) {
        datagram.extend(name.as_bytes());
        // Its length makes a value safe, whatever is in it.
        datagram.push(b'\n');
        datagram.extend((value.len() as u64).to_le_bytes());
        datagram.extend(value.as_bytes());
        datagram.push(b'\n');
    }
    datagram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_add_a_field() {
        let sent = datagram(Priority::Error, "a\nPRIORITY=0", &[("CONTAINER_ID", "web")]);
        let expected = b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\nPRIORITY\n\x01\0\0\0\0\0\0\x003\n\
            SYSLOG_IDENTIFIER\n\x08\0\0\0\0\0\0\0knobgate\nCONTAINER_ID\n\x03\0\0\0\0\0\0\0web\n";
        assert_eq!(sent.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn the_journal_gets_what_is_sent_and_need_not_be_there() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        send_to(&socket, b"nobody listens", None).unwrap_err();
        let journal = UnixDatagram::bind(&socket).unwrap();
        send_to(&socket, b"one", None).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(journal.recv(&mut buffer).unwrap(), 3);
        // It is full, until somebody reads.
        while send_to(&socket, b"more", None).is_ok() {}
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| send_to(&socket, b"this", Some(Duration::from_secs(60))));
            let mut read = Vec::new();
            while read != b"this" {
                let length = journal.recv(&mut buffer).unwrap();
                read = buffer[..length].to_vec();
            }
            waiting.join().unwrap().unwrap();
        });
    }
}
