//! System calls for tests that the libraries have no safe function for.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Result;

use crate::sys::{file_handle, test_util};

/// Writes `bytes` by io_uring(7) at `offset`, or at the file position if `offset` is −1.
///
/// # Errors
///
/// There is no io_uring, or the write fails.
pub fn io_uring_write(file: BorrowedFd<'_>, bytes: &[u8], offset: i64) -> Result<usize> {
    test_util::io_uring_write(file, bytes, offset)
}

/// Writes `bytes` at `offset` by io_submit(2).
///
/// # Errors
///
/// There is no AIO, or the write fails.
pub fn aio_write(file: BorrowedFd<'_>, bytes: &[u8], offset: i64) -> Result<usize> {
    test_util::aio_write(file, bytes, offset)
}

/// Opens a file of the cgroup hierarchy by its id, with open_by_handle_at(2). `mount` is any open file of that
/// hierarchy.
///
/// # Errors
///
/// There is no such file, or the caller lacks `CAP_DAC_READ_SEARCH`.
pub fn open_by_handle(mount: BorrowedFd<'_>, id: u64) -> Result<OwnedFd> {
    file_handle::open_by_handle(mount, id, rustix::fs::OFlags::PATH)
}

/// Ends the calling thread, and the process only if it has no other.
pub fn exit_thread() -> ! {
    test_util::exit_thread()
}
