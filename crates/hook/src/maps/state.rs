//! The state of a map, and the values in it.

mod containers;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use knobgate_bpf::{MapDef, MapKind};

use super::definition::{
    LOCK_BYTES, MapLock, check_memory, check_modelled, created, from_the_start, inner_map_bytes, lock_of,
    room, sizes_fit,
};
use super::error::{ANY, EXIST, LOCK, MapError, NOEXIST, NotModelled};
use super::hash::Hash;
use super::inner_maps::InnerMaps;
use super::memory::{MapMemory, Share};
use super::queue::Queue;
use super::ring::Ring;
use super::trie::Trie;
use super::values::Values;
use crate::Profile;

/// A program in a program array.
pub(crate) trait ArrayProgram: Any + Debug + Send + Sync {
    fn expected_attach_type(&self) -> u32;
}

#[derive(Debug)]
pub(crate) struct MapState {
    def: Arc<MapDef>,
    /// How many values each key has.
    cpus: u32,
    storage: Storage,
    share: Share,
    /// The `bpf_spin_lock` in values. It is 0 between the instructions of a program.
    lock: MapLock,
    /// That in the values of maps in this one.
    inner_lock: Option<MapLock>,
}

#[derive(Debug)]
enum Storage {
    Array(Values),
    Hash(Hash),
    Trie(Trie),
    /// A value for each cgroup that a program with this map is attached to.
    Local(Hash),
    Queue(Queue),
    Ring(Ring),
    /// The events that were sent, each with its CPU.
    Events {
        sent: Vec<(u32, Vec<u8>)>,
        bytes: u64,
    },
    Programs(Vec<Option<Arc<dyn ArrayProgram>>>),
    /// Ids of cgroups.
    Cgroups(Vec<Option<u64>>),
    Maps(InnerMaps),
}

impl MapState {
    /// A map as `def` describes it, without its contents, on a machine with `cpus` processors.
    pub(super) fn new(
        def: &MapDef,
        profile: &Profile,
        cpus: u32,
        memory: &MapMemory,
    ) -> Result<Self, MapError> {
        let def = created(def, cpus);
        check_modelled(&def)?;
        let lock = lock_of(&def, profile)?;
        let inner_lock = def.inner.as_deref().map(|inner| lock_of(inner, profile)).transpose()?;
        if !sizes_fit(&def) {
            return Err(MapError::Sizes {
                kind: def.kind,
                key_size: def.key_size,
                value_size: def.value_size,
                max_entries: def.max_entries,
            });
        }
        let cpus = if def.kind.is_per_cpu() { cpus } else { 1 };
        check_memory(&def, cpus)?;
        let mut share = Share::new(memory);
        share.set(from_the_start(&def, cpus))?;
        let (count, room) = (def.max_entries as usize, room(&def, cpus));
        let values = |entries| Values::zeroed(def.value_size as usize, cpus as usize, entries);
        let storage = match def.kind {
            MapKind::Array | MapKind::PercpuArray => Storage::Array(values(count)),
            MapKind::Hash => Storage::Hash(Hash::new(values(0), room, false, true)),
            MapKind::PercpuHash => Storage::Hash(Hash::new(values(0), room, false, false)),
            MapKind::LruHash => Storage::Hash(Hash::new(values(0), room, true, true)),
            MapKind::LruPercpuHash => Storage::Hash(Hash::new(values(0), room, true, false)),
            MapKind::LpmTrie => Storage::Trie(Trie::new(def.key_size as usize, values(0), room)),
            MapKind::CgroupStorage | MapKind::PercpuCgroupStorage => {
                Storage::Local(Hash::new(values(0), usize::MAX, false, false))
            }
            MapKind::Queue => Storage::Queue(Queue::new(room, false)),
            MapKind::Stack => Storage::Queue(Queue::new(room, true)),
            MapKind::Ringbuf => Storage::Ring(Ring::new(u64::from(def.max_entries))),
            MapKind::PerfEventArray => Storage::Events { sent: Vec::new(), bytes: 0 },
            MapKind::ProgArray => Storage::Programs(vec![None; count]),
            MapKind::CgroupArray => Storage::Cgroups(vec![None; count]),
            MapKind::ArrayOfMaps | MapKind::HashOfMaps => Storage::Maps(InnerMaps::new(&def, inner_lock)?),
            kind => return Err(NotModelled::Kind(kind.name()).into()),
        };
        let mut state = Self { def: Arc::new(def), cpus, storage, share, lock, inner_lock };
        state.adjust_memory()?;
        Ok(state)
    }

