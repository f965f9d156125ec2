//! The events of a file.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use crate::events_file::{self, Next};
use crate::failure::Failure;
use crate::output::Output;
use crate::stream::printer::Printer;

/// Shows the events of the file at `path`.
///
/// # Errors
/// Those of [`events_file::for_each`]. What comes before a wrong line is shown.
pub(super) fn show(path: &Path, mut printer: Printer, output: &Output) -> Result<ExitCode, Failure> {
    let shown = events_file::try_for_each(path, output, |Next { item, has_more }| {
        if printer.shows(&item) && printer.print(&item)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if !has_more {
            printer.flush()?;
        }
        Ok(ControlFlow::Continue(()))
    });
    printer.flush()?;
    shown.map(|()| ExitCode::SUCCESS)
}
