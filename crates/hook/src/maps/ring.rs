//! Ring buffers: kernel/bpf/ringbuf.c.

use std::collections::VecDeque;

use knobgate_bpf::uapi::BPF_RINGBUF_HDR_SZ;

use super::error::MapError;
use super::memory::MapMemory;

/// `RINGBUF_MAX_RECORD_SZ`
const RECORD_MAX: u64 = (u32::MAX / 4) as u64;

/// A ring buffer, with the kernel's positions.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    size: u64,
    produced: u64,
    consumed: u64,
    records: VecDeque<Record>,
    /// How many records were consumed: record `n` is at index `n - first`.
    first: u64,
}

#[derive(Debug, Clone)]
struct Record {
    data: Vec<u8>,
    state: MapState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MapState {
    Busy,
    Submitted,
    Discarded,
}

impl Ring {
    pub(super) fn new(size: u64) -> Self {
        Self { size, produced: 0, consumed: 0, records: VecDeque::new(), first: 0 }
    }

    fn taken(len: u64) -> u64 {
        (len + BPF_RINGBUF_HDR_SZ).next_multiple_of(8)
    }

    /// The memory of its records.
    pub(super) fn held(&self) -> u64 {
        self.produced - self.consumed + self.records.len() as u64 * MapMemory::ENTRY
    }

    /// The memory of one more record.
    pub(super) fn added(len: u64) -> u64 {
        if len > RECORD_MAX { 0 } else { Self::taken(len) + MapMemory::ENTRY }
    }

    /// Reserves a record. Returns its number.
    pub(super) fn reserve(&mut self, len: u64) -> Option<u64> {
        if len > RECORD_MAX {
            return None;
        }
        let produced = self.produced + Self::taken(len);
        if produced - self.consumed > self.size - 1 {
            return None;
        }
        self.produced = produced;
        self.records.push_back(Record { data: vec![0; len as usize], state: MapState::Busy });
        Some(self.first + self.records.len() as u64 - 1)
    }

    /// The bytes of a record that is not yet consumed.
    pub(crate) fn record(&self, number: u64) -> Option<&[u8]> {
        let index = number.checked_sub(self.first)? as usize;
        self.records.get(index).map(|record| record.data.as_slice())
    }

    /// The bytes of a record that is not yet consumed.
    pub(crate) fn record_mut(&mut self, number: u64) -> Option<&mut [u8]> {
        let index = number.checked_sub(self.first)? as usize;
        self.records.get_mut(index).map(|record| record.data.as_mut_slice())
    }

    /// Submits or discards a record.
    pub(crate) fn commit(&mut self, number: u64, discard: bool) {
        let index = number.checked_sub(self.first).map(|index| index as usize);
        if let Some(record) = index.and_then(|index| self.records.get_mut(index)) {
            record.state = if discard { MapState::Discarded } else { MapState::Submitted };
        }
    }

    /// `bpf_ringbuf_output`.
    pub(super) fn output(&mut self, data: &[u8], flags: u64) -> Result<(), MapError> {
        // BPF_RB_NO_WAKEUP and BPF_RB_FORCE_WAKEUP.
        if flags & !3 != 0 {
            return Err(MapError::Invalid);
        }
        let number = self.reserve(data.len() as u64).ok_or(MapError::Again)?;
        if let Some(record) = self.record_mut(number) {
            record.copy_from_slice(data);
        }
        self.commit(number, false);
        Ok(())
    }

    /// `bpf_ringbuf_query`.
    pub(crate) fn query(&self, what: u64) -> u64 {
        match what {
            0 => self.produced - self.consumed,
            1 => self.size,
            2 => self.consumed,
            3 => self.produced,
            _ => 0,
        }
    }

    /// Consumes the submitted records, up to the first one that is still reserved.
    pub(super) fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut drained = Vec::new();
        while let Some(record) = self.records.pop_front_if(|record| record.state != MapState::Busy) {
            self.first += 1;
            self.consumed += Self::taken(record.data.len() as u64);
            if record.state == MapState::Submitted {
                drained.push(record.data);
            }
        }
        drained
    }
}
