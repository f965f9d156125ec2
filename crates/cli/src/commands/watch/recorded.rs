//! The events of a file.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::process::ExitCode;

use knobgate_events::json::{StreamError, StreamReader};

use crate::failure::Failure;
use crate::limited::is_stdin;
use crate::policy_file::name;
use crate::stream::printer::Printer;

/// Shows the events of the file at `path`.
///
/// # Errors
/// [`Failure::Usage`] if it cannot be read, or a line is wrong.
pub(super) fn show(path: &Path, mut printer: Printer) -> Result<ExitCode, Failure> {
    let cannot_read = |error: io::Error| Failure::usage(format!("cannot read {}", name(path))).because(error);
    let input: Box<dyn Read> = match is_stdin(path) {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path).map_err(cannot_read)?),
    };
    let mut reader = StreamReader::new(BufReader::with_capacity(1 << 16, input));
    while let Some(item) = reader.next() {
        let item = match item {
            Ok(item) => item,
            Err(error) => {
                printer.flush()?;
                return Err(match error {
                    StreamError::Read { source, .. } => cannot_read(source),
                    error => {
                        Failure::usage(format!("{} is not a stream of events", name(path))).because(error)
                    }
                });
            }
        };
        if printer.shows(&item) && printer.print(&item)?.is_break() {
            break;
        }
        // Whoever writes to a pipe may take a while to write more.
        if !reader.has_line() {
            printer.flush()?;
        }
    }
    printer.flush()?;
    Ok(ExitCode::SUCCESS)
}
