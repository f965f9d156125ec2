//! Maps that are no tables of values: maps of maps, queues, rings, events, programs, cgroups; and the storage of attachments.

use std::sync::Arc;

use knobgate_bpf::MapKind;
use knobgate_bpf::uapi::BPF_CGROUP_SYSCTL;

use super::{ArrayProgram, MapState, Storage};
use crate::maps::Map;
use crate::maps::definition::inner_map_bytes;
use crate::maps::error::{ANY, MapError};
use crate::maps::memory::MapMemory;
use crate::maps::ring::Ring;

impl MapState {
    /// The map under `key`.
    pub(crate) fn inner_map(&self, key: &[u8]) -> Option<Map> {
        if let Storage::Maps(maps) = &self.storage { maps.get(key) } else { None }
    }

    pub(in crate::maps) fn put_map(&mut self, key: &[u8], map: &Map) -> Result<(), MapError> {
        if key.len() != self.def.key_size as usize {
            return Err(MapError::Invalid);
        }
        let adds = self.def.kind == MapKind::HashOfMaps && self.inner_map(key).is_none();
        self.make_room(if adds { inner_map_bytes(&self.def) } else { 0 })?;
        let put = match &mut self.storage {
            Storage::Maps(maps) => maps.put(key, map),
            _ => Err(MapError::Invalid),
        };
        self.adjust_memory()?;
        put
    }

    pub(crate) fn push(&mut self, value: &[u8], flags: u64) -> Result<(), MapError> {
        let adds = matches!(&self.storage, Storage::Queue(queue) if queue.adds());
        self.make_room(if adds { self.entry_bytes() } else { 0 })?;
        let pushed = match &mut self.storage {
            Storage::Queue(queue) => queue.push(value, flags),
            _ => Err(MapError::Invalid),
        };
        self.adjust_memory()?;
        pushed
    }

    /// The next value of a queue or stack.
    pub(crate) fn pop(&mut self, remove: bool) -> Result<Vec<u8>, MapError> {
        let taken = match &mut self.storage {
            Storage::Queue(queue) if remove => queue.pop().ok_or(MapError::NoEntry),
            Storage::Queue(queue) => queue.peek().map(<[u8]>::to_vec).ok_or(MapError::NoEntry),
            _ => Err(MapError::Invalid),
        };
        self.adjust_memory()?;
        taken
    }

    pub(in crate::maps) fn drain_records(&mut self) -> Vec<Vec<u8>> {
        let records = match &mut self.storage {
            Storage::Ring(ring) => ring.drain(),
            _ => Vec::new(),
        };
        self.give_back();
        records
    }

    pub(in crate::maps) fn drain_events(&mut self) -> Vec<(u32, Vec<u8>)> {
        let events = match &mut self.storage {
            Storage::Events { sent, bytes } => {
                *bytes = 0;
                std::mem::take(sent)
            }
            _ => Vec::new(),
        };
        self.give_back();
        events
    }

    /// Releases memory that is not in use any more.
    fn give_back(&mut self) {
        // Releasing memory never fails.
        let _ = self.adjust_memory();
    }

    /// `bpf_ringbuf_reserve`: the number of the record, or `None` if there is no room.
    pub(crate) fn reserve(&mut self, len: u64) -> Result<Option<u64>, MapError> {
        self.make_room(Ring::added(len))?;
        let reserved = self.ring_mut().and_then(|ring| ring.reserve(len));
        self.adjust_memory()?;
        Ok(reserved)
    }

    /// `bpf_ringbuf_output`
    pub(crate) fn output(&mut self, data: &[u8], flags: u64) -> Result<(), MapError> {
        self.make_room(Ring::added(data.len() as u64))?;
        let sent = self.ring_mut().map_or(Err(MapError::Invalid), |ring| ring.output(data, flags));
        self.adjust_memory()?;
        sent
    }

    pub(crate) fn set_program(
        &mut self,
        index: u32,
        program: Option<Arc<dyn ArrayProgram>>,
    ) -> Result<(), MapError> {
        let Storage::Programs(programs) = &mut self.storage else { return Err(MapError::Invalid) };
        let attach_type = |program: &Arc<dyn ArrayProgram>| program.expected_attach_type();
        let others = programs.iter().flatten().map(attach_type).next();
        if program.as_ref().map(attach_type).is_some_and(|own| others.is_some_and(|other| own != other)) {
            return Err(MapError::Invalid);
        }
        *programs.get_mut(index as usize).ok_or(MapError::TooBig)? = program;
        Ok(())
    }

    pub(in crate::maps) fn set_cgroup(&mut self, index: u32, cgroup: Option<u64>) -> Result<(), MapError> {
        let Storage::Cgroups(cgroups) = &mut self.storage else { return Err(MapError::Invalid) };
        *cgroups.get_mut(index as usize).ok_or(MapError::TooBig)? = cgroup;
        Ok(())
    }

    /// `bpf_perf_event_output`
    pub(crate) fn send_event(&mut self, index: u32, data: &[u8]) -> Result<(), MapError> {
        let added = data.len() as u64 + MapMemory::ENTRY;
        match &self.storage {
            Storage::Events { .. } if index >= self.def.max_entries => return Err(MapError::TooBig),
            Storage::Events { .. } => self.make_room(added)?,
            _ => return Err(MapError::Invalid),
        }
        if let Storage::Events { sent, bytes } = &mut self.storage {
            sent.push((index, data.to_vec()));
            *bytes += added;
        }
        Ok(())
    }

    /// The cgroup at `index`; [`MapError::TooBig`] beyond the end.
    pub(crate) fn cgroup(&self, index: u32) -> Result<Option<u64>, MapError> {
        match &self.storage {
            Storage::Cgroups(cgroups) => cgroups.get(index as usize).copied().ok_or(MapError::TooBig),
            _ => Err(MapError::Invalid),
        }
    }

    /// The slot of the storage of an attachment to `cgroup` (`bpf_cgroup_storages_alloc`). If the key is only the cgroup,
    /// all programs share it. If the key includes the attach type, they share it as well, because that is always this
    /// hook's.
    pub(crate) fn local_value(&mut self, cgroup: u64, cpu: u32) -> Result<Option<u32>, MapError> {
        let mut key = cgroup.to_le_bytes().to_vec();
        if self.def.key_size > 8 {
            key.extend(u64::from(BPF_CGROUP_SYSCTL).to_le_bytes());
        }
        let adds = matches!(&self.storage, Storage::Local(hash) if hash.adds(&key));
        self.make_room(if adds { self.entry_bytes() } else { 0 })?;
        let Storage::Local(hash) = &mut self.storage else { return Ok(None) };
        let entry = hash.find(&key).map_or_else(|| hash.entry(&key, ANY), Ok)?;
        Ok(Some(entry * self.cpus + if self.cpus > 1 { cpu } else { 0 }))
    }

    pub(crate) fn ring(&self) -> Option<&Ring> {
        if let Storage::Ring(ring) = &self.storage { Some(ring) } else { None }
    }

    pub(crate) fn ring_mut(&mut self) -> Option<&mut Ring> {
        if let Storage::Ring(ring) = &mut self.storage { Some(ring) } else { None }
    }

    pub(crate) fn program(&self, index: u32) -> Option<Arc<dyn ArrayProgram>> {
        match &self.storage {
            Storage::Programs(programs) => programs.get(index as usize)?.clone(),
            _ => None,
        }
    }
}
