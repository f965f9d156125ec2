//! The journal of systemd: what a program says that nobody watches.
//!
//! A datagram in the journal's native protocol, which systemd documents for programs without its library
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>). That is a few lines; a crate for it would bring `tracing`, which nothing
//! else here uses.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// How urgent a message is, as in syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    Error = 3,
    Warning = 4,
}

/// Sends a message to the journal, with more fields. Where there is no journal, or it does not take the message at once, nothing
/// happens: nobody waits for it.
pub(crate) fn send(priority: Priority, message: &str, fields: &[(&str, &str)]) {
    send_to(Path::new(SOCKET), &datagram(priority, message, fields));
}

fn send_to(socket: &Path, datagram: &[u8]) {
    let Ok(from) = UnixDatagram::unbound() else { return };
    if from.set_nonblocking(true).is_ok() {
        let _ = from.send_to(datagram, socket);
    }
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
        send_to(&socket, b"nobody listens");
        let journal = UnixDatagram::bind(&socket).unwrap();
        send_to(&socket, b"one");
        let mut buffer = [0; 8];
        assert_eq!(journal.recv(&mut buffer).unwrap(), 3);
    }
}
