//! The events of a file.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use knobgate_events::json::{StreamError, StreamReader};
use knobgate_events::{CallResult, EventOutcome, StreamContent, UnknownResult};
use knobgate_policy::AccessKind;

use super::Loss;
use super::recorder::Recorder;
use crate::failure::Failure;
use crate::limited::is_stdin;
use crate::policy_file::name;

/// Adds the events of the file at `path`: the writes, and with `reads` also the reads. They do not say how system calls ended, but
/// a denied access has failed.
///
/// # Errors
/// [`Failure::Usage`] if it cannot be read, or a line is wrong.
pub(super) fn read(path: &Path, reads: bool, recorder: &mut Recorder<'_>) -> Result<Loss, Failure> {
    let cannot_read = |error: io::Error| Failure::usage(format!("cannot read {}", name(path))).because(error);
    let input: Box<dyn Read> = match is_stdin(path) {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path).map_err(cannot_read)?),
    };
    recorder.begin_run();
    let mut loss = Loss::default();
    for item in StreamReader::new(BufReader::new(input)) {
        let item = item.map_err(|error| match error {
            StreamError::Read { source, .. } => cannot_read(source),
            error => Failure::usage(format!("{} is not a stream of events", name(path))).because(error),
        })?;
        match item.content {
            StreamContent::Event(seen) => {
                let result = match seen.event.outcome() {
                    EventOutcome::Denied(errno) => CallResult::Returned(-i64::from(errno)),
                    _ => CallResult::Unknown(UnknownResult::NotTraced),
                };
                if reads || seen.event.kind == AccessKind::Write {
                    recorder.access(seen.event, result);
                }
            }
            StreamContent::Suppressed(suppressed) => loss.accesses += suppressed.count,
            StreamContent::Lost(lost) => loss.accesses += lost.count,
        }
    }
    Ok(loss)
}
