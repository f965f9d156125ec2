//! Recorded events: of a file, or from standard input.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use knobgate_events::StreamItem;
use knobgate_events::json::{StreamError, StreamReader};

use crate::failure::Failure;
use crate::limited::is_stdin;
use crate::output::Output;
use crate::policy_file::name;

/// An item of a stream, and whether there is more of the stream already.
pub(crate) struct Next {
    pub(crate) item: StreamItem,
    /// Whoever writes to a pipe may take a while to write more.
    pub(crate) has_more: bool,
}

/// Calls `each` for every item of the stream at `path`; `-` is standard input. If the stream ends in the middle of a line, or has
/// lines that only a later version knows, prints a warning.
///
/// # Errors
/// [`Failure::Usage`] if it cannot be read, or another line is wrong.
pub(crate) fn for_each(
    path: &Path,
    output: &Output,
    mut each: impl FnMut(&StreamItem),
) -> Result<(), Failure> {
    try_for_each(path, output, |next| {
        each(&next.item);
        Ok(ControlFlow::Continue(()))
    })
}

/// The same until `each` breaks or fails.
///
/// # Errors
/// Those of [`for_each`] and of `each`.
pub(crate) fn try_for_each(
    path: &Path,
    output: &Output,
    mut each: impl FnMut(Next) -> Result<ControlFlow<()>, Failure>,
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
            Ok(item) => {
                if each(Next { item, has_more: reader.has_line() })?.is_break() {
                    return Ok(());
                }
            }
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