    /// The memory of one entry, for maps that take memory as entries are added.
    fn entry_bytes(&self) -> u64 {
        let values = u64::from(self.def.value_size) * u64::from(self.cpus);
        u64::from(self.def.key_size) + values + MapMemory::ENTRY
    }

    /// Reserves memory for an addition.
    fn make_room(&mut self, bytes: u64) -> Result<(), MapError> {
        if bytes == 0 { Ok(()) } else { self.share.set(self.held().saturating_add(bytes)) }
    }

    /// Adjusts the reserved memory to what is in use.
    fn adjust_memory(&mut self) -> Result<(), MapError> {
        self.share.set(self.held())
    }

    /// How much memory is in use.
    fn held(&self) -> u64 {
        match &self.storage {
            Storage::Array(_) | Storage::Programs(_) | Storage::Cgroups(_) => {
                from_the_start(&self.def, self.cpus)
            }
            Storage::Hash(Hash { values, .. })
            | Storage::Local(Hash { values, .. })
            | Storage::Trie(Trie { values, .. }) => self.entry_bytes() * values.count() as u64,
            Storage::Queue(queue) => self.entry_bytes() * queue.len() as u64,
            Storage::Ring(ring) => ring.held(),
            Storage::Events { bytes, .. } => *bytes,
            Storage::Maps(maps) => inner_map_bytes(&self.def).saturating_mul(maps.len() as u64),
        }
    }

    pub(super) fn def(&self) -> &Arc<MapDef> {
        &self.def
    }

    /// The lock in values, and that in the values of maps in this one.
    pub(super) fn locks(&self) -> (MapLock, Option<MapLock>) {
        (self.lock, self.inner_lock)
    }

    fn index(&self, key: &[u8]) -> Option<u32> {
        let index = u32::from_le_bytes(*key.first_chunk()?);
        (index < self.def.max_entries).then_some(index)
    }

