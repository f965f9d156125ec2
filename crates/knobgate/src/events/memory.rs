//! What a policy remembers of its events.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use knobgate_compiler::{
    EVENT_CGROUPS_MAP, EVENT_COUNTERS_MAP, EVENT_OTHERS_MAP, EVENT_PAST_MAP, EVENT_SLOTS_MAP,
    EVENT_STATE_MAP, EVENTS_FIRST_MAP, EVENTS_MAP, EventCounters, MemoryState, PastCounters,
    cgroup_path_in_value, cgroup_path_value, memory_map,
};
use knobgate_events::Event;
use knobgate_events::record::{decode, offset};
use knobgate_kernel::{BpfObjectError, LoadedProgram, Map};

/// The maps that are a memory, which a program takes over from the one that it replaces.
pub(crate) const MEMORY_MAPS: [&str; 7] = [
    EVENT_STATE_MAP,
    EVENT_SLOTS_MAP,
    EVENTS_MAP,
    EVENT_COUNTERS_MAP,
    EVENTS_FIRST_MAP,
    EVENT_CGROUPS_MAP,
    EVENT_PAST_MAP,
];

/// The memory of a program that may not exist by the time it is read.
#[derive(Debug)]
pub struct EventMemoryMaps(Vec<Map>);

impl EventMemoryMaps {
    /// That of a program; `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`] if there are no descriptors left.
    pub fn of(loaded: &LoadedProgram) -> Result<Option<Self>, BpfObjectError> {
        let is_needed = |name: &str| MEMORY_MAPS.contains(&name) || name == EVENT_OTHERS_MAP;
        let maps = loaded.maps.iter().filter(|(name, _)| is_needed(name));
        // Whoever takes a descriptor out of this process can read, and change nothing.
        let maps = maps.map(|(_, map)| map.read_only()).collect::<Result<Vec<Map>, BpfObjectError>>()?;
        Ok((!maps.is_empty()).then_some(Self(maps)))
    }

    /// What it has now.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`].
    pub fn read(&self) -> Result<EventMemory, BpfObjectError> {
        EventMemory::read(&self.0).map(Option::unwrap_or_default)
    }
}

/// What a policy remembers of its events, without any reader.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct EventMemory {
    /// The state of the memory.
    pub state: MemoryState,
    /// What happened to each pair of a rule and a cgroup, by the time of the first event.
    pub entries: Vec<MemoryEntry>,
    /// The counters of each rule for the cgroups that came too late for the memory: of all rules, of the default for reads, and
    /// of the one for writes.
    pub others: Vec<EventCounters>,
    /// The counters of rules for what had to make room: the events of removed cgroups and of replaced policies, by time.
    pub past: Vec<PastCounters>,
    /// The most recent events, by time.
    pub recent: Vec<Event>,
    /// The paths of cgroups when a program was attached to them, by id. Those of 255 bytes and more are missing.
    pub cgroups: BTreeMap<u64, PathBuf>,
    /// How many events could not be decoded, because a program was writing them, or because a later version of knobgate has
    /// written them.
    pub left_out: usize,
}

/// A rule and a cgroup in the memory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MemoryEntry {
    /// Its key in [`EVENT_COUNTERS_MAP`].
    pub key: Vec<u8>,
    /// The id of the cgroup.
    pub cgroup_id: u64,
    /// How many events there were, and when.
    pub counters: EventCounters,
    /// The first event.
    pub first: Option<Event>,
    /// The last event that was not suppressed, if the memory still has it.
    pub last: Option<Event>,
}

