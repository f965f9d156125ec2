//! Reading ring buffers.

use std::os::fd::AsFd;

use crate::map::Map;
use crate::object::BpfObjectError;
use crate::sys::ring::RingMemory;

/// The reader of a ring buffer. There should be only one, because all readers share the consumer position.
#[derive(Debug)]
pub struct RingBuffer {
    memory: RingMemory,
}

impl RingBuffer {
    /// Opens the reader of this map.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`]; `EINVAL` for a map of another kind.
    pub fn open(map: &Map) -> Result<Self, BpfObjectError> {
        const RINGBUF: u32 = 27;
        let info = map.info();
        let failed = || BpfObjectError::failed(format!("map the ring buffer {} (id {})", info.name, info.id));
        if info.kind != RINGBUF {
            return Err(failed()(rustix::io::Errno::INVAL));
        }
        let memory = RingMemory::new(map.as_fd(), info.max_entries).map_err(failed())?;
        Ok(Self { memory })
    }

    /// Consumes all records that are there at the call.
    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        self.for_each(|record| records.push(record.to_vec()));
        records
    }

    /// Calls `consume` with each record that is there at the call, and consumes it.
    pub fn for_each(&mut self, consume: impl FnMut(&[u8])) {
        self.memory.for_each(consume);
    }
}
