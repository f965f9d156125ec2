//! Opening files by handle.

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::{Errno, Result};

/// Opens the kernfs file with this id, by open_by_handle_at(2), with these flags of open(2). `mount` is any open file of its file system.
pub(crate) fn open_by_handle(mount: BorrowedFd<'_>, id: u64, flags: OFlags) -> Result<OwnedFd> {
    /// `FILEID_KERNFS`, of include/linux/exportfs.h: the handle is the id.
    const KERNFS: u32 = 0xfe;
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: u32,
        id: u64,
    }
    let handle = Handle { bytes: size_of::<u64>() as u32, kind: KERNFS, id };
    let flags = (flags | OFlags::CLOEXEC).bits().cast_signed();
    // SAFETY: the kernel reads the structure, whose first field gives the size of the last one.
    let fd =
        unsafe { libc::syscall(libc::SYS_open_by_handle_at, mount.as_raw_fd(), &raw const handle, flags) };
    if fd < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    // SAFETY: a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
