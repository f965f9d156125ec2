//! Room in a memory. It has counters, a first and a last record for so many pairs of a rule and a cgroup. Removed cgroups and
//! replaced policies need theirs no more: programs use them no longer, so that what they have counted can be added up by rule.

use std::collections::BTreeSet;

use knobgate_compiler::{
    EVENT_CGROUPS_MAP, EVENT_CGROUPS_MAX, EVENT_COUNTERS_MAP, EVENT_KEYS_MAX, EVENT_OTHERS_MAP,
    EVENT_PAST_MAP, EVENT_PAST_MAX, EVENT_SLOTS_MAP, EVENTS_FIRST_MAP, EventCounters, PastCounters,
    last_place, policy_number,
};
use knobgate_events::record::{decode, offset};
use knobgate_kernel::{BpfObjectError, Hierarchy, Map, MapEntry, ProgramFd};

use crate::attached_policy::AttachedPolicy;

/// Makes room in a memory with these maps, if more than half of it is in use. The oldest go first. `programs` are those that use it.
///
/// Nothing else may make room in it, or replace its programs, meanwhile.
pub(crate) fn make_room<'a>(
    maps: &[&Map],
    programs: impl IntoIterator<Item = &'a ProgramFd>,
) -> Result<(), BpfObjectError> {
    let map = |name: &str| named(maps, name);
    let (Some(counters), Some(first), Some(places), Some(past), Some(cgroups), Ok(hierarchy)) = (
        map(EVENT_COUNTERS_MAP),
        map(EVENTS_FIRST_MAP),
        map(EVENT_SLOTS_MAP),
        map(EVENT_PAST_MAP),
        map(EVENT_CGROUPS_MAP),
        Hierarchy::find(),
    ) else {
        return Ok(());
    };
    // If that cannot be found out, it may still be there.
    let was_removed = |cgroup: &[u8]| {
        let id = cgroup.first_chunk().map(|id| u64::from_le_bytes(*id));
        id.is_some_and(|id| hierarchy.was_removed(id).unwrap_or(false))
    };

    let mut entries = counters.entries()?;
    let mut excess = entries.len().saturating_sub(EVENT_KEYS_MAX as usize / 2);
    if excess > 0 {
        let policies = policies_of(programs)?;
        entries.sort_by_cached_key(|entry| of_value(&entry.value).last);
        for entry in &entries {
            let is_past = Key::of(entry).is_some_and(|key| !policies.contains(&key.policy));
            if excess > 0 && (is_past || was_removed(&entry.key)) {
                Memory { counters, first, places, past }.forget(entry)?;
                excess -= 1;
            }
        }
    }

    let known = cgroups.entries()?;
    if known.len() > EVENT_CGROUPS_MAX as usize / 2 {
        let with_events: BTreeSet<Vec<u8>> =
            counters.entries()?.into_iter().map(|entry| entry.key[..8].to_vec()).collect();
        for entry in known {
            if !with_events.contains(&entry.key) && was_removed(&entry.key) {
                cgroups.delete(&entry.key)?;
            }
        }
    }
    Ok(())
}

/// The numbers of the policies of these programs.
fn policies_of<'a>(
    programs: impl IntoIterator<Item = &'a ProgramFd>,
) -> Result<BTreeSet<u32>, BpfObjectError> {
    let policies = programs.into_iter().map(AttachedPolicy::read);
    policies.filter_map(Result::transpose).map(|policy| Ok(policy_number(policy?.text()))).collect()
}

/// The maps of a memory out of which something is taken.
struct Memory<'a> {
    counters: &'a Map,
    first: &'a Map,
    places: &'a Map,
    past: &'a Map,
}

impl Memory<'_> {
    /// Takes out a pair of a rule and a cgroup that no program uses. Its counters are added to those of the rule.
    fn forget(&self, entry: &MapEntry) -> Result<(), BpfObjectError> {
        let Some(key) = Key::of(entry) else { return Ok(()) };
        let record = self.first.lookup(&entry.key)?;
        let event = record.and_then(|record| decode(&record).ok());
        let counters = of_value(&entry.value);
        let past = match &event {
            Some(event) => {
                PastCounters::new(&event.policy, event.rule.line, &event.rule.text.bytes, counters)
            }
            None => PastCounters::new("", None, b"", counters),
        };
        add(self.past, key, past)?;
        self.counters.delete(&entry.key)?;
        self.first.delete(&entry.key)?;
        if let Some(place) = last_place(&entry.value) {
            self.places.push(&place.to_ne_bytes())?;
        }
        Ok(())
    }
}

