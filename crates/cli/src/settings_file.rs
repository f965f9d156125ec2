//! Files of settings: how they are read, and the errors of their lines.

use std::io;
use std::path::Path;

use knobgate_policy::limits;
use knobgate_sysctl_conf::LineError;

use crate::failure::Failure;
use crate::limited;
use crate::output::Output;
use crate::policy_file;

/// The bytes of the file at `path`; `-` is standard input. It may be as large as a policy.
///
/// # Errors
/// [`Failure::Usage`] if it cannot be read, or is too large.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = limited::read(path, limits::FILE_MAX).and_then(|bytes| {
        let is_too_large = bytes.len() > limits::FILE_MAX;
        if is_too_large {
            Err(io::Error::other(format!("it has more than {} bytes", limits::FILE_MAX)))
        } else {
            Ok(bytes)
        }
    });
    bytes.map_err(|error| Failure::usage(format!("cannot read {}", policy_file::name(path))).because(error))
}

/// Prints `error: FILE:LINE: …` to standard error.
pub(crate) fn report_line(file: &str, error: &LineError, output: &Output) {
    let failure = Failure::bad(format!("{file}:{}: {error}", error.line));
    output.failure(&match &error.help {
        Some(help) => failure.because(help.as_str()),
        None => failure,
    });
}
