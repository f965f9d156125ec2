//! Maps: what programs keep between runs, share with each other, and report through.
//!
//! A [`Map`] is a handle: its clones are the same map. Programs of one hook share it by being loaded with the same
//! handle, and whoever tests them looks into it. There is one CPU, so the per-CPU kinds have one value for each key.
//! Flags and errors are those of the kernel: kernel/bpf/arraymap.c, hashtab.c, lpm_trie.c, queue_stack_maps.c,
//! ringbuf.c.

mod error;
mod hash;
mod queue;
mod ring;
mod trie;
mod values;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use knobgate_bpf::{MapDef, MapKind};

pub use error::{ANY, EXIST, MapError, NOEXIST};

use crate::LoadedProgram;
use hash::Hash;
use queue::Queue;
pub(crate) use ring::Ring;
use trie::Trie;
use values::Values;

/// A map. Clones are the same map.
#[derive(Debug, Clone)]
pub struct Map(Arc<Mutex<State>>);

#[derive(Debug)]
pub(crate) struct State {
    def: MapDef,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Array(Values),
    Hash(Hash),
    Trie(Trie),
    Queue(Queue),
    Ring(Ring),
    /// What went out for which CPU.
    Events(Vec<(u32, Vec<u8>)>),
    Programs(Vec<Option<LoadedProgram>>),
}

impl Map {
    /// A map as `def` describes it, with its contents.
    ///
    /// # Errors
    ///
    /// [`MapError::Invalid`] when the sizes are not for a map of this kind, and what the contents may cause.
    pub fn new(def: &MapDef) -> Result<Self, MapError> {
        let one_for_each_cpu = def.kind == MapKind::PerfEventArray && def.max_entries == 0;
        let entries = if one_for_each_cpu { 1 } else { def.max_entries };
        let (key, value) = (def.key_size, def.value_size);
        let (value_size, count) = (value as usize, entries as usize);
        let sizes_fit = match def.kind {
            MapKind::Ringbuf => key == 0 && value == 0 && entries.is_power_of_two() && entries % 4096 == 0,
            MapKind::Queue | MapKind::Stack => key == 0 && value > 0,
            MapKind::LpmTrie => (5..=260).contains(&key) && value > 0,
            MapKind::ProgArray | MapKind::PerfEventArray => key == 4 && value == 4,
            MapKind::Array | MapKind::PercpuArray => key == 4 && value > 0,
            _ => key > 0 && value > 0,
        };
        if !sizes_fit || entries == 0 {
            return Err(MapError::Invalid);
        }
        let storage = match def.kind {
            MapKind::Array | MapKind::PercpuArray => Storage::Array(Values::zeroed(value_size, count)),
            MapKind::Hash | MapKind::PercpuHash => Storage::Hash(Hash::new(value_size, count, false)),
            MapKind::LruHash => Storage::Hash(Hash::new(value_size, count, true)),
            MapKind::LpmTrie => Storage::Trie(Trie::new(key as usize, value_size, count)),
            MapKind::Queue => Storage::Queue(Queue::new(count, false)),
            MapKind::Stack => Storage::Queue(Queue::new(count, true)),
            MapKind::Ringbuf => Storage::Ring(Ring::new(u64::from(entries))),
            MapKind::PerfEventArray => Storage::Events(Vec::new()),
            MapKind::ProgArray => Storage::Programs(vec![None; count]),
            _ => return Err(MapError::Invalid),
        };
        let def_of_map = MapDef { contents: Vec::new(), max_entries: entries, ..def.clone() };
        let mut state = State { def: def_of_map, storage };
        for (key, value) in &def.contents {
            state.update(key, value, ANY)?;
        }
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    /// What kind of map it is, and of which sizes; without contents.
    pub fn def(&self) -> MapDef {
        self.state().def.clone()
    }

    /// The value under `key`: `BPF_MAP_LOOKUP_ELEM`. Of a trie, the one of the longest prefix.
    pub fn lookup(&self, key: &[u8]) -> Option<Vec<u8>> {
        let state = self.state();
        let slot = state.find(key)?;
        state.value(slot).map(<[u8]>::to_vec)
    }

    /// Sets the value under `key`: `BPF_MAP_UPDATE_ELEM`, with [`ANY`], [`NOEXIST`] or [`EXIST`].
    ///
    /// # Errors
    ///
    /// As the kernel's.
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), MapError> {
        let mut state = self.state();
        if state.def.frozen { Err(MapError::Frozen) } else { state.update(key, value, flags) }
    }

