//! What the kernel's errors are for a step.

use std::error::Error;
use std::io;

use knobgate_hook::Errno;
use knobgate_kernel::{BpfObjectError, CgroupError, LoadError};

use crate::rejection_reason;
use crate::step_error::{RejectionLog, StepError, StepResult};

pub(super) fn backend_failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> StepError {
    StepError::Backend(error.into())
}

/// The result of a system call.
pub(super) fn step_result<T>(result: io::Result<T>) -> StepResult<T> {
    result.map_err(|error| match error.raw_os_error() {
        Some(errno) => StepError::Errno(errno),
        None => backend_failed(error),
    })
}

pub(super) fn cgroup_result<T>(result: Result<T, CgroupError>) -> StepResult<T> {
    result.map_err(|error| match error {
        CgroupError::Exists { .. } => Errno::EEXIST.into(),
        CgroupError::NotFound { .. } => Errno::ENOENT.into(),
        CgroupError::InUse { .. } => Errno::EBUSY.into(),
        CgroupError::InvalidName { .. } => Errno::EINVAL.into(),
        CgroupError::Io { error: ref reason, .. } => {
            reason.raw_os_error().map_or_else(|| backend_failed(error), StepError::Errno)
        }
        error => backend_failed(error),
    })
}

pub(super) fn map_result(result: Result<(), BpfObjectError>) -> StepResult<()> {
    result.map_err(|error| match error {
        BpfObjectError::WrongSize { .. } => Errno::EINVAL.into(),
        error => match error.os_error().and_then(io::Error::raw_os_error) {
            Some(errno) => StepError::Errno(errno),
            None => backend_failed(error),
        },
    })
}

/// How many lines of the verifier's log are shown: the last instructions with their source line, and the reason; a report
/// that follows it is shown as well.
const SHOWN_LINES: usize = 8;

/// The error of a program that was not loaded.
pub(super) fn rejected(error: LoadError) -> StepError {
    let errno = error.os_error().and_then(io::Error::raw_os_error);
    let reason = match &error {
        LoadError::NotPermitted { .. } | LoadError::LockedMemory { .. } | LoadError::NoMemory { .. } => {
            return backend_failed(error);
        }
        LoadError::Rejected { log, .. } => rejection_reason::reason(log.reason()),
        LoadError::TooLarge { insns, log, .. } => rejection_reason::too_large(*insns, log.reason()),
        other => other.to_string(),
    };
    let mut full = error.to_string();
    let mut omitted = 0;
    if let Some(log) = error.log() {
        let shown = log.tail(SHOWN_LINES);
        omitted = log.tail(usize::MAX).len() - shown.len();
        shown.iter().for_each(|line| full += &format!("\n{line}"));
    }
    StepError::Rejected { errno, log: RejectionLog { reason, full, omitted } }
}