/// The counters that a program has itself, for cgroups that found no room in the memory.
pub(crate) struct OtherCounters {
    policy: AttachedPolicy,
    counters: Map,
}

impl OtherCounters {
    /// Those of a program that is going to be replaced; `None` if it has none, or another memory than that with these maps.
    pub(crate) fn of(program: &ProgramFd, memory: &[&Map]) -> Result<Option<Self>, BpfObjectError> {
        let Some(policy) = AttachedPolicy::read(program)? else { return Ok(None) };
        let maps = program.maps()?;
        let own: Vec<&Map> = maps.iter().collect();
        let past = |maps: &[&Map]| named(maps, EVENT_PAST_MAP).map(|map| map.info().id);
        if past(&own).is_none() || past(&own) != past(memory) {
            return Ok(None);
        }
        let counters = maps.into_iter().find(|map| map.info().name == EVENT_OTHERS_MAP);
        Ok(counters.map(|counters| Self { policy, counters }))
    }

    /// Adds them to those that the memory has of the past, once the program is replaced. An access that it still decides at this
    /// moment may be missing.
    pub(crate) fn hand_over(&self, memory: &[&Map]) -> Result<(), BpfObjectError> {
        let Some(past) = named(memory, EVENT_PAST_MAP) else { return Ok(()) };
        let value = self.counters.lookup(&0u32.to_ne_bytes())?.unwrap_or_default();
        let policy = policy_number(self.policy.text());
        let rules = self.policy.rule_counters();
        for (index, counters) in EventCounters::in_value(&value).into_iter().enumerate() {
            let (Some(rule), true) = (rules.get(index), counters != EventCounters::default()) else {
                continue;
            };
            let name = self.policy.name().unwrap_or_default();
            let line = rule.line.and_then(|line| line.try_into().ok());
            let key = Key { rule: index as u32, policy };
            add(past, key, PastCounters::new(name, line, rule.text.as_bytes(), counters))?;
        }
        Ok(())
    }
}

/// A rule, as the memory knows it.
#[derive(Debug, Clone, Copy)]
struct Key {
    rule: u32,
    policy: u32,
}

impl Key {
    /// That of an entry of the counters.
    fn of(entry: &MapEntry) -> Option<Self> {
        let number = |at: i16| {
            let bytes = entry.key.get((at - offset::KEY) as usize..)?.first_chunk()?;
            Some(u32::from_le_bytes(*bytes))
        };
        Some(Self { rule: number(offset::RULE)?, policy: number(offset::POLICY)? })
    }
}

/// Adds to the counters of a rule, or to those that rules share, if there are too many.
fn add(map: &Map, key: Key, more: PastCounters) -> Result<(), BpfObjectError> {
    let key = PastCounters::key(key.rule, key.policy);
    let read = |key: &[u8; 8]| -> Result<Option<PastCounters>, BpfObjectError> {
        Ok(map.lookup(key)?.and_then(|value| PastCounters::in_value(&value)))
    };
    if let Some(known) = read(&key)? {
        return map.update(&key, &known.with(more.counters).to_value());
    }
    if map.first_entries(EVENT_PAST_MAX as usize)?.len() < EVENT_PAST_MAX as usize {
        return map.update(&key, &more.to_value());
    }
    let shared = PastCounters::shared_key();
    let known = read(&shared)?.unwrap_or_default();
    map.update(&shared, &known.with(more.counters).to_value())
}

fn named<'a>(maps: &[&'a Map], name: &str) -> Option<&'a Map> {
    maps.iter().copied().find(|map| map.info().name == name)
}

fn of_value(value: &[u8]) -> EventCounters {
    EventCounters::in_value(value).first().copied().unwrap_or_default()
}
