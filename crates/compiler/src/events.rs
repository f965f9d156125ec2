//! What a program has for the events that it sends: maps with the memory of the policy, and a table of its rules.
//!
//! A rule that sends an event takes a free place in the memory, fills it with a [record], and gives a copy to each reader. The
//! place is then the last one of its key, a rule and a cgroup, and the one that was the last before goes to the end of the queue of
//! free places. So the array of places holds the last record of each key and the most recent ones of all, and each place belongs
//! to one task while it is written. (Kernels without atomic exchange, before 5.12, free the place at once: there the last record of
//! a key may be overwritten.)
//!
//! [record]: knobgate_events::record

use knobgate_bpf::uapi::BPF_F_NO_PREALLOC;
use knobgate_bpf::{EventFeatures, MapDef, MapKind};
use knobgate_events::record;
use knobgate_policy::{AccessKind, EventRate};

use crate::event_past::past_map;
use crate::rule_hits;
use crate::source::PolicySource;

/// The name of the map with the readers: an array of ring buffers, which all programs of a machine can share.
pub const EVENT_READERS_MAP: &str = "event_readers";
/// The name of the map with what each reader lost: an array of one value, a little-endian `u64` for each reader.
pub const EVENT_LOST_MAP: &str = "event_lost";
/// The name of the map with which places have a reader: an array of one value, a little-endian `u64` with a bit for each place.
/// Whoever changes it has the lock of all places.
pub const EVENT_ACTIVE_MAP: &str = "event_active";
/// The name of the map with the memory's [state](MemoryState): an array of one value.
pub const EVENT_STATE_MAP: &str = "event_state";
/// The name of the map with the free places of the most recent records: a queue of indices.
pub const EVENT_SLOTS_MAP: &str = "event_slots";
/// The name of the map with the records: an array. It has the most recent ones, and the last one of each key.
pub const EVENTS_MAP: &str = "events";
/// The name of the map from the [key](record::offset::KEY) of a rule and a cgroup to their [`EventCounters`].
pub const EVENT_COUNTERS_MAP: &str = "event_counters";
/// The name of the map from such a key to its first record.
pub const EVENTS_FIRST_MAP: &str = "events_first";
/// The name of the map from the id of a cgroup to its path, when a program was attached to it.
pub const EVENT_CGROUPS_MAP: &str = "event_cgroups";
/// The name of the map with the [`EventCounters`] of each rule for the cgroups that found no room in the memory: an array of
/// one value.
pub const EVENT_OTHERS_MAP: &str = "event_others";

/// How many readers there can be at once.
pub const EVENT_READERS_MAX: u32 = 8;
/// How many of the most recent records the memory holds at least.
pub const EVENTS_RECENT: u32 = 128;
/// For how many pairs of a rule and a cgroup the memory has counters, and the first and the last record.
pub const EVENT_KEYS_MAX: u32 = 256;
/// How many records there is room for.
const PLACES: u32 = EVENTS_RECENT + EVENT_KEYS_MAX;
/// The most cgroups whose path the memory keeps.
pub const EVENT_CGROUPS_MAX: u32 = 4096;
/// How many bytes the memory has for the path of a cgroup, and the NUL after it. A longer path is not kept.
pub const EVENT_CGROUP_PATH_BYTES: u32 = 256;

/// The least size of a ring buffer; the kind of map that the readers are.
const RING_BYTES: u32 = 4096;

/// What a program sends in its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventOptions {
    /// What the kernel can tell about a task.
    pub features: EventFeatures,
    /// Whether the program only observes: readers then show its events only to whoever attached it.
    pub observer: bool,
}

/// The maps of the memory, in the order in which programs have them. The ones before these are the same for all programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum EventMap {
    Rules,
    Others,
    Readers,
    Lost,
    Active,
    State,
    Slots,
    Events,
    Counters,
    First,
}

/// The state of a memory, in [`EVENT_STATE_MAP`]: offsets of little-endian numbers of 8 bytes.
pub(crate) mod state {
    /// A number: whose events these are.
    pub(crate) const ORIGIN: i16 = 0;
    /// How many events found no free place. Nobody has seen them.
    pub(crate) const NOT_RECORDED: i16 = 8;
    /// A place that nothing reads, for values whose length is wanted.
    pub(crate) const DISCARDED: u32 = 16;
    /// Bytes of that place.
    pub(crate) const DISCARDED_BYTES: u32 = super::record::VALUE_SEEN_MAX as u32 + 1;
    /// Bytes of the whole.
    pub(crate) const BYTES: u32 = (DISCARDED + DISCARDED_BYTES).next_multiple_of(8);
}

