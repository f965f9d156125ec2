//! The log of an OCI runtime, where engines read why a container does not start.
//!
//! containerd's shim shows the last error in it (`getLastRuntimeError()`, pkg/process/utils.go), and Podman does the same
//! (`getOCIRuntimeError()`, libpod/oci_conmon_common.go). Standard error is the container's own.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;

use super::arguments::Arguments;
use crate::journal::Priority;
use crate::printable::printable;
use crate::timestamp;

/// The log that the arguments of the runtime name.
#[derive(Debug)]
pub(super) struct RuntimeLog {
    path: Option<PathBuf>,
    is_json: bool,
}

impl RuntimeLog {
    pub(super) fn of(arguments: &Arguments<'_>) -> Self {
        let is_json = arguments.log_format == Some(OsStr::new("json"));
        Self { path: arguments.log.and_then(file), is_json }
    }

    /// Writes a line, if there is a log. There is nowhere to say that it cannot be written.
    pub(super) fn write(&self, priority: Priority, message: &str) {
        let Some(path) = &self.path else { return };
        // As runc does.
        let options = File::options().create(true).append(true).mode(0o644).open(path);
        if let Ok(mut file) = options {
            let _ = file.write_all(self.line(priority, message, SystemTime::now()).as_bytes());
        }
    }

    fn line(&self, priority: Priority, message: &str, time: SystemTime) -> String {
        let level = match priority {
            Priority::Warning => "warning",
            Priority::Error => "error",
            Priority::Info => "info",
            Priority::Debug => "debug",
        };
        let (time, message) = (timestamp::rfc_3339(time), printable(message));
        if self.is_json {
            format!("{}\n", json!({ "level": level, "msg": message, "time": time }))
        } else {
            format!("time=\"{time}\" level={level} msg={message:?}\n")
        }
    }
}

/// The file of a log. crun can log to other places, too, where no engine reads.
fn file(log: &OsStr) -> Option<PathBuf> {
    let bytes = log.as_bytes();
    if bytes.is_empty() || bytes.starts_with(b"journald:") || bytes.starts_with(b"syslog:") {
        return None;
    }
    Some(Path::new(OsStr::from_bytes(bytes.strip_prefix(b"file:").unwrap_or(bytes))).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_in_the_format_of_the_runtime() {
        let line = |is_json| {
            RuntimeLog { path: None, is_json }.line(
                Priority::Error,
                "no \"bundle\"\n\x1b",
                SystemTime::UNIX_EPOCH,
            )
        };
        let parsed: serde_json::Value = serde_json::from_str(&line(true)).unwrap();
        assert_eq!(parsed["level"], "error");
        assert_eq!(parsed["msg"], "no \"bundle\"\\n\\x1b");
        assert_eq!(
            line(false),
            "time=\"1970-01-01T00:00:00.000000Z\" level=error msg=\"no \\\"bundle\\\"\\\\n\\\\x1b\"\n"
        );
    }

    #[test]
    fn only_files_are_logs() {
        for (log, path) in [
            ("/l", Some("/l")),
            ("file:/l", Some("/l")),
            ("journald:x", None),
            ("syslog:x", None),
            ("", None),
        ] {
            assert_eq!(file(OsStr::new(log)).as_deref(), path.map(Path::new), "{log}");
        }
    }
}
