//! Maps: the storage that programs keep between runs and share with each other and with user space.
//!
//! A [`Map`] is a handle: its clones are the same map. Programs share a map if they are loaded with the same handle, and
//! tests can read it. Flags and errors are those of the kernel: kernel/bpf/arraymap.c, hashtab.c, lpm_trie.c,
//! queue_stack_maps.c, ringbuf.c, local_storage.c, map_in_map.c.
//!
//! Two things are simpler than in the kernel. Hash maps order their entries by key, while the kernel's order is random. And
//! LRU maps evict the least recently used entry, while the kernel gives each CPU a share of the map, and so may evict other
//! entries, and earlier.

mod definition;
mod error;
mod hash;
mod inner_maps;
mod memory;
mod queue;
mod ring;
mod state;
mod trie;
mod typed;
mod values;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use knobgate_bpf::MapDef;

pub use error::{ANY, EXIST, LOCK, MapError, NOEXIST, NotModelled};
pub use memory::MapMemory;
pub use typed::{FromBytes, ToBytes};

use crate::{CgroupId, Profile};
pub(crate) use definition::{LOCK_BYTES, LOCK_TYPE, MapLock};
pub(crate) use state::{ArrayProgram, MapState};

/// A map. Clones are the same map.
#[derive(Debug, Clone)]
pub struct Map(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    def: Arc<MapDef>,
    /// The lock in values, and that in the values of maps in this one.
    locks: (MapLock, Option<MapLock>),
    state: Mutex<MapState>,
}

impl Map {
    /// A map as `def` describes it, with its contents, on a machine with one CPU.
    ///
    /// # Errors
    ///
    /// [`MapError::Sizes`] if the sizes are invalid for this kind of map; and the errors of adding its contents.
    pub fn new(def: &MapDef) -> Result<Self, MapError> {
        Self::with_cpus(def, 1)
    }

