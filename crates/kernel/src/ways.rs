//! Ways to write a file, to open one, and to end a thread, for which the libraries have no function, for tests.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Result;

use crate::sys::ways;

/// Writes `bytes` at `offset`, or where the file stands if that is −1, by io_uring(7).
///
/// # Errors
///
/// There is no io_uring here, or what the write fails with.
pub fn write_by_io_uring(file: BorrowedFd<'_>, bytes: &[u8], offset: i64) -> Result<usize> {
    ways::write_by_io_uring(file, bytes, offset)
}

/// Writes `bytes` at `offset` by `io_submit(2)`.
///
/// # Errors
///
/// There is none here, or what the write fails with.
pub fn write_by_aio(file: BorrowedFd<'_>, bytes: &[u8], offset: i64) -> Result<usize> {
    ways::write_by_aio(file, bytes, offset)
}

/// Opens the cgroup with this id, or another file of its hierarchy, of which `mount` has something open, by its handle.
///
/// # Errors
///
/// There is no such file, or the caller lacks `CAP_DAC_READ_SEARCH`.
pub fn open_by_id(mount: BorrowedFd<'_>, id: u64) -> Result<OwnedFd> {
    ways::open_by_id(mount, id)
}

/// Ends this thread, and the process only if there is no other.
pub fn end_thread() -> ! {
    ways::end_thread()
}
