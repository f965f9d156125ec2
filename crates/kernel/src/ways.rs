//! Ways to write a file for which the libraries have no function, for tests.

use std::os::fd::BorrowedFd;

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
