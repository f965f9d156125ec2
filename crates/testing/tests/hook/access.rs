//! One access, made to the kernel and to the model.

use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;

use knobgate_hook::{AccessMode, AccessResult, Hook, OpenFile, ProcessId, ProgramFault};
use knobgate_testing::Random;

use crate::inputs::{self, Kind};

/// More bytes than any of the knobs returns.
const ALL_BYTES: usize = 1 << 14;

/// The content of a read buffer before the read; no knob has a value of only these bytes.
const UNTOUCHED: u8 = 0xa5;

/// One access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    Read { count: usize, position: i64, moves: bool },
    Write { bytes: Vec<u8>, position: i64, moves: bool },
}

/// The result: what the system call returned and read, and the file position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Result {
    pub returned: i64,
    pub data: Vec<u8>,
    pub position: i64,
}

impl Result {
    fn of_open(errno: i32) -> Self {
        Self { returned: -i64::from(errno), data: Vec::new(), position: 0 }
    }
}

/// A random access to a knob about `kind`.
pub(crate) fn any(random: &mut Random, kind: Kind) -> Access {
    let (position, moves) = (inputs::position(random), random.one_in(2));
    if random.one_in(3) {
        Access::Read { count: inputs::count(random), position, moves }
    } else {
        Access::Write { bytes: inputs::value(random, kind), position, moves }
    }
}

/// Where the kernel has a knob.
pub(crate) fn path(name: &str) -> String {
    format!("/proc/sys/{name}")
}

/// The whole value in one read; a second read of a number would return nothing.
pub(crate) fn value_in_kernel(name: &str) -> Vec<u8> {
    let mut value = vec![0; ALL_BYTES];
    let read = std::fs::File::open(path(name)).and_then(|mut file| file.read(&mut value));
    value.truncate(read.unwrap_or(0));
    value
}

/// The same from the model, for a process on whose accesses no program runs.
pub(crate) fn value_in_model(hook: &mut Hook, process: ProcessId, name: &str) -> Vec<u8> {
    match hook.open(process, name, AccessMode::Read) {
        Ok(mut whole) => hook.read(process, &mut whole, ALL_BYTES).expect("no program runs").data,
        Err(_) => Vec::new(),
    }
}

/// Sets the model's knob to the kernel's value.
pub(crate) fn start_alike(hook: &mut Hook, process: ProcessId, name: &str) {
    let value = value_in_kernel(name);
    if !value.is_empty() && value_in_model(hook, process, name) != value {
        let written = hook.write_knob(process, name, &value).expect("no program runs");
        assert_eq!(written.returned, value.len() as i64, "{name} takes its own value");
    }
}

fn returned<T>(result: rustix::io::Result<T>, length: impl FnOnce(T) -> usize) -> i64 {
    result.map_or_else(|errno| -i64::from(errno.raw_os_error()), |value| length(value) as i64)
}

/// Makes `access` to the kernel's knob, as this process.
pub(crate) fn in_kernel(name: &str, access: &Access) -> Result {
    let (reads, at, moves) = match *access {
        Access::Read { position, moves, .. } => (true, position, moves),
        Access::Write { position, moves, .. } => (false, position, moves),
    };
    let mut file = match std::fs::OpenOptions::new().read(reads).write(!reads).open(path(name)) {
        Ok(file) => file,
        Err(error) => return Result::of_open(error.raw_os_error().expect("it is the kernel's")),
    };
    if moves {
        file.seek(SeekFrom::Start(at as u64)).expect("any position is fine");
    }
    let mut data = Vec::new();
    let returned = match access {
        Access::Read { count, .. } => {
            data.resize(*count, UNTOUCHED);
            let read = if moves {
                rustix::io::read(file.as_fd(), &mut data[..])
            } else {
                rustix::io::pread(file.as_fd(), &mut data[..], at as u64)
            };
            data.truncate(read.unwrap_or(0));
            // A length that a program has set comes without data.
            if data.iter().all(|byte| *byte == UNTOUCHED) {
                data.clear();
            }
            returned(read, |length| length)
        }
        Access::Write { bytes, .. } if moves => {
            returned(rustix::io::write(file.as_fd(), bytes), |length| length)
        }
        Access::Write { bytes, .. } => {
            returned(rustix::io::pwrite(file.as_fd(), bytes, at as u64), |length| length)
        }
    };
    let position = file.stream_position().expect("it has a position") as i64;
    Result { returned, data, position }
}

/// Makes `access` to the model's knob, as this process of it.
pub(crate) fn in_model(
    hook: &mut Hook,
    process: ProcessId,
    name: &str,
    access: &Access,
) -> std::result::Result<Result, ProgramFault> {
    let wanted = match access {
        Access::Read { .. } => AccessMode::Read,
        Access::Write { .. } => AccessMode::Write,
    };
    let mut file = match hook.open(process, name, wanted) {
        Ok(file) => file,
        Err(errno) => return Ok(Result::of_open(errno.number() as i32)),
    };
    let AccessResult { returned, data, .. } = perform(hook, process, &mut file, access)?;
    Ok(Result { returned, data, position: file.position })
}

fn perform(
    hook: &mut Hook,
    process: ProcessId,
    file: &mut OpenFile,
    access: &Access,
) -> std::result::Result<AccessResult, ProgramFault> {
    match *access {
        Access::Read { count, position, moves: true } => {
            file.position = position;
            hook.read(process, file, count)
        }
        Access::Read { count, position, moves: false } => hook.pread(process, file, count, position),
        Access::Write { ref bytes, position, moves: true } => {
            file.position = position;
            hook.write(process, file, bytes)
        }
        Access::Write { ref bytes, position, moves: false } => hook.pwrite(process, file, bytes, position),
    }
}