/// The counters of a rule for a cgroup: offsets.
pub(crate) mod counters {
    /// 8 bytes: how many events were sent.
    pub(crate) const SENT: i16 = 0;
    /// 8 bytes: how many were suppressed.
    pub(crate) const SUPPRESSED: i16 = 8;
    /// 8 bytes: when the first one was, in nanoseconds of `CLOCK_BOOTTIME`.
    pub(crate) const FIRST: i16 = 16;
    /// 8 bytes: when the last one was, sent or suppressed.
    pub(crate) const LAST: i16 = 24;
    /// 4 bytes: the second in which events were last counted against the limit.
    pub(crate) const SECOND: i16 = 32;
    /// 4 bytes: how many were sent in that second.
    pub(crate) const IN_SECOND: i16 = 36;
    /// 4 bytes: one more than the place of the last record, or 0.
    pub(crate) const LAST_PLACE: i16 = 40;
    /// Bytes of the whole.
    pub(crate) const BYTES: u32 = 48;
}

/// The table of rules: zeros for new counters, the name of the policy, an entry for each rule, and then their texts.
pub(crate) mod rules {
    use super::{counters, record};

    /// Zeros.
    pub(crate) const ZEROS: u32 = 0;
    /// The name of the policy.
    pub(crate) const POLICY: u32 = counters::BYTES;
    /// Bytes for the name of the policy.
    pub(crate) const POLICY_BYTES: u32 = (record::POLICY_NAME_MAX as u32 + 1).next_multiple_of(8);
    /// The entries.
    pub(crate) const ENTRIES: u32 = POLICY + POLICY_BYTES;
    /// Bytes of an entry: a power of two.
    pub(crate) const ENTRY_BYTES: u32 = 16;
    /// In an entry, 4 bytes: the line, or 0.
    pub(crate) const LINE: i16 = 0;
    /// In an entry, 4 bytes: the most events in a second, or 0 for all.
    pub(crate) const LIMIT: i16 = 4;
    /// In an entry, 4 bytes: the offset of the text.
    pub(crate) const TEXT: i16 = 8;
    /// In an entry, 2 bytes: how much of the text there is.
    pub(crate) const LENGTH: i16 = 12;
    /// In an entry, 2 bytes: the bytes of the whole text if it was cut, or 0.
    pub(crate) const CUT: i16 = 14;
}

/// The counters of a rule for one cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EventCounters {
    /// How many events were sent.
    pub sent: u64,
    /// How many were suppressed.
    pub suppressed: u64,
    /// When the first one was, in nanoseconds of `CLOCK_BOOTTIME`.
    pub first: u64,
    /// When the last one was, sent or suppressed.
    pub last: u64,
}

impl EventCounters {
    /// The counters in the values of [`EVENT_COUNTERS_MAP`] and [`EVENT_OTHERS_MAP`]: one, or one for each rule.
    pub fn in_value(value: &[u8]) -> Vec<Self> {
        let number = |counters: &[u8], at: i16| {
            let bytes = counters[at as usize..].first_chunk().copied().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        let all = value.chunks_exact(counters::BYTES as usize).map(|one| Self {
            sent: number(one, counters::SENT),
            suppressed: number(one, counters::SUPPRESSED),
            first: number(one, counters::FIRST),
            last: number(one, counters::LAST),
        });
        all.collect()
    }
}

/// The place that a rule and a cgroup have for their last record, by the value of [`EVENT_COUNTERS_MAP`]; `None` if they have none.
/// Whoever removes that value gives the place back, to [`EVENT_SLOTS_MAP`].
pub fn last_place(counters: &[u8]) -> Option<u32> {
    let place = counters.get(counters::LAST_PLACE as usize..)?.first_chunk()?;
    u32::from_le_bytes(*place).checked_sub(1)
}

/// The state of a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemoryState {
    /// A number, which its events have as [`origin`](knobgate_events::Event::origin).
    pub origin: u64,
    /// How many events found no free place. Nobody has seen them.
    pub not_recorded: u64,
}

impl MemoryState {
    /// The state in the value of [`EVENT_STATE_MAP`].
    pub fn in_value(value: &[u8]) -> Option<Self> {
        let number = |at: i16| value.get(at as usize..)?.first_chunk().copied().map(u64::from_le_bytes);
        Some(Self { origin: number(state::ORIGIN)?, not_recorded: number(state::NOT_RECORDED)? })
    }

    /// The value of [`EVENT_STATE_MAP`] for a new memory with this origin.
    pub fn new_value(origin: u64) -> Vec<u8> {
        let mut value = vec![0; state::BYTES as usize];
        value[..8].copy_from_slice(&origin.to_le_bytes());
        value
    }
}

