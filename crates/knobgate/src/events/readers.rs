//! The places of readers, which programs share.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use knobgate_bpf::MapDef;
use knobgate_compiler::{
    EVENT_ACTIVE_MAP, EVENT_LOST_MAP, EVENT_READERS_MAP, EVENT_READERS_MAX, event_reader_maps,
};
use knobgate_kernel::{BpfObjectError, LoadError, LoadedProgram, Map, PinDir, ProgramFd, create_map};

use super::reader::EventReaderError;
use crate::attachment_error::AttachmentError;

/// The places for readers of events. A program gives its events to the reader in each of them, and counts what it lost.
///
/// Where there is a bpffs, they are pinned there, and all programs share them. Otherwise each program has its own.
#[derive(Debug)]
pub struct EventReaders {
    rings: Map,
    lost: Map,
    active: Map,
    /// Where they are pinned, if programs share them.
    pins: Option<PinDir>,
}

/// The directory of the shared places among the attachments. Whoever has its lock changes the places. In it is a directory for each
/// place, whose lock says that its reader lives: these locks are the same in all mount namespaces in which the pins are.
const DIRECTORY: &str = "_readers";

impl EventReaders {
    /// The shared ones; `None` if there are none yet.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Directory`].
    pub(crate) fn pinned(pins: &PinDir) -> Result<Option<Self>, AttachmentError> {
        let pinned = Self::from_maps(|name| pins.map(&pin(name)))?.filter(Self::is_sound);
        pinned.map(|readers| Ok(Self { pins: Some(pins.try_clone()?), ..readers })).transpose()
    }

    /// Those of all programs of policies.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::NotPermitted`], [`Failed`](BpfObjectError::Failed).
    pub fn of_all_programs() -> Result<Vec<Self>, BpfObjectError> {
        let mut all: Vec<Self> = Vec::new();
        for id in ProgramFd::all_ids()? {
            // It may be gone by now.
            let Ok(program) = ProgramFd::by_id(id) else { continue };
            if !program.info().is_ok_and(|info| info.is_for_sysctl()) {
                continue;
            }
            let Ok(maps) = program.maps() else { continue };
            all.extend(
                Self::among(&maps)?.filter(|readers| all.iter().all(|known| known.id() != readers.id())),
            );
        }
        Ok(all)
    }

    /// Those of a program with these maps.
    pub(crate) fn among(maps: &[Map]) -> Result<Option<Self>, BpfObjectError> {
        let map =
            |name: &str| maps.iter().find(|map| map.info().name == name).map(Map::try_clone).transpose();
        Ok(Self::from_maps(map)?.filter(Self::is_sound))
    }

    /// The id of the map with the ring buffers.
    pub(crate) fn id(&self) -> u32 {
        self.rings.info().id
    }

    /// Pins these, if none are pinned yet.
    pub(crate) fn pin(&self, pins: &PinDir) -> Result<(), AttachmentError> {
        let _lock = pins.lock(DIRECTORY)?;
        if Self::pinned(pins)?.is_some() {
            return Ok(());
        }
        for map in [&self.rings, &self.lost, &self.active] {
            // Some can be there if a process was killed.
            let name = pin(&map.info().name);
            pins.unpin(&name)?;
            pins.pin_map(&name, map)?;
        }
        Ok(())
    }

    /// The shared ones, which are made if there are none.
    pub(crate) fn create(pins: &PinDir) -> Result<Option<Self>, AttachmentError> {
        if let Some(readers) = Self::pinned(pins)? {
            return Ok(Some(readers));
        }
        // Where maps cannot be made, loading the program fails for the same reason, with a better message.
        let made = event_reader_maps().map(|def| create_map(&def.name, &def));
        let [Ok(rings), Ok(lost), Ok(active)] = made else { return Ok(None) };
        Self { rings, lost, active, pins: None }.pin(pins)?;
        Self::pinned(pins)
    }

    /// Places that other processes do not find, since their maps have other names. So nobody else reads there, and nobody who has
    /// another `/run/knobgate` takes them for free.
    pub(crate) fn private() -> Result<Self, LoadError> {
        let create = |def: MapDef| {
            let name = def.name.replace("event_", "own_");
            create_map("observer", &MapDef { name, ..def })
        };
        let [rings, lost, active] = event_reader_maps().map(create);
        Ok(Self { rings: rings?, lost: lost?, active: active?, pins: None })
    }

    /// Those of a program.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`].
    pub fn of(loaded: &LoadedProgram) -> Result<Option<Self>, BpfObjectError> {
        Self::from_maps(|name| loaded.map(name).map(Map::try_clone).transpose())
    }

