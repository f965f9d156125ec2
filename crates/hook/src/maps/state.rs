//! The state of a map.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use knobgate_bpf::uapi::{BPF_CGROUP_SYSCTL, BPF_F_RDONLY_PROG};
use knobgate_bpf::{MapDef, MapKind};

use super::Map;
use super::error::{ANY, EXIST, LOCK, MapError, NOEXIST, NotModelled};
use super::hash::Hash;
use super::inner_maps::InnerMaps;
use super::memory::{MapMemory, Share};
use super::queue::Queue;
use super::ring::Ring;
use super::trie::Trie;
use super::values::Values;

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
    /// The offset of the `bpf_spin_lock` in values. It is 0 between the instructions of a program.
    lock: Option<usize>,
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

/// Bytes of a `struct bpf_spin_lock`.
const LOCK_BYTES: usize = 4;

impl MapState {
    /// A map as `def` describes it, without its contents, on a machine with `cpus` processors.
    pub(super) fn new(def: &MapDef, cpus: u32, memory: &MapMemory) -> Result<Self, MapError> {
        let def = created(def, cpus);
        check_modelled(&def)?;
        let lock = lock_of(&def)?;
        if !sizes_fit(&def) {
            return Err(MapError::Invalid);
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
            MapKind::ArrayOfMaps | MapKind::HashOfMaps => Storage::Maps(InnerMaps::new(&def)?),
            kind => return Err(NotModelled::Kind(kind.name()).into()),
        };
        let mut state = Self { def: Arc::new(def), cpus, storage, share, lock };
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
        let lock = self.lock;
        self.adjust_memory()?;
        let entry = entry?;
        let values: Vec<(u32, &[u8])> = match cpu {
            Some(cpu) if self.cpus > 1 => vec![(cpu, value)],
            _ => value.chunks(wanted / self.cpus as usize).zip(0..).map(|(part, cpu)| (cpu, part)).collect(),
        };
        for (cpu, part) in values {
            let Some(place) = self.value_mut(entry * self.cpus + cpu) else { continue };
            place.copy_from_slice(&part[..size]);
            if let Some(at) = lock {
                place[at..at + LOCK_BYTES].fill(0);
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
                if flags & LOCK != 0 && self.lock.is_none() {
                    return Err(MapError::Invalid);
                }
                index
            }
            Storage::Hash(hash) if flags & LOCK != 0 && self.lock.is_some() => {
                hash.entry_in_place(key, flags & !LOCK)?
            }
            Storage::Hash(hash) => hash.entry(key, flags)?,
            Storage::Trie(trie) => trie.entry(key, flags)?,
            // Entries are created by attaching, and can only be changed.
            Storage::Local(_) if flags & !(EXIST | LOCK) != ANY => return Err(MapError::Invalid),
            Storage::Local(_) if flags & LOCK != 0 && self.lock.is_none() => return Err(MapError::Invalid),
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

    /// The map under `key`.
    pub(crate) fn inner_map(&self, key: &[u8]) -> Option<Map> {
        if let Storage::Maps(maps) = &self.storage { maps.get(key) } else { None }
    }

    pub(super) fn put_map(&mut self, key: &[u8], map: &Map) -> Result<(), MapError> {
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

    pub(super) fn drain_records(&mut self) -> Vec<Vec<u8>> {
        let records = match &mut self.storage {
            Storage::Ring(ring) => ring.drain(),
            _ => Vec::new(),
        };
        self.give_back();
        records
    }

    pub(super) fn drain_events(&mut self) -> Vec<(u32, Vec<u8>)> {
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

    pub(super) fn set_cgroup(&mut self, index: u32, cgroup: Option<u64>) -> Result<(), MapError> {
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

/// The largest map, in bytes.
pub(super) const MEMORY_MAX: u64 = 1 << 30;

/// `KMALLOC_MAX_SIZE`: the largest entry of a map, except in arrays.
const ENTRY_MAX: u64 = 4 << 20;

/// Checks the memory that a map takes from the start. The memory of added entries is checked when they are added.
fn check_memory(def: &MapDef, cpus: u32) -> Result<(), MapError> {
    let entry = u64::from(def.key_size) + u64::from(def.value_size) * u64::from(cpus);
    if !is_whole_from_the_start(def.kind) && entry > ENTRY_MAX {
        return Err(MapError::TooBig);
    }
    if from_the_start(def, cpus) > MEMORY_MAX { Err(MapError::NoMemory) } else { Ok(()) }
}

fn is_whole_from_the_start(kind: MapKind) -> bool {
    matches!(
        kind,
        MapKind::Array
            | MapKind::PercpuArray
            | MapKind::ProgArray
            | MapKind::CgroupArray
            | MapKind::ArrayOfMaps
    )
}

/// The map that a loader creates for a definition, without contents: an array of perf events has an entry for each processor,
/// unless it says how many.
pub(crate) fn created(def: &MapDef, cpus: u32) -> MapDef {
    let max_entries = match (def.kind, def.max_entries) {
        (MapKind::PerfEventArray, 0) => cpus,
        (_, max_entries) => max_entries,
    };
    MapDef { max_entries, contents: Vec::new(), ..def.clone() }
}

/// The memory of a map in another one, without its contents.
fn inner_map_bytes(def: &MapDef) -> u64 {
    let of_key = u64::from(def.key_size) + MapMemory::ENTRY;
    size_of::<Option<Map>>() as u64 + if def.kind == MapKind::HashOfMaps { of_key } else { 0 }
}

/// Checks that the kernel accepts the flags of the map, and that the model has all that it has.
fn check_modelled(def: &MapDef) -> Result<(), MapError> {
    const BPF_F_NO_COMMON_LRU: u32 = 1 << 1;
    const BPF_F_NUMA_NODE: u32 = 1 << 2;
    const BPF_F_WRONLY_PROG: u32 = 1 << 8;
    let flags = def.flags | if def.frozen { BPF_F_RDONLY_PROG } else { 0 };
    let invalid = def.kind.invalid_flags(flags);
    if invalid != 0 {
        return Err(MapError::Flags { flags: invalid });
    }
    // An LRU list for each processor is not on one node.
    let contradicting = BPF_F_NO_COMMON_LRU | BPF_F_NUMA_NODE;
    if def.kind == MapKind::LruHash && flags & contradicting == contradicting {
        return Err(MapError::Flags { flags: contradicting });
    }
    // Those that use it are not modelled.
    if def.kind.is_modelled() && def.map_extra != 0 {
        return Err(MapError::Invalid);
    }
    if !def.kind.is_modelled() {
        return Err(NotModelled::Kind(def.kind.name()).into());
    }
    if def.flags & BPF_F_WRONLY_PROG != 0 {
        return Err(NotModelled::Flag("BPF_F_WRONLY_PROG").into());
    }
    Ok(())
}

/// The offset of the `bpf_spin_lock` in values: `map_check_btf` in kernel/bpf/syscall.c.
fn lock_of(def: &MapDef) -> Result<Option<usize>, MapError> {
    let fields = def.btf.as_ref().map(|btf| &btf.special_fields[..]).unwrap_or_default();
    let Some(first) = fields.first() else { return Ok(None) };
    if let Some(other) = fields.iter().find(|field| field.type_name != "bpf_spin_lock") {
        return Err(NotModelled::Field(other.type_name).into());
    }
    let at = first.offset as usize;
    let fits = at.is_multiple_of(LOCK_BYTES) && at + LOCK_BYTES <= def.value_size as usize;
    match def.kind {
        MapKind::Hash | MapKind::Array | MapKind::CgroupStorage if fields.len() > 1 => Err(MapError::TooBig),
        MapKind::Hash | MapKind::Array | MapKind::CgroupStorage if !fits => Err(MapError::Invalid),
        MapKind::Hash | MapKind::Array | MapKind::CgroupStorage => Ok(Some(at)),
        _ => Err(MapError::Field { field: first.type_name }),
    }
}

/// How much memory a map takes before anything is in it, in bytes.
pub(super) fn from_the_start(def: &MapDef, cpus: u32) -> u64 {
    let entry = match def.kind {
        MapKind::Array => u64::from(def.value_size),
        MapKind::PercpuArray => u64::from(def.value_size) * u64::from(cpus),
        MapKind::ProgArray => size_of::<Option<Arc<dyn ArrayProgram>>>() as u64,
        MapKind::CgroupArray => size_of::<Option<u64>>() as u64,
        MapKind::ArrayOfMaps => inner_map_bytes(def),
        _ => 0,
    };
    entry.saturating_mul(def.max_entries.into())
}

/// How many entries fit, in a map that takes memory as entries are added.
fn room(def: &MapDef, cpus: u32) -> usize {
    let entry = u64::from(def.key_size) + u64::from(def.value_size) * u64::from(cpus);
    (MEMORY_MAX / entry.max(1)).min(def.max_entries.into()) as usize
}

/// Whether a map can have these sizes: `map_alloc_check` of each kind.
fn sizes_fit(def: &MapDef) -> bool {
    let MapDef { key_size: key, value_size: value, max_entries: entries, .. } = *def;
    let counted = entries > 0;
    match def.kind {
        MapKind::Ringbuf => key == 0 && value == 0 && entries.is_power_of_two() && entries % 4096 == 0,
        MapKind::Queue | MapKind::Stack => key == 0 && value > 0 && counted,
        MapKind::ArrayOfMaps => key == 4 && value == 4 && counted,
        MapKind::HashOfMaps => key > 0 && value == 4 && counted,
        MapKind::LpmTrie => (5..=260).contains(&key) && value > 0 && counted,
        MapKind::ProgArray | MapKind::PerfEventArray | MapKind::CgroupArray => {
            key == 4 && value == 4 && counted
        }
        MapKind::Array | MapKind::PercpuArray => key == 4 && value > 0 && counted,
        MapKind::CgroupStorage | MapKind::PercpuCgroupStorage => {
            (key == 8 || key == 16) && (1..=4096).contains(&value) && !counted
        }
        _ => key > 0 && value > 0 && counted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(kind: MapKind, value_size: u32, max_entries: u32) -> MapDef {
        let (name, contents) = ("m".to_owned(), Vec::new());
        MapDef {
            name,
            kind,
            key_size: 4,
            value_size,
            max_entries,
            flags: 0,
            contents,
            frozen: false,
            ..MapDef::default()
        }
    }

    #[test]
    fn a_map_has_room_for_a_gib() {
        assert_eq!(from_the_start(&map(MapKind::PercpuArray, 1 << 20, 100), 64), 6400 << 20);
        assert_eq!(from_the_start(&map(MapKind::Hash, 1 << 20, 100), 64), 0);
        assert_eq!(room(&map(MapKind::Hash, 1 << 20, 100), 1), 100);
        assert_eq!(room(&map(MapKind::Hash, 1 << 20, u32::MAX), 1), 1023);
        assert_eq!(room(&map(MapKind::PercpuHash, 1 << 20, u32::MAX), 64), 15);
    }
}