/// A number for the text of a policy (FNV-1a), by which the memory tells policies apart that were in force one after the other.
pub fn policy_number(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The maps with the places of readers, as programs have them.
pub fn event_reader_maps() -> [MapDef; 3] {
    let inner = Some(Box::new(map("reader", MapKind::Ringbuf, 0, 0, RING_BYTES)));
    [
        MapDef { inner, ..map(EVENT_READERS_MAP, MapKind::ArrayOfMaps, 4, 4, EVENT_READERS_MAX) },
        map(EVENT_LOST_MAP, MapKind::Array, 4, 8 * EVENT_READERS_MAX, 1),
        map(EVENT_ACTIVE_MAP, MapKind::Array, 4, 8, 1),
    ]
}

/// The definition of a map of the memory, other than [`EVENT_OTHERS_MAP`]; `None` if no map of it has this name.
pub fn memory_map(name: &str) -> Option<MapDef> {
    memory_maps().into_iter().find(|map| map.name == name)
}

pub(crate) fn map(name: &str, kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> MapDef {
    MapDef {
        name: name.to_owned(),
        kind,
        key_size,
        value_size,
        max_entries,
        flags: if kind == MapKind::Hash { BPF_F_NO_PREALLOC } else { 0 },
        contents: Vec::new(),
        frozen: false,
        ..MapDef::default()
    }
}

/// The maps for events, in the order of [`EventMap`].
pub(crate) fn maps(source: &PolicySource<'_>) -> Vec<MapDef> {
    let rules = source.policy().rules().len();
    let others = (rules + AccessKind::ALL.len()) as u32 * counters::BYTES;
    let own = [
        MapDef::frozen_value("event_rules", rule_table(source)),
        map(EVENT_OTHERS_MAP, MapKind::Array, 4, others, 1),
    ];
    own.into_iter().chain(event_reader_maps()).chain(memory_maps()).collect()
}

/// The maps of the memory, which a program can take over from another one.
fn memory_maps() -> [MapDef; 7] {
    const KEY: u32 = 16;
    let record = record::BYTES_MAX as u32;
    let slots = (0..PLACES).map(|slot| (Vec::new(), slot.to_ne_bytes().to_vec()));
    [
        map(EVENT_STATE_MAP, MapKind::Array, 4, state::BYTES, 1),
        MapDef { contents: slots.collect(), ..map(EVENT_SLOTS_MAP, MapKind::Queue, 0, 4, PLACES) },
        map(EVENTS_MAP, MapKind::Array, 4, record, PLACES),
        map(EVENT_COUNTERS_MAP, MapKind::Hash, KEY, counters::BYTES, EVENT_KEYS_MAX),
        map(EVENTS_FIRST_MAP, MapKind::Hash, KEY, record, EVENT_KEYS_MAX),
        map(EVENT_CGROUPS_MAP, MapKind::Hash, 8, EVENT_CGROUP_PATH_BYTES, EVENT_CGROUPS_MAX),
        past_map(),
    ]
}

/// The table of rules.
fn rule_table(source: &PolicySource<'_>) -> Vec<u8> {
    let policy = source.policy();
    let entries = policy.rules().len() + AccessKind::ALL.len();
    let mut table = vec![0; rules::ENTRIES as usize];
    let name = policy.name().as_bytes();
    table[rules::POLICY as usize..][..name.len()].copy_from_slice(name);
    let mut texts: Vec<u8> = Vec::new();
    let first_text = table.len() + entries * rules::ENTRY_BYTES as usize;
    let rule = |index: usize| {
        let limit = limit(policy.rules()[index].event_limit());
        (source.rule_line(index), source.rule_text(index).unwrap_or_default(), limit)
    };
    let default = |kind: AccessKind| {
        let (line, text) = source.default_text(kind);
        (line, text, limit(policy.defaults().of(kind).event_limit()))
    };
    let rules = (0..policy.rules().len()).map(rule).chain(AccessKind::ALL.map(default));
    for (line, text, limit) in rules {
        let offset = first_text + texts.len();
        let kept = &text.as_bytes()[..text.len().min(record::TEXT_MAX)];
        let cut = if kept.len() < text.len() { text.len().min(u16::MAX.into()) as u16 } else { 0 };
        table.extend((line.unwrap_or(0) as u32).to_le_bytes());
        table.extend(limit.to_le_bytes());
        table.extend((offset as u32).to_le_bytes());
        table.extend((kept.len() as u16).to_le_bytes());
        table.extend(cut.to_le_bytes());
        texts.extend(kept);
    }
    table.extend(texts);
    // Programs always copy as much as the longest text takes.
    table.resize(table.len() + record::TEXT_MAX, 0);
    table
}

/// The most events of a rule or default in a second for each cgroup, or 0 for all.
fn limit(limit: Option<EventRate>) -> u32 {
    limit.map_or(0, |rate| rate.get().get())
}

/// The greatest offset in the table of rules at which a text starts.
pub(crate) fn last_text(source: &PolicySource<'_>) -> u32 {
    rule_table(source).len() as u32 - record::TEXT_MAX as u32
}

/// The last index in the table of rules.
pub(crate) fn last_rule(rules: usize) -> u32 {
    (rules + AccessKind::ALL.len() - 1) as u32
}

const _: () = {
    assert!(rules::ENTRIES.is_multiple_of(8) && counters::BYTES.is_multiple_of(8));
    assert!(rules::ENTRY_BYTES as usize == rule_hits::RuleHits::BYTES);
};
