//! The events of a file.

use std::ops::ControlFlow;
use std::path::Path;

use knobgate_events::{CallResult, EventOutcome, StreamContent, UnknownResult};
use knobgate_policy::AccessKind;

use super::Loss;
use super::recorder::Recorder;
use crate::events_file;
use crate::failure::Failure;
use crate::output::Output;

/// Adds the events of the file at `path`: the writes, and with `reads` also the reads. They do not say how system calls ended, but
/// a denied access has failed.
///
/// # Errors
/// Those of [`events_file::for_each`].
pub(super) fn read(
    path: &Path,
    reads: bool,
    recorder: &mut Recorder<'_>,
    output: &Output,
) -> Result<Loss, Failure> {
    recorder.begin_run();
    let mut loss = Loss::default();
    events_file::try_for_each(path, output, |next| {
        match next.item.content {
            StreamContent::Event(seen) => {
                let result = match seen.event.outcome() {
                    EventOutcome::Denied(errno) => CallResult::Returned(-i64::from(errno)),
                    _ => CallResult::Unknown(UnknownResult::NotTraced),
                };
                if reads || seen.event.kind == AccessKind::Write {
                    recorder.access(seen.event, result);
                }
            }
            StreamContent::Suppressed(more) => loss.accesses = loss.accesses.saturating_add(more.count),
            StreamContent::Lost(more) => loss.accesses = loss.accesses.saturating_add(more.count),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(loss)
}
