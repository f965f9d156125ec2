//! The memory of a ring buffer: kernel/bpf/ringbuf.c.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use knobgate_bpf::uapi::BPF_RINGBUF_HDR_SZ;
use rustix::io::{Errno, Result};

/// `BPF_RINGBUF_BUSY_BIT` and `BPF_RINGBUF_DISCARD_BIT` of the length in a record's header.
const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;

/// The mappings of a ring buffer's reader.
#[derive(Debug)]
pub(crate) struct RingMemory {
    /// The page with the consumer position.
    consumer: *mut u8,
    /// The page with the producer position, then the data, mapped twice so that every record is contiguous.
    producer: *mut u8,
    page: usize,
    /// Size of the data in bytes, a power of two.
    size: u64,
}

// SAFETY: within this process, the mappings belong to this value alone.
unsafe impl Send for RingMemory {}

impl RingMemory {
    /// Maps the ring buffer `map` of `size` bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is not a ring buffer of this size.
    pub(crate) fn new(map: BorrowedFd<'_>, size: u32) -> Result<Self> {
        let page = rustix::param::page_size();
        if !size.is_power_of_two() || !(size as usize).is_multiple_of(page) {
            return Err(Errno::INVAL);
        }
        let consumer = mapped(map, page, libc::PROT_READ | libc::PROT_WRITE, 0)?;
        let producer = match mapped(map, page + 2 * size as usize, libc::PROT_READ, page) {
            Ok(producer) => producer,
            Err(error) => {
                unmap(consumer, page);
                return Err(error);
            }
        };
        Ok(Self { consumer, producer, page, size: u64::from(size) })
    }

    /// Consumes the records that are there at the call, up to one that is still being written. Programs that write faster than
    /// `consume` reads would keep it here forever otherwise.
    pub(crate) fn for_each(&mut self, mut consume: impl FnMut(&[u8])) {
        // SAFETY: both pages are mapped and aligned, and begin with the position.
        let (consumer, producer) =
            unsafe { (AtomicU64::from_ptr(self.consumer.cast()), &*self.producer.cast::<AtomicU64>()) };
        let mut position = consumer.load(Ordering::Relaxed);
        let end = producer.load(Ordering::Acquire);
        while position < end {
            let offset = self.page + (position & (self.size - 1)) as usize;
            // SAFETY: the data follows the page; records are aligned to 8 bytes and begin in its first half.
            let header = unsafe { &*self.producer.add(offset).cast::<AtomicU32>() }.load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let length = u64::from(header & !DISCARD);
            if header & DISCARD == 0 && length <= self.size {
                // SAFETY: the record is not longer than the data, which is mapped twice, and the kernel has completed
                // it.
                let record = unsafe {
                    std::slice::from_raw_parts(
                        self.producer.add(offset + BPF_RINGBUF_HDR_SZ as usize),
                        length as usize,
                    )
                };
                consume(record);
            }
            position += (BPF_RINGBUF_HDR_SZ + length).next_multiple_of(8);
            consumer.store(position, Ordering::Release);
        }
    }
}

impl Drop for RingMemory {
    fn drop(&mut self) {
        unmap(self.consumer, self.page);
        unmap(self.producer, self.page + 2 * self.size as usize);
    }
}

fn mapped(map: BorrowedFd<'_>, length: usize, protection: i32, offset: usize) -> Result<*mut u8> {
    // SAFETY: a new mapping, which nothing else refers to.
    let start = unsafe {
        let offset = offset as libc::off_t;
        libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, map.as_raw_fd(), offset)
    };
    if start == libc::MAP_FAILED {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(start.cast())
}

fn unmap(start: *mut u8, length: usize) {
    // SAFETY: the owner calls this with the result of `mapped`, when no reference is left.
    unsafe { libc::munmap(start.cast(), length) };
}
