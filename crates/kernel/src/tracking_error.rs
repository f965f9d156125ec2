//! Why processes cannot be tracked.

use std::ffi::CStr;
use std::io;

use knobgate_bpf::{AsmError, LayoutError};
use rustix::io::Errno;

use crate::load_error::LoadError;
use crate::object::BpfObjectError;
use crate::token::BpfToken;

/// Where the kernel's BTF is.
pub(crate) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Why processes cannot be tracked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrackingError {
    /// The kernel has no BTF of its own (`CONFIG_DEBUG_INFO_BTF`).
    #[error("cannot read the kernel's BTF ({KERNEL_BTF}): {error}")]
    NoBtf {
        /// What went wrong.
        error: io::Error,
    },
    /// A structure or a field is missing.
    #[error("the kernel's BTF ({KERNEL_BTF}) is not as expected: {error}")]
    Layout {
        /// What is missing.
        error: LayoutError,
    },
    /// The pid namespace of this process is unknown.
    #[error("cannot determine the pid namespace of this process: {error}")]
    Namespace {
        /// What went wrong.
        error: io::Error,
    },
    /// A map cannot be created: before Linux 5.8, there are no ring buffers. Or a BPF token does not delegate what this takes.
    #[error(transparent)]
    Map(#[from] LoadError),
    /// A map cannot be used.
    #[error(transparent)]
    Object(#[from] BpfObjectError),
    /// A program is rejected, or its tracepoint does not exist.
    #[error("the kernel rejects the program for its tracepoint {tracepoint}: {error}")]
    Tracepoint {
        /// Its name.
        tracepoint: String,
        /// What went wrong.
        error: io::Error,
    },
    /// A program cannot be assembled.
    #[error(transparent)]
    Program(#[from] AsmError),
}

impl From<LayoutError> for TrackingError {
    fn from(error: LayoutError) -> Self {
        Self::Layout { error }
    }
}

impl TrackingError {
    pub(crate) fn on(tracepoint: &CStr) -> impl FnOnce(Errno) -> Self {
        let tracepoint = tracepoint.to_string_lossy().into_owned();
        move |error| {
            let what = || format!("load the program for the tracepoint {tracepoint}");
            let not_delegated = || LoadError::not_delegated(what, BpfToken::lacks_for_tracepoints);
            match (error == Errno::PERM).then(not_delegated).flatten() {
                Some(error) => Self::Map(error),
                None => Self::Tracepoint { tracepoint, error: error.into() },
            }
        }
    }
}
