//! How much memory maps may take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::MapError;

/// Memory for maps, with a limit for all that are made [within](super::Map::within) it. Clones are the same memory.
///
/// What counts are keys and values, of per-CPU maps one value for each CPU, and [`MapMemory::ENTRY`] bytes for each entry that
/// is added: of arrays from the start, of other maps as their entries are added.
#[derive(Debug, Clone)]
pub struct MapMemory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: u64,
    taken: AtomicU64,
}

impl MapMemory {
    /// What an entry counts besides its key and value, of maps other than arrays.
    pub const ENTRY: u64 = 64;

    /// For maps that take so many bytes together.
    pub fn new(most: u64) -> Self {
        Self(Arc::new(Shared { most, taken: AtomicU64::new(0) }))
    }

    /// How many bytes are taken.
    pub fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// How many bytes there are.
    pub fn most(&self) -> u64 {
        self.0.most
    }
}

/// What one map takes, which it gives back in the end.
#[derive(Debug)]
pub(super) struct Share {
    memory: MapMemory,
    taken: u64,
}

impl Share {
    pub(super) fn new(memory: &MapMemory) -> Self {
        Self { memory: memory.clone(), taken: 0 }
    }

    /// Makes it `bytes`, if there is room for so much.
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
