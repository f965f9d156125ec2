//! Recorded events: of a file, or from standard input.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use knobgate_events::StreamItem;
use knobgate_events::json::{StreamError, StreamReader};

use crate::failure::Failure;
use crate::limited::is_stdin;
use crate::output::Output;
use crate::policy_file::name;

/// Calls `each` for every item of the stream at `path`; `-` is standard input. If the stream ends in the middle of a line, prints
/// a warning.
///
/// # Errors
/// [`Failure::Usage`] if it cannot be read, or another line is wrong.
pub(crate) fn for_each(
    path: &Path,
    output: &Output,
    mut each: impl FnMut(&StreamItem),
) -> Result<(), Failure> {
    let name = name(path);
    let cannot_read = |error: io::Error| Failure::usage(format!("cannot read {name}")).because(error);
    let input: Box<dyn Read> = match is_stdin(path) {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path).map_err(cannot_read)?),
    };
    let mut reader = StreamReader::new(BufReader::with_capacity(1 << 16, input));
    while let Some(item) = reader.next() {
        match item {
            Ok(item) => each(&item),
            Err(error) if reader.is_cut() => {
                output.warning(format_args!(
                    "{name} ends in the middle of an event, which is left out: {error}"
                ));
            }
            Err(StreamError::Read { source, .. }) => return Err(cannot_read(source)),
            Err(error) => {
                return Err(Failure::usage(format!("{name} is not a stream of events")).because(error));
            }
        }
    }
    if reader.left_out() > 0 {
        let lines = reader.left_out();
        output.warning(format_args!(
            "lines of {name} that only a later version of knobgate knows are left out: {lines}"
        ));
    }
    Ok(())
}
