//! Files of settings: how they are read, and the errors of their lines.

use std::fs::File;
use std::io;
use std::path::Path;

use knobgate_events::secrets;
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
    whole(limited::read(path, limits::FILE_MAX), &policy_file::name(path))
}

/// The same for a file that was opened, or not, and that is called `name`.
///
/// # Errors
/// [`Failure::Usage`] if it cannot be opened or read, or is too large.
pub(crate) fn read_opened(file: io::Result<File>, name: &str) -> Result<Vec<u8>, Failure> {
    whole(file.and_then(|file| limited::read_from(file, limits::FILE_MAX)), name)
}

fn whole(bytes: io::Result<Vec<u8>>, name: &str) -> Result<Vec<u8>, Failure> {
    let bytes = bytes.and_then(|bytes| {
        let is_too_large = bytes.len() > limits::FILE_MAX;
        if is_too_large {
            Err(io::Error::other(format!("it has more than {} bytes", limits::FILE_MAX)))
        } else {
            Ok(bytes)
        }
    });
    bytes.map_err(|error| Failure::usage(format!("cannot read {name}")).because(error))
}

/// Prints `error: FILE:LINE: …` to standard error.
pub(crate) fn report_line(file: &str, error: &LineError, output: &Output) {
    let failure = Failure::bad(format!("{file}:{}: {error}", error.line));
    output.failure(&match &error.help {
        Some(help) => failure.because(help.as_str()),
        None => failure,
    });
}

/// The same without the text of a line that names a knob whose values are secret.
pub(crate) fn report_line_without_secrets(file: &str, error: &LineError, output: &Output) {
    if secrets::LAST_COMPONENTS.iter().any(|secret| error.message.contains(secret)) {
        let message = "this line is wrong, and is not shown because it names a knob whose values are secret";
        return report_line(
            file,
            &LineError { message: message.to_owned(), help: None, ..error.clone() },
            output,
        );
    }
    report_line(file, error, output);
}
