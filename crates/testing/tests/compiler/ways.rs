//! The ways to write a value.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::AsFd;

use knobgate_kernel::test_util::{aio_write, io_uring_write};
use proptest::prelude::*;
use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek, sendfile};
use rustix::io::{Result, pwrite, writev};
use rustix::pipe::{SpliceFlags, pipe, splice};

/// How a value is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    /// At once.
    Whole,
    /// This many hundredths of it, and then the rest.
    Split(usize),
    /// At this position.
    At(u64),
    /// After a seek to this position.
    Seek(u64),
    /// From two buffers, of which the first has so many hundredths of it.
    Vectored(usize),
    /// Out of a pipe.
    Splice,
    /// Out of a file.
    Sendfile,
    /// By io_uring(7), at this position, or at that of the file if that is −1.
    IoUring(i64),
    /// By `io_submit(2)`.
    Aio,
}

impl Way {
    /// Its name, without its numbers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Split(_) => "split",
            Self::At(_) => "at a position",
            Self::Seek(_) => "from a position",
            Self::Vectored(_) => "vectored",
            Self::Splice => "splice",
            Self::Sendfile => "sendfile",
            Self::IoUring(_) => "io_uring",
            Self::Aio => "aio",
        }
    }
}

/// Any way; most often at once.
pub(crate) fn any() -> BoxedStrategy<Way> {
    let position = || prop_oneof![2 => 1..5u64, 1 => Just(1 << 32), 1 => Just((1 << 32) + 1), 1 => Just(u64::from(u32::MAX))];
    prop_oneof![
        20 => Just(Way::Whole),
        2 => (0..100usize).prop_map(Way::Split),
        1 => position().prop_map(Way::At),
        1 => position().prop_map(Way::Seek),
        2 => (0..100usize).prop_map(Way::Vectored),
        2 => Just(Way::Splice),
        2 => Just(Way::Sendfile),
        1 => prop_oneof![Just(0), Just(-1), Just(1i64 << 32)].prop_map(Way::IoUring),
        1 => Just(Way::Aio),
    ]
    .boxed()
}

/// Writes `value` to the file of this path.
///
/// # Errors
///
/// The errno of the last system call.
pub(crate) fn write(path: &str, value: &[u8], way: Way) -> Result<usize> {
    let file = File::options()
        .write(true)
        .open(path)
        .map_err(|error| rustix::io::Errno::from_io_error(&error).expect("of a system call"))?;
    let file = file.as_fd();
    let halves = |hundredths: usize| value.split_at(value.len() * hundredths / 100);
    match way {
        Way::Whole => rustix::io::write(file, value),
        Way::Split(hundredths) => {
            let (first, rest) = halves(hundredths);
            // The rest is written whether or not this fails.
            let _ = rustix::io::write(file, first);
            rustix::io::write(file, rest)
        }
        Way::At(position) => pwrite(file, value, position),
        Way::Seek(position) => {
            seek(file, SeekFrom::Start(position))?;
            rustix::io::write(file, value)
        }
        Way::Vectored(hundredths) => {
            let (first, rest) = halves(hundredths);
            writev(file, &[IoSlice::new(first), IoSlice::new(rest)])
        }
        Way::Splice => {
            let (out, into) = pipe()?;
            let length = rustix::io::write(&into, value)?;
            splice(out, None, file, None, length, SpliceFlags::empty())
        }
        Way::Sendfile => {
            let memory = memfd_create("value", MemfdFlags::CLOEXEC)?;
            rustix::io::write(&memory, value)?;
            seek(&memory, SeekFrom::Start(0))?;
            sendfile(file, &memory, None, value.len())
        }
        Way::IoUring(position) => io_uring_write(file, value, position),
        Way::Aio => aio_write(file, value, 0),
    }
}