    /// The same on a machine with `cpus` CPUs, at least one. Per-CPU kinds have a value for each CPU under every key.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_cpus(def: &MapDef, cpus: u32) -> Result<Self, MapError> {
        Self::for_kernel(def, &Profile::default(), cpus)
    }

    /// The same for the kernel of a profile: not all find a lock at the same places in values.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn for_kernel(def: &MapDef, profile: &Profile, cpus: u32) -> Result<Self, MapError> {
        Self::within(def, profile, cpus, &MapMemory::new(definition::MEMORY_MAX))
    }

    /// The same, for one of several maps that share a memory limit. A program that exceeds it is stopped, while a kernel
    /// would have memory.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`MapError::Together`].
    pub fn within(def: &MapDef, profile: &Profile, cpus: u32, memory: &MapMemory) -> Result<Self, MapError> {
        let mut state = MapState::new(def, profile, cpus.max(1), memory)?;
        for (key, value) in &def.contents {
            state.update(key, value, ANY, None)?;
        }
        Ok(Self(Arc::new(Shared {
            def: state.def().clone(),
            locks: state.locks(),
            state: Mutex::new(state),
        })))
    }

    /// The definition of the map that is created for `def` on a machine with `cpus` CPUs.
    pub(crate) fn created(def: &MapDef, cpus: u32) -> MapDef {
        definition::created(def, cpus.max(1))
    }

    /// How many bytes an empty map takes on a machine with `cpus` CPUs. No map takes more than a GiB, including its
    /// contents.
    pub fn memory(def: &MapDef, cpus: u32) -> u64 {
        definition::from_the_start(def, cpus)
    }

    /// The definition of the map, without contents.
    #[inline]
    pub fn def(&self) -> &MapDef {
        &self.0.def
    }

    /// The value under `key`: `BPF_MAP_LOOKUP_ELEM`. Of a trie, the one of the longest prefix; of a per-CPU kind, the
    /// values of all CPUs one after another, each padded to a multiple of eight bytes.
    pub fn lookup(&self, key: &[u8]) -> Option<Vec<u8>> {
        let state = self.state();
        state.find(key).map(|entry| state.whole_value(entry))
    }

    /// Sets the value under `key`, which is as [`lookup`](Self::lookup) returns it: `BPF_MAP_UPDATE_ELEM`, with [`ANY`],
    /// [`NOEXIST`] or [`EXIST`], and also [`LOCK`] if values have a `bpf_spin_lock`, which stays as it is.
    ///
    /// # Errors
    ///
    /// As the kernel's.
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), MapError> {
        if self.def().frozen { Err(MapError::Frozen) } else { self.state().update(key, value, flags, None) }
    }

    /// Removes the entry under `key`: `BPF_MAP_DELETE_ELEM`.
    ///
    /// # Errors
    ///
    /// As the kernel's; entries of arrays cannot be removed.
    pub fn delete(&self, key: &[u8]) -> Result<(), MapError> {
        if self.def().frozen { Err(MapError::Frozen) } else { self.state().delete(key) }
    }

    /// All entries in the order of their keys: by index, or by bytes. Those of a queue or a stack have no keys and are
    /// in the order in which they come out.
    pub fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.state().entries()
    }

    /// Consumes the records of a ring buffer like its reader: all submitted ones, up to the first that is not. Other maps
    /// have none.
    pub fn drain_records(&self) -> Vec<Vec<u8>> {
        self.state().drain_records()
    }

    /// Consumes the events that `bpf_perf_event_output` has sent, each with its index. Every index has a reader.
    pub fn drain_events(&self) -> Vec<(u32, Vec<u8>)> {
        self.state().drain_events()
    }

    /// Puts a cgroup into a cgroup array, for `bpf_current_task_under_cgroup`, or removes it.
    ///
    /// # Errors
    ///
    /// [`MapError::TooBig`] beyond the end, [`MapError::Invalid`] for another kind of map.
    pub fn set_cgroup(&self, index: u32, cgroup: Option<CgroupId>) -> Result<(), MapError> {
        self.state().set_cgroup(index, cgroup.map(CgroupId::number))
    }

    /// Puts a map into this array or hash of maps, or another one in its place: `BPF_MAP_UPDATE_ELEM` with a descriptor.
    /// [`delete`](Self::delete) removes it.
    ///
    /// ```
    /// use knobgate_hook::prelude::*;
    ///
    /// let mut hook = Hook::default();
    /// let nested = hook.attach_object(hook.root(), include_bytes!("../../../examples/objects/nested.bpf.o"))?;
    /// let (by_kind, writes) = (nested.map("by_kind")?, nested.map("writes")?);
    /// let other = Map::new(writes.def())?;
    /// by_kind.put_map(&1_u32.to_le_bytes(), &other)?;
    ///
    /// let process = hook.spawn(hook.root(), Process::default())?;
    /// hook.write_sysctl(process, "kernel.domainname", "one")?;
    /// assert_eq!(writes.get(1_u32)?, Some(0_u64));
    /// assert_eq!(other.get(1_u32)?, Some(1_u64));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`MapError::Invalid`] for another kind of map, or a map that is not like those that may be in it. [`MapError::TooBig`]
    /// beyond the end, or if the hash is full.
    pub fn put_map(&self, key: &[u8], map: &Self) -> Result<(), MapError> {
        self.state().put_map(key, map)
    }

    /// The map under `key` of this array or hash of maps. Other maps have none.
    pub fn inner_map(&self, key: &[u8]) -> Option<Self> {
        self.state().inner_map(key)
    }

    /// The lock in values, and that in the values of maps in this one.
    pub(crate) fn locks(&self) -> (MapLock, Option<MapLock>) {
        self.0.locks
    }

    /// Whether both are the same map.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The state. The lock must not outlive the instruction of a program that uses it.
    #[inline]
    pub(crate) fn state(&self) -> MutexGuard<'_, MapState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
