//! Reading what programs send with `bpf_perf_event_output`.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

use crate::map::{Map, possible_cpus};
use crate::object::BpfObjectError;
use crate::sys::perf::{PerfBuffer, PerfRecord};

/// Pages of each CPU's buffer.
const PAGES: usize = 64;

/// The readers of a perf event array: one for each CPU that is online. Nothing is sent before they are there.
#[derive(Debug)]
pub struct PerfEvents {
    buffers: Vec<PerfBuffer>,
}

/// Why events cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PerfEventsError {
    /// A program has sent more than there was room for.
    #[error("perf events were lost, because there was no room for them until they were read")]
    Lost,
    /// There are no new readers.
    #[error(transparent)]
    Open(#[from] BpfObjectError),
}

impl PerfEvents {
    /// Puts a reader of each CPU into the array, at the index that is the CPU's number.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`]: the events cannot be opened (`EACCES`: CAP_PERFMON is missing), or are not taken.
    pub fn open(map: &Map) -> Result<Self, BpfObjectError> {
        let info = map.info();
        let failed = || {
            let what = format!("open perf events for the map {} (id {})", info.name, info.id);
            BpfObjectError::failed(what)
        };
        let cpus = possible_cpus().unwrap_or(1).min(info.max_entries as usize);
        let mut buffers = Vec::new();
        for cpu in 0..cpus {
            let buffer = match PerfBuffer::open(cpu, PAGES) {
                Ok(buffer) => buffer,
                Err(Errno::NODEV) => continue,
                Err(error) => return Err(failed()(error)),
            };
            let event = buffer.as_fd().as_raw_fd();
            map.update(&(cpu as u32).to_ne_bytes(), &event.to_ne_bytes())?;
            buffers.push(buffer);
        }
        Ok(Self { buffers })
    }

    /// Takes out all events of `map`, whose readers these are: those of the first CPU first, each CPU's in their order. The kernel
    /// pads each to a length of 8 n + 4 bytes, with zeros: it skips the padding, so that the readers are replaced by new ones, whose
    /// memory is zero.
    ///
    /// # Errors
    ///
    /// [`PerfEventsError`].
    pub fn drain(&mut self, map: &Map) -> Result<Vec<Vec<u8>>, PerfEventsError> {
        let drained = std::mem::replace(self, Self::open(map)?);
        let event = |record| match record {
            PerfRecord::Sample(event) => Ok(event),
            PerfRecord::Lost => Err(PerfEventsError::Lost),
        };
        drained.buffers.iter().flat_map(PerfBuffer::records).map(event).collect()
    }
}