    /// Removes the entry under `key`: `BPF_MAP_DELETE_ELEM`.
    ///
    /// # Errors
    ///
    /// As the kernel's; entries of arrays cannot be removed.
    pub fn delete(&self, key: &[u8]) -> Result<(), MapError> {
        let mut state = self.state();
        if state.def.frozen { Err(MapError::Frozen) } else { state.delete(key) }
    }

    /// All entries in the order of their keys: by index, or by bytes. Those of a queue or a stack have no keys and are
    /// in the order in which they come out.
    pub fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let state = self.state();
        match &state.storage {
            Storage::Queue(queue) => queue.values().into_iter().map(|value| (Vec::new(), value)).collect(),
            Storage::Trie(trie) => {
                trie.entries().map(|(key, slot)| (key.to_vec(), trie.values.get(slot).to_vec())).collect()
            }
            _ => {
                let mut entries = Vec::new();
                let mut next = state.next_entry(None);
                while let Some((key, slot)) = next {
                    entries.push((key.clone(), state.value(slot).unwrap_or_default().to_vec()));
                    next = state.next_entry(Some(&key));
                }
                entries
            }
        }
    }

    /// Takes the records out of a ring buffer, as its reader does: all submitted ones, up to one that is not. Of any
    /// other map there are none.
    pub fn drain_records(&self) -> Vec<Vec<u8>> {
        match &mut self.state().storage {
            Storage::Ring(ring) => ring.drain(),
            _ => Vec::new(),
        }
    }

    /// Takes out what `bpf_perf_event_output` sent, with the index it was sent to. Every index has a reader.
    pub fn drain_events(&self) -> Vec<(u32, Vec<u8>)> {
        match &mut self.state().storage {
            Storage::Events(events) => std::mem::take(events),
            _ => Vec::new(),
        }
    }

    /// Puts a program into a program array, or takes it out. An array that holds a program that uses that same
    /// array keeps both in memory until it is taken out.
    ///
    /// # Errors
    ///
    /// [`MapError::TooBig`] beyond the end, [`MapError::Invalid`] for another kind of map, or for a program whose
    /// expected attach type is not that of the others.
    pub fn set_program(&self, index: u32, program: Option<LoadedProgram>) -> Result<(), MapError> {
        match &mut self.state().storage {
            Storage::Programs(programs) => {
                let attach_type = |program: &LoadedProgram| program.expected_attach_type();
                let others = programs.iter().flatten().map(attach_type).next();
                if program
                    .as_ref()
                    .map(attach_type)
                    .is_some_and(|own| others.is_some_and(|other| own != other))
                {
                    return Err(MapError::Invalid);
                }
                *programs.get_mut(index as usize).ok_or(MapError::TooBig)? = program;
                Ok(())
            }
            _ => Err(MapError::Invalid),
        }
    }

    /// The inside. A program that uses it lets go of it before its next instruction.
    #[inline]
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn def(&self) -> &MapDef {
        &self.def
    }

    fn index(&self, key: &[u8]) -> Option<u32> {
        let index = u32::from_le_bytes(*key.first_chunk()?);
        (index < self.def.max_entries).then_some(index)
    }

    /// The place of the value under `key`.
    fn find(&self, key: &[u8]) -> Option<u32> {
        match &self.storage {
            Storage::Array(_) => self.index(key),
            Storage::Hash(hash) => hash.find(key),
            Storage::Trie(trie) if key.len() == self.def.key_size as usize => trie.find(key),
            _ => None,
        }
    }

    /// The place of the value under `key`, for a program.
    pub(crate) fn lookup(&mut self, key: &[u8]) -> Option<u32> {
        match &mut self.storage {
            Storage::Hash(hash) => hash.lookup(key),
            _ => self.find(key),
        }
    }

    /// The value at a place.
    #[inline]
    pub(crate) fn value(&self, slot: u32) -> Option<&[u8]> {
        match &self.storage {
            Storage::Array(values) => Some(values.get(slot)),
            Storage::Hash(hash) => Some(hash.values.get(slot)),
            Storage::Trie(trie) => Some(trie.values.get(slot)),
            _ => None,
        }
    }

    /// The value at a place.
    #[inline]
    pub(crate) fn value_mut(&mut self, slot: u32) -> Option<&mut [u8]> {
        match &mut self.storage {
            Storage::Array(values) => Some(values.get_mut(slot)),
            Storage::Hash(hash) => Some(hash.values.get_mut(slot)),
            Storage::Trie(trie) => Some(trie.values.get_mut(slot)),
            _ => None,
        }
    }

    pub(crate) fn update(&mut self, key: &[u8], value: &[u8], flags: u64) -> Result<(), MapError> {
        if key.len() != self.def.key_size as usize || value.len() != self.def.value_size as usize {
            return Err(MapError::Invalid);
        }
        let index = self.index(key);
        match &mut self.storage {
            Storage::Array(values) => {
                if flags > EXIST {
                    return Err(MapError::Invalid);
                }
                let index = index.ok_or(MapError::TooBig)?;
                if flags == NOEXIST {
                    return Err(MapError::Exists);
                }
                values.get_mut(index).copy_from_slice(value);
                Ok(())
            }
            Storage::Hash(hash) => hash.update(key, value, flags),
            Storage::Trie(trie) => trie.update(key, value, flags),
            _ => Err(MapError::Invalid),
        }
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<(), MapError> {
        if key.len() != self.def.key_size as usize {
            return Err(MapError::Invalid);
        }
        match &mut self.storage {
            Storage::Hash(hash) => hash.delete(key),
            Storage::Trie(trie) => trie.delete(key),
            _ => Err(MapError::Invalid),
        }
    }

    pub(crate) fn push(&mut self, value: &[u8], flags: u64) -> Result<(), MapError> {
        match &mut self.storage {
            Storage::Queue(queue) => queue.push(value, flags),
            _ => Err(MapError::Invalid),
        }
    }

    /// The next value of a queue or stack.
    pub(crate) fn take(&mut self, remove: bool) -> Result<Vec<u8>, MapError> {
        match &mut self.storage {
            Storage::Queue(queue) if remove => queue.pop().ok_or(MapError::NoEntry),
            Storage::Queue(queue) => queue.peek().map(<[u8]>::to_vec).ok_or(MapError::NoEntry),
            _ => Err(MapError::Invalid),
        }
    }

    /// The entry behind the one of `key`, or the first one, with the place of its value.
    pub(crate) fn next_entry(&self, key: Option<&[u8]>) -> Option<(Vec<u8>, u32)> {
        match &self.storage {
            Storage::Array(_) => {
                let index = match key {
                    Some(key) => self.index(key)?.checked_add(1)?,
                    None => 0,
                };
                (index < self.def.max_entries).then(|| (index.to_le_bytes().to_vec(), index))
            }
            Storage::Hash(hash) => hash.next(key),
            _ => None,
        }
    }

    pub(crate) fn ring(&self) -> Option<&Ring> {
        if let Storage::Ring(ring) = &self.storage { Some(ring) } else { None }
    }

    pub(crate) fn ring_mut(&mut self) -> Option<&mut Ring> {
        if let Storage::Ring(ring) = &mut self.storage { Some(ring) } else { None }
    }

    pub(crate) fn send_event(&mut self, index: u32, data: &[u8]) -> Result<(), MapError> {
        let max_entries = self.def.max_entries;
        match &mut self.storage {
            Storage::Events(_) if index >= max_entries => Err(MapError::TooBig),
            Storage::Events(events) => {
                events.push((index, data.to_vec()));
                Ok(())
            }
            _ => Err(MapError::Invalid),
        }
    }

    /// The program at `index` of a program array.
    pub(crate) fn program(&self, index: u32) -> Option<LoadedProgram> {
        match &self.storage {
            Storage::Programs(programs) => programs.get(index as usize)?.clone(),
            _ => None,
        }
    }
}
