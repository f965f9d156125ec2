//! The places of readers, which programs share.

use std::os::fd::{AsRawFd, BorrowedFd};

use knobgate_bpf::MapDef;
use knobgate_compiler::{
    EVENT_ACTIVE_MAP, EVENT_LOST_MAP, EVENT_READERS_MAP, EVENT_READERS_MAX, event_reader_maps,
};
use knobgate_kernel::{BpfObjectError, LoadError, LoadedProgram, Map, PinDir, ProgramFd, create_map};

use crate::attachment_error::AttachmentError;

/// The places for readers of events. A program gives its events to the reader in each of them, and counts what it lost.
///
/// Where there is a bpffs, they are pinned there, and all programs share them. Otherwise each program has its own.
#[derive(Debug)]
pub struct EventReaders {
    rings: Map,
    lost: Map,
    active: Map,
    /// Whether all programs share them.
    are_shared: bool,
}

impl EventReaders {
    /// The shared ones; `None` if there are none yet.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Directory`].
    pub(crate) fn pinned(pins: &PinDir) -> Result<Option<Self>, AttachmentError> {
        let pinned = Self::from_maps(|name| pins.map(name))?.filter(Self::is_sound);
        Ok(pinned.map(|readers| Self { are_shared: true, ..readers }))
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
            let map = |name: &str| {
                let map = maps.iter().find(|map| map.info().name == name);
                map.map(Map::try_clone).transpose()
            };
            let readers = Self::from_maps(map)?.filter(Self::is_sound);
            all.extend(readers.filter(|readers| all.iter().all(|known| known.id() != readers.id())));
        }
        Ok(all)
    }

    /// The id of the map with the ring buffers.
    pub(crate) fn id(&self) -> u32 {
        self.rings.info().id
    }

    /// Pins these, if none are pinned yet.
    pub(crate) fn pin(&self, pins: &PinDir) -> Result<(), AttachmentError> {
        for map in [&self.rings, &self.lost, &self.active] {
            pins.pin_map(&map.info().name, map)?;
        }
        Ok(())
    }

    /// The shared ones, which are made if there are none.
    pub(crate) fn create(pins: &PinDir) -> Result<Option<Self>, AttachmentError> {
        if let Some(readers) = Self::pinned(pins)? {
            return Ok(Some(readers));
        }
        for def in event_reader_maps() {
            // Where maps cannot be made, loading the program fails for the same reason, with a better message.
            let Ok(map) = create_map(&def.name, &def) else { return Ok(None) };
            // Somebody may have pinned another one in the meantime, which is as good.
            pins.pin_map(&def.name, &map)?;
        }
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
        Ok(Self { rings: rings?, lost: lost?, active: active?, are_shared: false })
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
        Ok(Some(Self { rings, lost, active, are_shared: false }))
    }

    /// Whether these are what programs expect.
    fn is_sound(&self) -> bool {
        self.rings.info().max_entries == EVENT_READERS_MAX
            && self.lost.info().value_size == 8 * EVENT_READERS_MAX
            && self.active.info().value_size == 8
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

    /// Puts a ring buffer into a place. The caller has its lock and that of all places. In places that are not shared, whoever is there
    /// stays, which is `false`: the locks of its process may be others, in another mount namespace.
    pub(crate) fn fill(&self, place: u32, ring: BorrowedFd<'_>) -> Result<bool, BpfObjectError> {
        if !self.are_shared && self.rings.lookup(&place.to_ne_bytes())?.is_some() {
            return Ok(false);
        }
        self.rings.update(&place.to_ne_bytes(), &ring.as_raw_fd().to_ne_bytes())?;
        self.set_active(|active| active | 1 << place)?;
        Ok(true)
    }

    /// Frees a place whose reader has ended without doing so. The caller has its lock and that of all places.
    pub(crate) fn free_dead(&self, place: u32) -> Result<(), BpfObjectError> {
        if self.are_shared { self.free(place) } else { Ok(()) }
    }

    /// Frees a place. The caller has the lock of all places.
    pub(crate) fn free(&self, place: u32) -> Result<(), BpfObjectError> {
        self.set_active(|active| active & !(1 << place))?;
        self.rings.delete(&place.to_ne_bytes()).map(drop)
    }

    fn set_active(&self, change: impl Fn(u64) -> u64) -> Result<(), BpfObjectError> {
        let key = 0u32.to_ne_bytes();
        let value = self.active.lookup(&key)?.unwrap_or_default();
        let active = value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        self.active.update(&key, &change(active).to_le_bytes())
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
