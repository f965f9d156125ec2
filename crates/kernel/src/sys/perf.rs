//! The buffers of perf events, to which `bpf_perf_event_output` writes: kernel/events/ring_buffer.c.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::{Errno, Result};

/// Fields of `struct perf_event_attr` (include/uapi/linux/perf_event.h), as offsets. The rest is 0.
mod attr {
    pub(super) const TYPE: usize = 0;
    pub(super) const SIZE: usize = 4;
    pub(super) const CONFIG: usize = 8;
    pub(super) const SAMPLE_PERIOD: usize = 16;
    pub(super) const SAMPLE_TYPE: usize = 24;
    pub(super) const WAKEUP_EVENTS: usize = 48;
    /// `PERF_ATTR_SIZE_VER0`
    pub(super) const BYTES: usize = 64;
}

const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_COUNT_SW_BPF_OUTPUT: u64 = 10;
const PERF_SAMPLE_RAW: u64 = 1 << 10;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
const PERF_EVENT_IOC_ENABLE: libc::c_ulong = 0x2400;

/// Offset in `struct perf_event_mmap_page`.
const DATA_HEAD: usize = 1024;
/// Bytes of `struct perf_event_header`.
const HEADER_BYTES: usize = 8;

const PERF_RECORD_LOST: u32 = 2;
const PERF_RECORD_SAMPLE: u32 = 9;

/// A perf event of one CPU with its buffer.
#[derive(Debug)]
pub(crate) struct PerfBuffer {
    event: OwnedFd,
    start: *mut u8,
    page: usize,
    /// Bytes of data, a power of two.
    size: usize,
}

// SAFETY: within this process, the mapping belongs to this value alone.
unsafe impl Send for PerfBuffer {}

/// What is in a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PerfRecord {
    /// What a program has sent, with the kernel's padding.
    Sample(Vec<u8>),
    /// Others were lost.
    Lost,
}

impl PerfBuffer {
    /// Opens an event of this CPU for what programs send, with so many pages for the data, a power of two.
    ///
    /// # Errors
    ///
    /// `ENODEV`: the CPU is offline. perf_event_open(2) has the others.
    pub(crate) fn open(cpu: usize, pages: usize) -> Result<Self> {
        let mut attr = [0_u8; attr::BYTES];
        let mut set = |at: usize, bytes: &[u8]| attr[at..at + bytes.len()].copy_from_slice(bytes);
        set(attr::TYPE, &PERF_TYPE_SOFTWARE.to_ne_bytes());
        set(attr::SIZE, &(attr::BYTES as u32).to_ne_bytes());
        set(attr::CONFIG, &PERF_COUNT_SW_BPF_OUTPUT.to_ne_bytes());
        set(attr::SAMPLE_PERIOD, &1_u64.to_ne_bytes());
        set(attr::SAMPLE_TYPE, &PERF_SAMPLE_RAW.to_ne_bytes());
        set(attr::WAKEUP_EVENTS, &1_u32.to_ne_bytes());
        // SAFETY: the attributes are as long as they say. The result is a new descriptor or an error.
        let event = unsafe {
            let all_processes = -1;
            let no_group = -1;
            let event = libc::syscall(
                libc::SYS_perf_event_open,
                attr.as_ptr(),
                all_processes,
                cpu as libc::c_int,
                no_group,
                PERF_FLAG_FD_CLOEXEC,
            );
            if event == -1 {
                return Err(last_error());
            }
            OwnedFd::from_raw_fd(event as i32)
        };
        let page = rustix::param::page_size();
        let size = pages * page;
        // Without PROT_WRITE, the kernel would write over what is not read yet.
        // SAFETY: a new mapping, which nothing else refers to.
        let start = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), page + size, protection, libc::MAP_SHARED, event.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(last_error());
        }
        let buffer = Self { event, start: start.cast(), page, size };
        // SAFETY: this request has no argument that points to memory.
        match unsafe { libc::ioctl(buffer.event.as_raw_fd(), PERF_EVENT_IOC_ENABLE as _, 0) } {
            -1 => Err(last_error()),
            _ => Ok(buffer),
        }
    }

    /// The records that are there at the call. They stay there, and keep their room.
    pub(crate) fn records(&self) -> Vec<PerfRecord> {
        // SAFETY: it is an aligned word in the first page, which the kernel shares with this value.
        let head = unsafe { &*self.start.add(DATA_HEAD).cast::<AtomicU64>() }.load(Ordering::Acquire);
        let mut position = 0;
        let mut records = Vec::new();
        // Without a reader that moves the tail, the data never continues at its beginning.
        while position + HEADER_BYTES <= (head as usize).min(self.size) {
            // A header has the type, flags and the size of the whole record.
            let [a, b, c, d, _, _, low, high] = self.bytes(position, HEADER_BYTES)[..] else {
                unreachable!("eight bytes")
            };
            let kind = u32::from_ne_bytes([a, b, c, d]);
            let size = usize::from(u16::from_ne_bytes([low, high]));
            if size < HEADER_BYTES || position + size > self.size {
                break;
            }
            let record = self.bytes(position + HEADER_BYTES, size - HEADER_BYTES);
            match (kind, record.split_first_chunk()) {
                (PERF_RECORD_SAMPLE, Some((length, data))) => {
                    let length = (u32::from_ne_bytes(*length) as usize).min(data.len());
                    records.push(PerfRecord::Sample(data[..length].to_vec()));
                }
                (PERF_RECORD_LOST, _) => records.push(PerfRecord::Lost),
                _ => {}
            }
            position += size;
        }
        records
    }

    /// These bytes of the data.
    fn bytes(&self, position: usize, length: usize) -> Vec<u8> {
        assert!(position + length <= self.size);
        // SAFETY: it is within the data, which follows the first page. The caller has seen by the head that the kernel has written
        // it, and does not write it again before the tail moves, which nothing moves.
        unsafe { std::slice::from_raw_parts(self.start.add(self.page + position), length) }.to_vec()
    }
}

impl AsFd for PerfBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Drop for PerfBuffer {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping, and no reference to it is left.
        unsafe { libc::munmap(self.start.cast(), self.page + self.size) };
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
