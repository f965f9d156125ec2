//! The places of readers, which programs share.

use knobgate_bpf::MapDef;
use knobgate_compiler::{EVENT_LOST_MAP, EVENT_READERS_MAP, EVENT_READERS_MAX};
use knobgate_kernel::{BpfObjectError, BpffsError, LoadError, LoadedProgram, Map, PinDir, create_map};

use crate::attachment_error::AttachmentError;

/// The places for readers of events. A program gives its events to the reader in each of them, and counts what it lost.
///
/// Where there is a bpffs, they are pinned there, and all programs share them. Otherwise each program has its own.
#[derive(Debug)]
pub struct EventReaders {
    rings: Map,
    lost: Map,
}

impl EventReaders {
    /// The shared ones; `None` if there are none yet.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Directory`].
    pub(crate) fn pinned(pins: &PinDir) -> Result<Option<Self>, AttachmentError> {
        let (rings, lost) = (pins.map(EVENT_READERS_MAP)?, pins.map(EVENT_LOST_MAP)?);
        Ok(rings.zip(lost).map(|(rings, lost)| Self { rings, lost }).filter(Self::is_sound))
    }

    /// The shared ones, which are made if there are none.
    pub(crate) fn create(pins: &PinDir, defs: &[MapDef]) -> Result<Option<Self>, AttachmentError> {
        if let Some(readers) = Self::pinned(pins)? {
            return Ok(Some(readers));
        }
        for name in [EVENT_READERS_MAP, EVENT_LOST_MAP] {
            let Some(def) = defs.iter().find(|def| def.name == name) else { return Ok(None) };
            // Where maps cannot be made, loading the program fails for the same reason, with a better message.
            let Ok(map) = create_map(name, def) else { return Ok(None) };
            // Somebody may have pinned another one in the meantime, which is as good.
            pins.pin_map(name, &map)?;
        }
        Self::pinned(pins)
    }

    /// Those of a program.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`].
    pub fn of(loaded: &LoadedProgram) -> Result<Option<Self>, BpfObjectError> {
        let map = |name: &str| loaded.map(name).map(Map::try_clone).transpose();
        let (rings, lost) = (map(EVENT_READERS_MAP)?, map(EVENT_LOST_MAP)?);
        Ok(rings.zip(lost).map(|(rings, lost)| Self { rings, lost }))
    }

    /// Whether these are what programs expect.
    fn is_sound(&self) -> bool {
        self.rings.info().max_entries == EVENT_READERS_MAX
            && self.lost.info().value_size == 8 * EVENT_READERS_MAX
    }

    /// The map of this definition, if it is one of these.
    pub(crate) fn map(&self, def: &MapDef) -> Result<Option<Map>, BpfObjectError> {
        let map = match &*def.name {
            EVENT_READERS_MAP => &self.rings,
            EVENT_LOST_MAP => &self.lost,
            _ => return Ok(None),
        };
        map.try_clone().map(Some)
    }

    pub(crate) fn rings(&self) -> &Map {
        &self.rings
    }

    /// How many events the reader in this place has lost since the places were made.
    pub(crate) fn lost(&self, place: u32) -> Result<u64, BpfObjectError> {
        let value = self.lost.lookup(&0u32.to_ne_bytes())?.unwrap_or_default();
        let (numbers, _) = value.as_chunks();
        Ok(numbers.get(place as usize).copied().map_or(0, u64::from_le_bytes))
    }
}

impl From<LoadError> for AttachmentError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

const _: fn(BpffsError) -> AttachmentError = AttachmentError::Directory;
