//! How much memory of the kernel a policy takes.

use std::collections::BTreeMap;

use knobgate_compiler::{EVENT_ACTIVE_MAP, EVENT_LOST_MAP, EVENT_READERS_MAP};
use knobgate_kernel::{BpfObjectError, Map, ProgramFd};

use crate::attachment_state::AttachmentState;

/// The maps that all programs of policies share.
const SHARED: [&str; 3] = [EVENT_READERS_MAP, EVENT_LOST_MAP, EVENT_ACTIVE_MAP];

/// The memory of the kernel that programs and their maps take, without the maps that the programs of all policies share. It does not
/// matter on how many cgroups a program is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BpfMemory {
    /// Bytes, by the ids of the programs.
    programs: BTreeMap<u32, u64>,
    /// Bytes, by the ids of the maps.
    maps: BTreeMap<u32, u64>,
}

impl BpfMemory {
    /// That of a program and its maps.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::NotPermitted`], [`Failed`](BpfObjectError::Failed).
    pub fn of(program: &ProgramFd) -> Result<Self, BpfObjectError> {
        Self::with_maps(program, &program.maps()?)
    }

    fn with_maps(program: &ProgramFd, maps: &[Map]) -> Result<Self, BpfObjectError> {
        let mut memory = Self::default();
        memory.programs.insert(program.info()?.id, program.memory()?.unwrap_or_default());
        for map in maps {
            let info = map.info();
            if !SHARED.contains(&&*info.name) {
                memory.maps.insert(info.id, map.memory()?.unwrap_or_default());
            }
        }
        Ok(memory)
    }

    /// Adds that of another program. Maps of both count once: versions of a policy share the memory of their events.
    pub fn add(&mut self, other: &Self) {
        self.programs.extend(&other.programs);
        self.maps.extend(&other.maps);
    }

    /// How many bytes that is.
    pub fn bytes(&self) -> u64 {
        self.programs.values().chain(self.maps.values()).sum()
    }
}

impl AttachmentState {
    /// How much memory of the kernel its program and its maps take.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::NoSuchId`] if it was detached in the meantime, [`Failed`](BpfObjectError::Failed).
    pub fn memory(&self) -> Result<BpfMemory, BpfObjectError> {
        BpfMemory::with_maps(&ProgramFd::by_id(self.program.id)?, &self.maps)
    }
}
