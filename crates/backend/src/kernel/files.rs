//! Files of knobs, and accesses to them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;

use knobgate_hook::{AccessMode, Errno};
use knobgate_kernel::{Accessor, PROC_SYS};
use rustix::fs::{SeekFrom, seek};

use super::errors::{backend_failed, step_result};
use crate::arguments::{check_knob, check_request};
use crate::backend::{Request, SyscallResult};
use crate::step_error::StepResult;

pub(super) fn open(knob: &str, mode: AccessMode) -> StepResult<File> {
    check_knob(knob)?;
    let reads = matches!(mode, AccessMode::Read | AccessMode::ReadWrite);
    let writes = matches!(mode, AccessMode::Write | AccessMode::ReadWrite);
    let file = step_result(OpenOptions::new().read(reads).write(writes).open(format!("{PROC_SYS}/{knob}")))?;
    not_directory(&file)?;
    Ok(file)
}

/// The kernel opens directories as well, to list them.
pub(super) fn not_directory(file: &File) -> StepResult<()> {
    if step_result(file.metadata())?.is_dir() { Err(Errno::EISDIR.into()) } else { Ok(()) }
}

/// An access by this process.
pub(super) fn access(
    accessor: &mut Accessor,
    file: &File,
    request: Request<'_>,
    position: Option<i64>,
) -> StepResult<SyscallResult> {
    check_request(request)?;
    let done = match request {
        Request::Read { count, fill } => accessor.read(file.as_fd(), position, count, fill),
        Request::Write(bytes) => {
            accessor.write(file.as_fd(), position, bytes).map(|returned| (returned, Vec::new()))
        }
    };
    let (returned, data) = done.map_err(backend_failed)?;
    let position =
        seek(file, SeekFrom::Current(0)).map_err(|error| backend_failed(io::Error::from(error)))?;
    Ok(SyscallResult { returned, data, position: position.cast_signed() })
}
