//! One access, made to the kernel and to the model.

use knobgate_backend::{CgroupId, StepError};
use knobgate_testing::{Both, Random};

use crate::inputs::{self, Kind};

/// The content of a read buffer before the read.
const UNTOUCHED: u8 = 0xa5;

/// One access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) request: Request,
    pub(crate) position: i64,
    /// Whether the descriptor is moved to the position; otherwise the system call has it.
    pub(crate) moves: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Read(usize),
    Write(Vec<u8>),
}

/// A random access to a knob about `kind`.
pub(crate) fn any(random: &mut Random, kind: Kind) -> Access {
    let (position, moves) = (inputs::position(random), random.one_in(2));
    let request = if random.one_in(3) {
        Request::Read(inputs::count(random))
    } else {
        Request::Write(inputs::value(random, kind))
    };
    Access { request, position, moves }
}

/// Makes an access to both knobs of this name, and reads their values.
///
/// # Errors
///
/// What differs.
pub(crate) fn compare(both: &mut Both, cgroup: CgroupId, name: &str, access: &Access) -> Result<(), String> {
    let request = match &access.request {
        &Request::Read(count) => knobgate_backend::Request::Read { count, fill: UNTOUCHED },
        Request::Write(bytes) => knobgate_backend::Request::Write(bytes),
    };
    both.must(|backend| {
        let result = match backend.access_knob(cgroup, name, request, access.position, access.moves) {
            Err(StepError::Errno(errno)) => Err(errno),
            result => Ok(result?),
        };
        Ok((result, backend.value(name)?))
    })
    .map(drop)
}

/// Whether the kernel has a knob.
pub(crate) fn is_here(name: &str) -> bool {
    std::fs::exists(format!("{}/{name}", knobgate_kernel::PROC_SYS)).unwrap_or(false)
}
