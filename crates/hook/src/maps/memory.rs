//! The memory limit of maps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::MapError;

/// A memory limit for all maps that are created [within](super::Map::within) it. Clones are the same limit.
///
/// It counts keys and values (per-CPU maps have a value for each CPU), and [`MapMemory::ENTRY`] bytes for each entry that
/// is added. Arrays count from the start, other maps as entries are added.
#[derive(Debug, Clone)]
pub struct MapMemory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: u64,
    taken: AtomicU64,
}

impl MapMemory {
    /// What an entry counts in addition to its key and value, except in arrays.
    pub const ENTRY: u64 = 64;

    /// A limit of this many bytes.
    pub fn new(most: u64) -> Self {
        Self(Arc::new(Shared { most, taken: AtomicU64::new(0) }))
    }

    /// How many bytes are in use.
    pub fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// The limit, in bytes.
    pub fn most(&self) -> u64 {
        self.0.most
    }
}

/// The memory of one map, which is released when the map is dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: MapMemory,
    taken: u64,
}

impl Share {
    pub(super) fn new(memory: &MapMemory) -> Self {
        Self { memory: memory.clone(), taken: 0 }
    }

    /// Sets it to `bytes`, if the limit allows that.
    pub(super) fn set(&mut self, bytes: u64) -> Result<(), MapError> {
        let Shared { most, taken } = &*self.memory.0;
        let (most, had) = (*most, self.taken);
        if bytes == had {
            return Ok(());
        }
        let change = |all: u64| Some(all - had + bytes).filter(|&all| bytes <= had || all <= most);
        match taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change) {
            Ok(_) => {
                self.taken = bytes;
                Ok(())
            }
            Err(_) => Err(MapError::Together { most }),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.0.taken.fetch_sub(self.taken, Ordering::Relaxed);
    }
}
