//! System calls for tests that the libraries have no safe function for.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, Result};

/// The result of a system call.
fn checked(result: libc::c_long) -> Result<usize> {
    if result == -1 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    Ok(result as usize)
}

/// The result of an asynchronous operation, with the errno as a negative number.
fn completed(result: i64) -> Result<usize> {
    usize::try_from(result).map_err(|_| Errno::from_raw_os_error(-result as i32))
}

/// The mapping of a ring.
struct Mapping {
    start: *mut u8,
    length: usize,
}

impl Mapping {
    fn new(ring: &OwnedFd, length: usize, offset: libc::off_t) -> Result<Self> {
        // SAFETY: a new mapping, which nothing else refers to.
        let start = unsafe {
            let (protection, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
            libc::mmap(std::ptr::null_mut(), length, protection, flags, ring.as_raw_fd(), offset)
        };
        if start == libc::MAP_FAILED {
            return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
        Ok(Self { start: start.cast(), length })
    }

    /// The number at this offset, which the kernel may change.
    fn number(&self, offset: u32) -> &AtomicU32 {
        assert!(offset as usize + 4 <= self.length && offset.is_multiple_of(4));
        // SAFETY: inside the mapping, and aligned, as the mapping is.
        unsafe { AtomicU32::from_ptr(self.start.add(offset as usize).cast()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping, and no reference to it is left.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

/// Writes `bytes` by `IORING_OP_WRITE` at `offset`, or at the file position if `offset` is −1. The layout of the rings
/// is in include/uapi/linux/io_uring.h.
pub(crate) fn io_uring_write(file: BorrowedFd<'_>, bytes: &[u8], offset: i64) -> Result<usize> {
    const OP_WRITE: u8 = 23;
    const LONG_ENOUGH: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
    const OFF_CQ_RING: libc::off_t = 0x800_0000;
    const OFF_SQES: libc::off_t = 0x1000_0000;
    // Where the parameters hold these offsets.
    const TAIL: usize = 11;
    const ARRAY: usize = 16;
    const CQES: usize = 25;
    // `struct io_uring_params`, in words.
    let mut parameters = [0u32; 30];
    // SAFETY: the kernel writes no more than the size of the structure.
    let ring = checked(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) })?;
    // SAFETY: a new descriptor, which nothing else owns.
    let ring = unsafe { OwnedFd::from_raw_fd(ring as i32) };
    let [entries, completions] = [parameters[0], parameters[1]];
    let submissions = Mapping::new(&ring, (parameters[ARRAY] + 4 * entries) as usize, 0)?;
    let results = Mapping::new(&ring, (parameters[CQES] + 16 * completions) as usize, OFF_CQ_RING)?;
    let entry = Mapping::new(&ring, 64 * entries as usize, OFF_SQES)?;

    // The kernel may read them after this function gave up waiting.
    let bytes: &'static [u8] = Vec::leak(bytes.to_vec());
    let mut submission = [0u8; 64];
    submission[0] = OP_WRITE;
    submission[4..8].copy_from_slice(&file.as_raw_fd().to_ne_bytes());
    submission[8..16].copy_from_slice(&offset.to_ne_bytes());
    submission[16..24].copy_from_slice(&(bytes.as_ptr() as u64).to_ne_bytes());
    submission[24..28].copy_from_slice(&(bytes.len() as u32).to_ne_bytes());
    // SAFETY: the mapping is large enough, and the kernel does not read it before io_uring_enter.
    unsafe { std::ptr::copy_nonoverlapping(submission.as_ptr(), entry.start, submission.len()) };
    submissions.number(parameters[ARRAY]).store(0, Ordering::Relaxed);
    submissions.number(parameters[TAIL]).store(1, Ordering::Release);
    // SAFETY: it reads the leaked bytes.
    checked(unsafe {
        libc::syscall(libc::SYS_io_uring_enter, ring.as_raw_fd(), 1, 0, 0, std::ptr::null::<u8>(), 0)
    })?;
    // A request can stay queued without a worker (seen on Linux 6.18.44). It ends with the ring.
    loop {
        match poll(&mut [PollFd::new(&ring, PollFlags::IN)], Some(&LONG_ENOUGH)) {
            Ok(0) => return Err(Errno::TIME),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    // The first completion: 8 bytes of user data, then the result.
    completed(i64::from(results.number(parameters[CQES] + 8).load(Ordering::Acquire) as i32))
}

/// Writes `bytes` at `offset` by io_submit(2): `IOCB_CMD_PWRITE`.
pub(crate) fn aio_write(file: BorrowedFd<'_>, bytes: &[u8], offset: i64) -> Result<usize> {
    const COMMAND_PWRITE: u16 = 1;
    let mut context: libc::c_ulong = 0;
    // SAFETY: the kernel writes one word.
    checked(unsafe { libc::syscall(libc::SYS_io_setup, 1, &raw mut context) })?;
    // `struct iocb` in include/uapi/linux/aio_abi.h.
    let mut control = [0u64; 8];
    control[2] = u64::from(COMMAND_PWRITE) | u64::from(file.as_raw_fd() as u32) << 32;
    control[3] = bytes.as_ptr() as u64;
    control[4] = bytes.len() as u64;
    control[5] = offset as u64;
    let mut controls = [control.as_mut_ptr()];
    // `struct io_event`: data, object, result, second result.
    let mut event = [0i64; 4];
    // SAFETY: the kernel reads one control block and `bytes`, both before the event arrives that this waits for.
    let result = checked(unsafe { libc::syscall(libc::SYS_io_submit, context, 1, controls.as_mut_ptr()) })
        .and_then(|_| {
            // SAFETY: there is room for one event.
            checked(unsafe {
                let forever = std::ptr::null::<libc::timespec>();
                libc::syscall(libc::SYS_io_getevents, context, 1, 1, event.as_mut_ptr(), forever)
            })
        });
    // SAFETY: this function created the context.
    unsafe { libc::syscall(libc::SYS_io_destroy, context) };
    result.and_then(|_| completed(event[2]))
}

/// Ends the calling thread, and the process only if it has no other.
pub(crate) fn exit_thread() -> ! {
    loop {
        // SAFETY: nothing of this thread is used afterwards; what it owns leaks.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
}