impl EventMemory {
    /// The memory of a program with these maps; `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`].
    pub fn read<'a>(maps: impl IntoIterator<Item = &'a Map> + Clone) -> Result<Option<Self>, BpfObjectError> {
        let map = |name: &str| maps.clone().into_iter().find(|map| map.info().name == name);
        let (Some(state), Some(events), Some(counters)) =
            (map(EVENT_STATE_MAP), map(EVENTS_MAP), map(EVENT_COUNTERS_MAP))
        else {
            return Ok(None);
        };
        let mut memory = Self::default();
        let value = state.lookup(&0u32.to_ne_bytes())?.unwrap_or_default();
        memory.state = MemoryState::in_value(&value).unwrap_or_default();

        let mut last: BTreeMap<Vec<u8>, Event> = BTreeMap::new();
        for index in 0..events.info().max_entries {
            if let Some((key, event)) = Self::stable(events, &index.to_ne_bytes(), &mut memory.left_out)? {
                match last.entry(key) {
                    Entry::Occupied(mut known) if known.get().boot_time < event.boot_time => {
                        known.insert(event.clone());
                    }
                    Entry::Occupied(_) => {}
                    Entry::Vacant(place) => {
                        place.insert(event.clone());
                    }
                }
                memory.recent.push(event);
            }
        }
        memory.recent.sort_by_key(|event| event.boot_time);
        for entry in counters.entries()? {
            memory.entries.push(MemoryEntry {
                cgroup_id: entry.key.first_chunk().map_or(0, |id| u64::from_le_bytes(*id)),
                counters: EventCounters::in_value(&entry.value).first().copied().unwrap_or_default(),
                first: match map(EVENTS_FIRST_MAP) {
                    Some(map) => Self::stable(map, &entry.key, &mut memory.left_out)?.map(|(_, event)| event),
                    None => None,
                },
                last: last.remove(&entry.key),
                key: entry.key,
            });
        }
        memory.entries.sort_by_key(|entry| entry.counters.first);
        if let Some(others) = map(EVENT_OTHERS_MAP) {
            let value = others.lookup(&0u32.to_ne_bytes())?.unwrap_or_default();
            memory.others = EventCounters::in_value(&value);
        }
        if let Some(past) = map(EVENT_PAST_MAP) {
            let entries = past.entries()?;
            memory.past = entries.iter().filter_map(|entry| PastCounters::in_value(&entry.value)).collect();
            memory.past.sort_by_key(|past| past.counters.first);
        }
        if let Some(cgroups) = map(EVENT_CGROUPS_MAP) {
            let path = |value: &[u8]| Some(PathBuf::from(OsStr::from_bytes(cgroup_path_in_value(value)?)));
            let id = |key: &[u8]| key.first_chunk().map_or(0, |id| u64::from_le_bytes(*id));
            let entries = cgroups.entries()?;
            let paths = entries.iter().filter_map(|entry| Some((id(&entry.key), path(&entry.value)?)));
            memory.cgroups = paths.collect();
        }
        Ok(Some(memory))
    }

    /// The key and the event of a record that is the same when it is read again, so that no program was writing it.
    fn stable(
        map: &Map,
        key: &[u8],
        left_out: &mut usize,
    ) -> Result<Option<(Vec<u8>, Event)>, BpfObjectError> {
        const TRIES: u32 = 10;
        let Some(mut record) = map.lookup(key)? else { return Ok(None) };
        if record[offset::END as usize..].first_chunk() == Some(&[0; 8])
            && record[offset::BEGIN as usize..].first_chunk() == Some(&[0; 8])
        {
            // Nothing was written there yet.
            return Ok(None);
        }
        for _ in 0..TRIES {
            let Some(again) = map.lookup(key)? else { return Ok(None) };
            if again == record
                && let Ok(event) = decode(&record)
            {
                let key = record[offset::KEY as usize..offset::ORIGIN as usize].to_vec();
                return Ok(Some((key, event)));
            }
            record = again;
        }
        *left_out += 1;
        Ok(None)
    }
}

/// Whether these are all maps of a memory that this version of knobgate can use.
pub(crate) fn is_memory(maps: &[Map]) -> bool {
    MEMORY_MAPS.iter().all(|name| {
        let map = maps.iter().find(|map| map.info().name == *name);
        map.is_some_and(|map| {
            let info = map.info();
            memory_map(name).is_some_and(|def| {
                (def.key_size, def.value_size, def.max_entries)
                    == (info.key_size, info.value_size, info.max_entries)
            })
        })
    })
}

/// Prepares the memory of a program that is going to be attached: gives a new one its origin, and stores the paths of the
/// cgroups.
pub(crate) fn prepare<'a>(
    loaded: &LoadedProgram,
    cgroups: impl IntoIterator<Item = (u64, &'a Path)>,
) -> Result<(), BpfObjectError> {
    if let Some(state) = loaded.map(EVENT_STATE_MAP) {
        let key = 0u32.to_ne_bytes();
        let value = state.lookup(&key)?.unwrap_or_default();
        if MemoryState::in_value(&value).is_some_and(|state| state.origin == 0) {
            // The id of a map is not used again before the next boot.
            state.update(&key, &MemoryState::new_value(state.info().id.into()))?;
        }
    }
    remember_cgroups(loaded.map(EVENT_CGROUPS_MAP), cgroups);
    Ok(())
}

/// Stores the paths of cgroups in the table of a program, if it has one.
pub(crate) fn remember_cgroups<'a>(table: Option<&Map>, cgroups: impl IntoIterator<Item = (u64, &'a Path)>) {
    for (table, (id, path)) in table.into_iter().cycle().zip(cgroups) {
        if let Some(value) = cgroup_path_value(path.as_os_str().as_bytes()) {
            // A full table has no room for a path, which is no reason not to attach.
            let _ = table.update(&id.to_le_bytes(), &value);
        }
    }
}