    /// The entry under `key`.
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        match &self.storage {
            Storage::Array(_) => self.index(key),
            Storage::Hash(hash) | Storage::Local(hash) => hash.find(key),
            Storage::Trie(trie) if key.len() == self.def.key_size as usize => trie.find(key),
            _ => None,
        }
    }

    /// The slot of the value under `key` for `cpu`, for a program.
    pub(crate) fn lookup(&mut self, key: &[u8], cpu: u32) -> Option<u32> {
        let entry = match &mut self.storage {
            Storage::Hash(hash) => hash.lookup(key),
            _ => self.find(key),
        };
        // In other maps, all CPUs have the same value.
        entry.map(|entry| entry * self.cpus + if self.cpus > 1 { cpu } else { 0 })
    }

    /// Whether there is such a CPU.
    pub(crate) fn has_cpu(&self, cpu: u32) -> bool {
        cpu < self.cpus
    }

    fn values(&self) -> Option<&Values> {
        match &self.storage {
            Storage::Array(values) => Some(values),
            Storage::Hash(hash) | Storage::Local(hash) => Some(&hash.values),
            Storage::Trie(trie) => Some(&trie.values),
            _ => None,
        }
    }

    fn values_mut(&mut self) -> Option<&mut Values> {
        match &mut self.storage {
            Storage::Array(values) => Some(values),
            Storage::Hash(hash) | Storage::Local(hash) => Some(&mut hash.values),
            Storage::Trie(trie) => Some(&mut trie.values),
            _ => None,
        }
    }

    /// The value in a slot.
    #[inline]
    pub(crate) fn value(&self, place: u32) -> Option<&[u8]> {
        self.values().map(|values| values.get(place))
    }

    /// The value in a slot.
    #[inline]
    pub(crate) fn value_mut(&mut self, place: u32) -> Option<&mut [u8]> {
        self.values_mut().map(|values| values.get_mut(place))
    }

    /// How many bytes each CPU has in a per-CPU value, as user space sees it.
    fn stride(&self) -> usize {
        (self.def.value_size as usize).next_multiple_of(8)
    }

    /// The values under a key, as user space reads them.
    pub(super) fn whole_value(&self, entry: u32) -> Vec<u8> {
        if !self.def.kind.is_per_cpu() {
            return self.value(entry).unwrap_or_default().to_vec();
        }
        let mut whole = Vec::new();
        for cpu in 0..self.cpus {
            whole.extend_from_slice(self.value(entry * self.cpus + cpu).unwrap_or_default());
            whole.resize(self.stride() * (cpu as usize + 1), 0);
        }
        whole
    }

    /// Sets the value under `key`: that of one CPU, like programs, or of all, like user space.
    pub(crate) fn update(
        &mut self,
        key: &[u8],
        value: &[u8],
        flags: u64,
        cpu: Option<u32>,
    ) -> Result<(), MapError> {
        let size = self.def.value_size as usize;
        let wanted = match cpu {
            None if self.def.kind.is_per_cpu() => self.stride() * self.cpus as usize,
            _ => size,
        };
        if key.len() != self.def.key_size as usize || value.len() != wanted {
            return Err(MapError::Invalid);
        }
        let index = self.index(key);
        let adds = match &self.storage {
            Storage::Hash(hash) => hash.adds(key),
            Storage::Trie(trie) => trie.adds(key),
            _ => false,
        };
        self.make_room(if adds { self.entry_bytes() } else { 0 })?;
        let entry = self.entry_for(key, index, flags);
        let lock = self.lock.offset().map(|at| at as usize..(at + LOCK_BYTES) as usize);
        self.adjust_memory()?;
        let entry = entry?;
        let values: Vec<(u32, &[u8])> = match cpu {
            Some(cpu) if self.cpus > 1 => vec![(cpu, value)],
            _ => value.chunks(wanted / self.cpus as usize).zip(0..).map(|(part, cpu)| (cpu, part)).collect(),
        };
        for (cpu, part) in values {
            let Some(place) = self.value_mut(entry * self.cpus + cpu) else { continue };
            place.copy_from_slice(&part[..size]);
            if let Some(lock) = lock.clone() {
                place[lock].fill(0);
            }
        }
        Ok(())
    }

    /// The entry under `key` that an update writes to.
    fn entry_for(&mut self, key: &[u8], index: Option<u32>, flags: u64) -> Result<u32, MapError> {
        Ok(match &mut self.storage {
            Storage::Array(_) => {
                let how = flags & !LOCK;
                if how > EXIST {
                    return Err(MapError::Invalid);
                }
                let index = index.ok_or(MapError::TooBig)?;
                if how == NOEXIST {
                    return Err(MapError::Exists);
                }
                if flags & LOCK != 0 && self.lock.offset().is_none() {
                    return Err(MapError::Invalid);
                }
                index
            }
            Storage::Hash(hash) if flags & LOCK != 0 && self.lock.offset().is_some() => {
                hash.entry_in_place(key, flags & !LOCK)?
            }
            Storage::Hash(hash) => hash.entry(key, flags)?,
            Storage::Trie(trie) => trie.entry(key, flags)?,
            // Entries are created by attaching, and can only be changed.
            Storage::Local(_) if flags & !(EXIST | LOCK) != ANY => return Err(MapError::Invalid),
            Storage::Local(_) if flags & LOCK != 0 && self.lock.offset().is_none() => {
                return Err(MapError::Invalid);
            }
            Storage::Local(hash) => hash.find(key).ok_or(MapError::NoEntry)?,
            _ => return Err(MapError::Invalid),
        })
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<(), MapError> {
        if key.len() != self.def.key_size as usize {
            return Err(MapError::Invalid);
        }
        match &mut self.storage {
            Storage::Hash(hash) => hash.delete(key),
            Storage::Trie(trie) => trie.delete(key),
            Storage::Maps(maps) => maps.remove(key),
            _ => Err(MapError::Invalid),
        }
    }

    /// The key after `key`, or the first one, and its entry.
    pub(crate) fn next_entry(&self, key: Option<&[u8]>) -> Option<(Vec<u8>, u32)> {
        match &self.storage {
            Storage::Array(_) => {
                let index = match key {
                    Some(key) => self.index(key)?.checked_add(1)?,
                    None => 0,
                };
                (index < self.def.max_entries).then(|| (index.to_le_bytes().to_vec(), index))
            }
            Storage::Hash(hash) | Storage::Local(hash) => hash.next(key),
            _ => None,
        }
    }

    /// All entries, in the order that [`Map::entries`](super::Map::entries) says.
    pub(super) fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        match &self.storage {
            Storage::Queue(queue) => queue.values().into_iter().map(|value| (Vec::new(), value)).collect(),
            Storage::Trie(trie) => {
                trie.entries().map(|(key, entry)| (key.to_vec(), self.whole_value(entry))).collect()
            }
            _ => {
                let mut entries = Vec::new();
                let mut next = self.next_entry(None);
                while let Some((key, entry)) = next {
                    entries.push((key.clone(), self.whole_value(entry)));
                    next = self.next_entry(Some(&key));
                }
                entries
            }
        }
    }
}