    pub(super) fn from_maps<E>(map: impl Fn(&str) -> Result<Option<Map>, E>) -> Result<Option<Self>, E> {
        let (Some(rings), Some(lost), Some(active)) =
            (map(EVENT_READERS_MAP)?, map(EVENT_LOST_MAP)?, map(EVENT_ACTIVE_MAP)?)
        else {
            return Ok(None);
        };
        Ok(Some(Self { rings, lost, active, pins: None }))
    }

    /// Whether these are what programs expect.
    fn is_sound(&self) -> bool {
        self.rings.info().max_entries == EVENT_READERS_MAX
            && self.lost.info().value_size == 8 * EVENT_READERS_MAX
            && self.active.info().value_size == 8
    }

    /// Whether programs share them.
    pub(crate) fn are_shared(&self) -> bool {
        self.pins.is_some()
    }

    /// The map of this name, if it is one of these.
    pub(crate) fn map(&self, name: &str) -> Option<&Map> {
        match name {
            EVENT_READERS_MAP => Some(&self.rings),
            EVENT_LOST_MAP => Some(&self.lost),
            EVENT_ACTIVE_MAP => Some(&self.active),
            _ => None,
        }
    }

    /// Puts a ring buffer into a free place, and returns that; `None` if all are taken. In shared places, those of readers that have
    /// ended without freeing theirs are free. Others are taken as long as something is there.
    pub(crate) fn take(&self, ring: &Map) -> Result<Option<TakenPlace>, EventReaderError> {
        let Some(pins) = &self.pins else {
            for place in 0..EVENT_READERS_MAX {
                if self.rings.lookup(&place.to_ne_bytes())?.is_none() {
                    return self.fill(place, ring, None).map(Some);
                }
            }
            return Ok(None);
        };
        let _places = pins.lock(DIRECTORY)?;
        for place in 0..EVENT_READERS_MAX {
            if let Some(lock) = pins.try_lock(&format!("{DIRECTORY}/{place}"))? {
                return self.fill(place, ring, Some(lock)).map(Some);
            }
        }
        Ok(None)
    }

    fn fill(&self, place: u32, ring: &Map, lock: Option<OwnedFd>) -> Result<TakenPlace, EventReaderError> {
        let lost_before = self.lost(place)?;
        self.rings.update(&place.to_ne_bytes(), &ring.as_fd().as_raw_fd().to_ne_bytes())?;
        self.set_active(|active| active | 1 << place)?;
        Ok(TakenPlace { place, ring: ring.info().id, lost_before, _lock: lock })
    }

    /// Frees a place, unless that was done before: another reader may have it by now.
    pub(crate) fn free(&self, taken: &TakenPlace) -> Result<(), EventReaderError> {
        let _places = self.pins.as_ref().map(|pins| pins.lock(DIRECTORY)).transpose()?;
        // What is read of a map of maps is the id of a map.
        if self.rings.lookup(&taken.place.to_ne_bytes())?.as_deref() != Some(&taken.ring.to_ne_bytes()) {
            return Ok(());
        }
        self.set_active(|active| active & !(1 << taken.place))?;
        Ok(self.rings.delete(&taken.place.to_ne_bytes()).map(drop)?)
    }

    /// How many events the reader in this place has lost.
    pub(crate) fn lost_in(&self, taken: &TakenPlace) -> Result<u64, BpfObjectError> {
        Ok(self.lost(taken.place)?.saturating_sub(taken.lost_before))
    }

    fn set_active(&self, change: impl Fn(u64) -> u64) -> Result<(), BpfObjectError> {
        let key = 0u32.to_ne_bytes();
        let value = self.active.lookup(&key)?.unwrap_or_default();
        let active = value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        self.active.update(&key, &change(active).to_le_bytes())
    }

    /// How many events the reader in this place has lost since the places were made.
    fn lost(&self, place: u32) -> Result<u64, BpfObjectError> {
        let value = self.lost.lookup(&0u32.to_ne_bytes())?.unwrap_or_default();
        let (numbers, _) = value.as_chunks();
        Ok(numbers.get(place as usize).copied().map_or(0, u64::from_le_bytes))
    }
}

/// A place that a reader has.
#[derive(Debug)]
pub(crate) struct TakenPlace {
    place: u32,
    /// The id of the reader's ring buffer.
    ring: u32,
    /// How many events had been lost there before.
    lost_before: u64,
    /// Says that the reader lives.
    _lock: Option<OwnedFd>,
}

/// The pin of a shared map.
fn pin(name: &str) -> String {
    format!("{DIRECTORY}/{name}")
}

impl From<LoadError> for AttachmentError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}
